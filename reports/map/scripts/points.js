// The points: drawn, found under the pointer and lassoed by regl-scatterplot; here they get places, colours and a camera.
// One scale for both axes and for all maps of the page: the longer side of what they cover becomes -1 to 1.
embedkit.places = (() => {
  const { data, unpack } = embedkit;
  const raw = [data.map, ...(data.linked ? data.linked.sets : [])].map((map) => ({ x: unpack(map.x), y: unpack(map.y) }));
  const extent = (axis) => {
    let low = Infinity, high = -Infinity;
    for (const map of raw) for (const v of map[axis]) { low = Math.min(low, v); high = Math.max(high, v); }
    return [low, high];
  };
  const [left, right] = extent("x"), [bottom, top] = extent("y");
  const unit = 2 / (Math.max(right - left, top - bottom) || 1);
  const half = { x: ((right - left) / 2) * unit || 0.5, y: ((top - bottom) / 2) * unit || 0.5 };
  const scaled = (values, low, high) => values.map((v) => (v - (low + high) / 2) * unit);
  return { half, maps: raw.map(({ x, y }) => ({ x: scaled(x, left, right), y: scaled(y, bottom, top) })) };
})();
embedkit.pointsOn = (box, canvas, { x, y }) => {
  const { dark, columns, sieve, state } = embedkit;
  const n = columns.n, { half } = embedkit.places;
  const size = n > 50000 ? 1.8 : n > 20000 ? 2.4 : n > 8000 ? 3 : n > 2500 ? 4.5 : n > 600 ? 6.5 : 9;
  const opacity = n > 50000 ? 0.5 : n > 8000 ? 0.7 : n > 2500 ? 0.8 : 0.9;

  const { shown, active } = sieve, rowsShown = sieve.rows;
  const api = { n, box, x, y, half, size, shown, active, rowsShown, resieve: sieve.again, any: false, hovered: -1, slid: [0, 0], moves: 0, frame: () => {}, ready: Promise.resolve() };

  const WANTED = ["OES_texture_float", "OES_element_index_uint", "WEBGL_color_buffer_float", "EXT_float_blend"];
  const element = document.createElement("canvas");
  let gl = null;
  // Points are smoothed by their shader: a multisampled canvas would cost a software renderer most of its time.
  try { gl = element.getContext("webgl", { antialias: false, preserveDrawingBuffer: true }); } catch { /* said below */ }
  if (!gl || !gl.getExtension("OES_texture_float")) return api;

  const { createScatterplot, createRenderer, createRegl } = reglScatterplot;
  const renderer = createRenderer({ canvas: element, regl: createRegl({ gl, extensions: WANTED.filter((name) => gl.getExtension(name)) }) });
  const area = { width: 0, height: 0 };
  const measure = () => {
    const { width, height } = box.getBoundingClientRect();
    area.width = Math.max(1, Math.floor(width));
    area.height = Math.max(1, Math.floor(height));
    renderer.resize(area.width, area.height);
  };
  measure();
  const ink = () => getComputedStyle(document.documentElement);
  const themed = () => ({ backgroundColor: ink().getPropertyValue("--card").trim(), lassoColor: ink().getPropertyValue("--accent").trim() });
  const home = () => Math.max(half.y, (half.x * area.height) / area.width) * 1.07;
  const plot = createScatterplot({
    renderer, canvas, width: area.width, height: area.height, syncEvents: true, cameraDistance: home(), ...themed(),
    pointSize: size, opacity, colorBy: "valueA", pointSizeSelected: 1, pointOutlineWidth: 0, opacityInactiveScale: 0.25, opacityInactiveMax: 0.3,
    pointColorHover: "#888888", lassoLineWidth: 2, lassoMinDist: 3, lassoMinDelay: 0, lassoClearEvent: "lassoEnd", deselectOnDblClick: false, deselectOnEscape: false,
    actionKeyMap: { lasso: "shift", merge: "ctrl", remove: "alt" },
  });

  // Pixels of a place: p = k * place + b, an axis at a time.
  const affine = { kx: 1, bx: 0, ky: 1, by: 0 };
  const look = () => {
    const view = plot.get("cameraView"), { width, height } = area;
    affine.kx = (height / 2) * view[0];
    affine.bx = width / 2 + (height / 2) * view[12];
    affine.ky = (-height / 2) * view[5];
    affine.by = height / 2 - (height / 2) * view[13];
  };
  const place = (i) => [affine.kx * x[i] + affine.bx, affine.ky * y[i] + affine.by];
  const zoom = () => plot.get("cameraView")[0] * home();

  let drawn = null, filtered = false;
  let line = Promise.resolve(); // one change at a time, in order
  const inTurn = (work) => { line = line.then(work).catch((error) => console.error(error)); return line; };
  const sift = async () => {
    sieve.again();
    const rows = rowsShown();
    if (rows.length < n) await plot.filter(rows, { preventEvent: true });
    else if (filtered) await plot.unfilter({ preventEvent: true });
    filtered = rows.length < n;
    mark();
  };
  const mark = () => {
    const rows = Array.from(state.set).filter((i) => shown[i]);
    if (rows.length) plot.select(rows, { preventEvent: true });
    else plot.deselect({ preventEvent: true });
  };
  const recolor = () => inTurn(async () => {
    const { bins, colors, order } = columns.paint(active());
    await plot.set({ pointColor: colors, pointColorActive: colors, ...themed() });
    const options = { zDataType: "categorical", ...(drawn ? { spatialIndex: drawn } : {}) };
    await plot.draw({ x, y, valueA: bins }, options);
    drawn = plot.get("spatialIndex");
    await plot.set({ pointOrder: order });
    await sift();
  });

  // Other places for the same points; of several that are asked for at once the last counts.
  let wanted = null;
  const moveTo = (toX, toY) => {
    if (wanted) { wanted = [toX, toY]; return line; }
    wanted = [toX, toY];
    return inTurn(async () => {
      x.set(wanted[0]);
      y.set(wanted[1]);
      wanted = null;
      api.moves++;
      // Colours, order and filter are those of before, so that one frame is drawn and not four.
      await plot.draw({ x, y, valueA: columns.paint(active()).bins }, { zDataType: "categorical", preventFilterReset: true });
      drawn = plot.get("spatialIndex");
      mark();
    });
  };

  let lassoing = false;
  plot.subscribe("lassoStart", () => { lassoing = true; });
  plot.subscribe("select", ({ points }) => { if (lassoing) state.select(points, "lasso"); });
  plot.subscribe("deselect", () => { if (lassoing) state.select([], ""); });
  plot.subscribe("lassoEnd", () => { lassoing = false; });
  plot.subscribe("pointover", (i) => { api.hovered = i; });
  plot.subscribe("pointout", () => { api.hovered = -1; });
  plot.subscribe("drawing", () => { look(); api.frame(); });

  new ResizeObserver(() => {
    const before = zoom(), old = { ...area };
    measure();
    if (old.width === area.width && old.height === area.height) return;
    const view = plot.get("cameraView"), scale = before / home() / view[0];
    plot.set({ width: area.width, height: area.height });
    // What stood in the middle still does, at the same part of the whole map.
    const at = [-view[12] / view[0], -view[13] / view[5]];
    plot.zoomToLocation(at, 1 / (view[0] * scale));
  }).observe(box);

  const easily = { transition: !matchMedia("(prefers-reduced-motion: reduce)").matches, transitionDuration: 350 };
  const centre = () => { const view = plot.get("cameraView"); return [-view[12] / view[0], -view[13] / view[5]]; };
  Object.assign(api, {
    any: true, area, affine, place, zoom, recolor, moveTo,
    filter: () => inTurn(sift),
    mark: () => inTurn(mark),
    marked: () => plot.get("selectedPoints"),
    whole: () => plot.zoomToLocation([0, 0], home(), easily),
    zoomBy: (factor, to = centre()) => plot.zoomToLocation(to, 1 / (plot.get("cameraView")[0] * factor)),
    panBy: (dx, dy) => { const [cx, cy] = centre(); return plot.zoomToLocation([cx + dx / affine.kx, cy + dy / affine.ky], 1 / plot.get("cameraView")[0]); },
    fit: (rows) => plot.zoomToPoints(rows, { padding: 0.3, ...easily }),
    goTo: (i, closer = zoom()) => plot.zoomToLocation([x[i], y[i]], home() / closer),
    redraw: () => plot.redraw(),
    mode: (mode) => plot.set({ mouseMode: mode }),
    camera: () => [...centre(), zoom()].map((v) => Number(v.toPrecision(6))),
    setCamera: ([cx, cy, times]) => plot.zoomToLocation([cx, cy], home() / times),
    canvas,
  });
  api.ready = recolor();
  return api;
};
embedkit.points = embedkit.pointsOn(embedkit.$("map"), embedkit.$("points"), embedkit.places.maps[0]);
