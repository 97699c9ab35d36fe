// What lies over and under the points: pictures that thin out from afar, names of clusters, rings, and shading.
embedkit.overlayOn = (points, canvas, under) => {
  const { dark, columns, pictures, sieve, state } = embedkit;
  const { n, x, y, shown, affine } = points;
  const context = canvas.getContext("2d");
  const css = () => getComputedStyle(document.documentElement);
  let inks = {};
  const ink = () => { const style = css(); inks = { text: style.getPropertyValue("--text").trim(), card: style.getPropertyValue("--card").trim(), accent: style.getPropertyValue("--accent").trim(), font: style.fontFamily || "sans-serif" }; };

  // ---- pictures: of those that are too near to one another the first in the sheets' order stays ----------------
  const sizeAt = (zoom) => Math.min(64, 30 + 11 * Math.max(0, Math.log2(zoom)));
  // From afar a sparse grid that leaves the points to be seen; near, whatever doesn't overlap.
  const roomAt = (zoom) => Math.max(1.06, 2.1 / Math.max(1, zoom) ** 0.45);
  // Half an octave of zoom is a level; each keeps the pictures of the one before and adds what has room between them.
  const FIRST = -2;
  let levels = { key: "", rows: new Map() };
  const rowsAt = (level) => {
    if (levels.rows.has(level)) return levels.rows.get(level);
    const zoom = 2 ** (level / 2), pixels = (affine.kx / points.zoom()) * zoom; // of a unit, at this level
    const apart = (sizeAt(zoom) * roomAt(zoom)) / pixels;
    const before = level > FIRST ? rowsAt(level - 1) : [];
    const cells = new Map(), rows = [], across = Math.ceil(2 / apart) + 4;
    const cellOf = (i) => [Math.floor((x[i] + 1) / apart) + 1, Math.floor((y[i] + 1) / apart) + 1];
    const put = (i) => { const [cx, cy] = cellOf(i); cells.set(cy * across + cx, i); rows.push(i); };
    const isFree = (i) => {
      const [cx, cy] = cellOf(i);
      for (let a = -1; a <= 1; a++) {
        for (let b = -1; b <= 1; b++) {
          const other = cells.get((cy + b) * across + cx + a);
          if (other !== undefined && Math.abs(x[other] - x[i]) < apart && Math.abs(y[other] - y[i]) < apart) return false;
        }
      }
      return true;
    };
    before.forEach(put);
    for (const i of pictures.order) if (shown[i] && isFree(i)) put(i);
    levels.rows.set(level, rows);
    return rows;
  };
  const choose = () => {
    const key = `${sieve.times} ${points.moves} ${points.area.height} ${points.area.width}`;
    if (key !== levels.key) levels = { key, rows: new Map() };
    return rowsAt(Math.max(FIRST, Math.floor(Math.log2(points.zoom()) * 2)));
  };
  const MOST_PICTURES = 500;
  let laid = []; // { i, x, y, size } of what is drawn now
  const drawPictures = () => {
    laid = [];
    if (!pictures.any || !state.layers.pictures) return;
    const size = sizeAt(points.zoom()), { width, height } = points.area, column = points.active();
    // What is pinned has its picture, whatever it covers.
    const pinned = state.pins.filter((i) => pictures.has(i) && shown[i]), chosen = choose();
    for (const i of [...chosen.filter((row) => !state.pins.includes(row)), ...pinned]) {
      const px = affine.kx * x[i] + affine.bx, py = affine.ky * y[i] + affine.by;
      if (px < -size || py < -size || px > width + size || py > height + size) continue;
      const faint = state.set.size && !state.set.has(i);
      context.globalAlpha = faint ? 0.35 : 1;
      context.fillStyle = "#0b0c0f";
      context.fillRect(px - size / 2, py - size / 2, size, size);
      context.strokeStyle = columns.colorOf(column, i);
      context.lineWidth = 2;
      context.strokeRect(px - size / 2 - 1, py - size / 2 - 1, size + 2, size + 2);
      if (pictures.draw(context, i, px, py, size, later)) laid.push({ i, x: px, y: py, size: size + 4 });
      if (laid.length >= MOST_PICTURES) break;
    }
    context.globalAlpha = 1;
  };
  let waiting = false;
  const later = () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); } };

  // ---- names: at the densest part of each category, the largest first, never one over another ------------------
  let anchors = [];
  const findAnchors = () => {
    const column = points.active();
    anchors = [];
    if (column.kind !== "category") return;
    const CELLS = 32, counts = column.names.map(() => new Map());
    for (let i = 0; i < n; i++) {
      const code = column.values[i];
      if (code < 0 || !shown[i]) continue;
      const cell = Math.min(CELLS - 1, Math.floor(((x[i] + 1) / 2) * CELLS)) * CELLS + Math.min(CELLS - 1, Math.floor(((y[i] + 1) / 2) * CELLS));
      const sum = counts[code].get(cell) || [0, 0, 0];
      sum[0]++; sum[1] += x[i]; sum[2] += y[i];
      counts[code].set(cell, sum);
    }
    counts.forEach((cells, code) => {
      let best = null, total = 0;
      for (const sum of cells.values()) { total += sum[0]; if (!best || sum[0] > best[0]) best = sum; }
      const name = column.names[code];
      if (best) anchors.push({ x: best[1] / best[0], y: best[2] / best[0], total, color: columns.look(column, code), text: name.length > 28 ? `${name.slice(0, 27)}…` : name });
    });
    anchors.sort((a, b) => b.total - a.total);
    anchors = anchors.slice(0, 40);
  };
  let named = [];
  const drawNames = () => {
    named = [];
    if (!state.layers.names || !anchors.length) return;
    const { width, height } = points.area;
    context.font = `600 13px ${inks.font}`;
    context.textBaseline = "middle";
    for (const anchor of anchors) {
      const wide = (anchor.width ??= context.measureText(anchor.text).width) + 26, high = 22;
      const ax = affine.kx * anchor.x + affine.bx, ay = affine.ky * anchor.y + affine.by;
      if (ax < 0 || ay < 0 || ax > width || ay > height) continue;
      // A little above or below, so that what it names is seen.
      for (const shift of [-28, 28, 0, -54, 54]) {
        const left = Math.min(Math.max(4, ax - wide / 2), width - wide - 4), up = Math.min(Math.max(4, ay + shift - high / 2), height - high - 4);
        if (named.some((other) => left < other.left + other.wide + 4 && other.left < left + wide + 4 && up < other.up + other.high + 3 && other.up < up + high + 3)) continue;
        named.push({ left, up, wide, high, text: anchor.text });
        context.globalAlpha = 0.9;
        context.fillStyle = inks.card;
        context.beginPath();
        context.roundRect(left, up, wide, high, 11);
        context.fill();
        context.globalAlpha = 1;
        context.strokeStyle = context.fillStyle = anchor.color;
        context.lineWidth = 1.5;
        context.stroke();
        context.beginPath();
        context.arc(left + 11, up + high / 2, 4, 0, 7);
        context.fill();
        context.fillStyle = inks.text;
        context.fillText(anchor.text, left + 19, up + high / 2 + 0.5);
        break;
      }
    }
  };

  const ring = (i, radius, color, width) => {
    const [px, py] = points.place(i);
    context.beginPath();
    context.arc(px, py, radius, 0, 7);
    context.lineWidth = width + 2;
    context.strokeStyle = inks.card;
    context.stroke();
    context.lineWidth = width;
    context.strokeStyle = color;
    context.stroke();
  };

  // ---- images that were placed on the map of the others: ringed, and framed as pictures ------------------------
  const firstNew = n - (embedkit.data.new || 0);
  const outline = (path) => {
    context.beginPath();
    path();
    for (const [color, wide] of [[inks.card, 3.5], [inks.text, 1.5]]) { context.lineWidth = wide; context.strokeStyle = color; context.stroke(); }
  };
  const ringNew = () => outline(() => {
    const { width, height } = points.area, r = points.size / 2 + 1.5;
    for (let i = firstNew; i < n; i++) {
      if (!shown[i]) continue;
      const [px, py] = points.place(i);
      if (px < -r || py < -r || px > width + r || py > height + r) continue;
      context.moveTo(px + r, py);
      context.arc(px, py, r, 0, 2 * Math.PI);
    }
  });
  const frameNew = () => outline(() => {
    for (const { i, x: px, y: py, size } of laid) if (i >= firstNew) context.rect(px - size / 2 - 1, py - size / 2 - 1, size + 2, size + 2);
  });

  // ---- shading: how densely the points lie, in five steps under them -------------------------------------------
  const CELLS = 128;
  const shade = () => {
    under.hidden = !state.layers.shading || n < 200;
    if (under.hidden) return;
    let grid = new Float32Array(CELLS * CELLS);
    for (let i = 0; i < n; i++) {
      if (!shown[i]) continue;
      grid[Math.min(CELLS - 1, Math.floor(((1 - y[i]) / 2) * (CELLS - 8)) + 4) * CELLS + Math.min(CELLS - 1, Math.floor(((x[i] + 1) / 2) * (CELLS - 8)) + 4)]++;
    }
    const blur = (from, step, other) => {
      const to = new Float32Array(from.length);
      for (let a = 0; a < CELLS; a++) {
        for (let b = 0; b < CELLS; b++) {
          let sum = 0;
          for (let d = -2; d <= 2; d++) if (b + d >= 0 && b + d < CELLS) sum += from[a * other + (b + d) * step];
          to[a * other + b * step] = sum / 5;
        }
      }
      return to;
    };
    for (let k = 0; k < 3; k++) grid = blur(blur(grid, 1, CELLS), CELLS, 1);
    const filled = Float32Array.from(grid.filter((v) => v > 1e-3)).sort();
    const levels = [0.3, 0.55, 0.75, 0.88, 0.96].map((q) => filled[Math.floor(q * (filled.length - 1))]);
    const image = new ImageData(CELLS, CELLS), tone = dark() ? 235 : 20;
    grid.forEach((value, at) => {
      const level = value > 1e-3 ? levels.filter((v) => value >= v).length : 0;
      image.data.set([tone, tone, tone + 15, level * (dark() ? 8 : 7)], at * 4);
    });
    under.width = under.height = CELLS;
    under.getContext("2d").putImageData(image, 0, 0);
  };
  const moveShade = () => {
    if (under.hidden) return;
    const unit = 2 / (CELLS - 8), edge = 1 + 4 * unit;
    under.style.transform = `matrix(${affine.kx * unit},0,0,${-affine.ky * unit},${affine.bx - affine.kx * edge},${affine.by + affine.ky * edge})`;
  };

  const draw = () => {
    const { width, height } = points.area, ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.floor(width * ratio) || canvas.height !== Math.floor(height * ratio)) { canvas.width = Math.floor(width * ratio); canvas.height = Math.floor(height * ratio); }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    moveShade();
    if (firstNew < n) ringNew();
    drawPictures();
    if (firstNew < n) frameNew();
    for (const i of state.pins) if (!laid.some((one) => one.i === i)) ring(i, points.size + 4, inks.text, 2);
    for (const { i, x: px, y: py, size } of laid) if (state.pins.includes(i)) { context.lineWidth = 2; context.strokeStyle = inks.text; context.strokeRect(px - size / 2 - 1, py - size / 2 - 1, size + 2, size + 2); }
    drawNames();
    if (state.cursor >= 0) ring(state.cursor, points.size + 7, inks.accent, 3);
  };
  // The picture under the pointer; the one drawn last lies on top.
  const at = (px, py) => {
    for (let k = laid.length - 1; k >= 0; k--) {
      const { i, x: cx, y: cy, size } = laid[k];
      if (Math.abs(px - cx) <= size / 2 && Math.abs(py - cy) <= size / 2) return i;
    }
    return -1;
  };
  const refresh = () => { ink(); findAnchors(); shade(); if (points.any) draw(); };
  return { draw, at, refresh, pictures: () => laid, names: () => named, canvas };
};
embedkit.overlay = embedkit.overlayOn(embedkit.points, embedkit.$("over"), embedkit.$("under"));
// Every map of the page, and the ring that shows on it where the image under the pointer lies.
embedkit.maps = [{ points: embedkit.points, overlay: embedkit.overlay, ring: embedkit.$("ring") }];
