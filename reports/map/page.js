"use strict";
(() => {
  const { data, $, make, dark, onTheme } = embedkit;

  // ---- small things -------------------------------------------------------------------------------------
  const unpack = (packed) => {
    const text = atob(packed.data);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new { f4: Float32Array, i4: Int32Array }[packed.type](bytes.buffer);
  };
  const whole = (value) => value.toLocaleString("en");
  const short = (value) => (Number.isInteger(value) && Math.abs(value) < 1e6 ? String(value) : String(Number(value.toPrecision(4))));
  const percent = (share) => `${Math.round(share * 100)}\u00a0%`;

  const n = data.ids.length;
  const x = unpack(data.map.x), y = unpack(data.map.y);
  const columns = data.columns.map((column) => ({ ...column, values: unpack(column.values) }));
  const columnByKey = new Map(columns.map((column) => [column.key, column]));
  const neighbours = data.neighbours ? { k: data.neighbours.k, text: data.neighbours.text, index: unpack(data.neighbours.index) } : null;

  const valueText = (column, i) => {
    const value = column.values[i];
    if (column.kind === "category") return value < 0 ? column.missing : column.names[value];
    return Number.isNaN(value) ? "missing" : short(value);
  };
  const pictureUrl = (i) => (data.thumbnails && data.thumbnails.pictures[i] ? `data:${data.thumbnails.type};base64,${data.thumbnails.pictures[i]}` : null);
  const picture = (i) => {
    const url = pictureUrl(i);
    if (url) return make("img", { src: url, alt: `image ${data.ids[i]}`, draggable: "false" });
    return make("span", { class: "no-picture", text: data.thumbnails ? "no picture kept" : "no pictures" });
  };
  const tile = (i) => {
    const url = pictureUrl(i);
    const label = columnByKey.get("label");
    const title = label ? `${data.ids[i]}: ${valueText(label, i)}` : data.ids[i];
    return make("button", { class: "tile", type: "button", title, "aria-label": `Pin ${title}`, onclick: () => pin(i, true) },
      url ? make("img", { src: url, alt: "", loading: "lazy" }) : make("span", { class: "blank", text: data.ids[i] }));
  };

  // ---- colours: eight hues that stay apart in the common colour-vision deficiencies, then other symbols --
  const HUES = data.palette;
  const SYMBOLS = ["circle", "square", "diamond", "cross", "triangle-up", "x", "star", "hexagon"];
  const SHAPES = {
    circle: '<circle cx="7" cy="7" r="5"/>', square: '<rect x="2.5" y="2.5" width="9" height="9"/>', diamond: '<path d="M7 1l6 6-6 6-6-6z"/>',
    cross: '<path d="M5 1h4v4h4v4H9v4H5V9H1V5h4z"/>', "triangle-up": '<path d="M7 1.5l6 11H1z"/>',
    x: '<path d="M3.6 1L7 4.400 10.400 1 13 3.600 9.600 7 13 10.400 10.400 13 7 9.600 3.600 13 1 10.400 4.400 7 1 3.600z"/>',
    star: '<path d="M7 .8l1.900 4.100 4.400.5-3.300 3 .9 4.400L7 10.600l-3.900 2.200.9-4.400-3.300-3 4.400-.5z"/>', hexagon: '<path d="M7 1l5.200 3v6L7 13l-5.200-3V4z"/>',
  };
  const RAMP = data.ramp;
  const grey = () => (dark() ? "#59606b" : "#b4bac4");
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const look = (code) => (code < 0 ? { color: grey(), symbol: "circle" } : { color: HUES[code % HUES.length], symbol: SYMBOLS[Math.floor(code / HUES.length) % SYMBOLS.length] });
  const swatch = ({ color, symbol }) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("width", 14); svg.setAttribute("height", 14); svg.setAttribute("fill", color);
    svg.innerHTML = SHAPES[symbol];
    return svg;
  };

  // ---- map ----------------------------------------------------------------------------------------------
  const gl = (() => { try { return !!document.createElement("canvas").getContext("webgl"); } catch { return false; } })();
  const kind = gl ? "scattergl" : "scatter";
  const size = n > 20000 ? 3 : n > 8000 ? 4 : n > 2500 ? 5 : n > 600 ? 7 : 9;
  const map = $("map");
  let active = null;
  let parts = [];     // what the legend lists: {code, name, rows}
  let hidden = new Set();
  const pins = [];

  const trace = (rows, marker, name) => ({
    type: kind, mode: "markers", name, x: rows.map((i) => x[i]), y: rows.map((i) => y[i]), customdata: rows, hoverinfo: "none",
    marker: { size, opacity: n > 3000 ? 0.75 : 0.88, line: { width: 0 }, ...marker },
  });
  const pinTrace = () => ({
    type: "scatter", mode: "markers", name: "pins", x: pins.map((i) => x[i]), y: pins.map((i) => y[i]), hoverinfo: "skip",
    marker: { size: size + 9, symbol: "circle-open", color: style("--text"), line: { width: 2.500 } },
  });
  const clip = (column) => {
    const sorted = Array.from(column.values).filter((v) => !Number.isNaN(v)).sort((a, b) => a - b);
    if (!sorted.length) return null;
    const at = (q) => sorted[Math.round(q * (sorted.length - 1))];
    const [low, high] = [at(0.01), at(0.99)];
    const range = high > low ? [low, high] : [sorted[0], sorted[sorted.length - 1]];
    return { low: range[0], high: range[1], below: sorted[0] < range[0], above: sorted[sorted.length - 1] > range[1] };
  };
  const traces = () => {
    if (active.kind === "category") {
      return parts.map((part) => ({ ...trace(part.rows, look(part.code), part.name), visible: !hidden.has(part.code) }));
    }
    const all = Array.from({ length: n }, (_, i) => i);
    const missing = all.filter((i) => Number.isNaN(active.values[i]));
    const known = all.filter((i) => !Number.isNaN(active.values[i]));
    const range = clip(active);
    const found = [];
    if (missing.length) found.push(trace(missing, { color: grey() }, "missing"));
    if (known.length) {
      found.push(trace(known, {
        color: known.map((i) => active.values[i]), cmin: range.low, cmax: range.high > range.low ? range.high : range.low + 1, colorscale: RAMP, showscale: false,
      }, active.title));
    }
    return found;
  };
  // The same axes whatever the colours are, so that hiding a class moves nothing.
  const extent = (() => {
    const of = (v) => { let low = Infinity, high = -Infinity; for (const a of v) { low = Math.min(low, a); high = Math.max(high, a); } return [low, high]; };
    const pad = ([low, high]) => { const margin = Math.max((high - low) * 0.05, 1e-3); return [low - margin, high + margin]; };
    return { x: pad(of(x)), y: pad(of(y)) };
  })();
  const layout = () => {
    const axis = { visible: false, zeroline: false, showgrid: false };
    return {
      margin: { l: 8, r: 8, t: 8, b: 4 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest", hoverdistance: 12,
      dragmode: "pan", uirevision: "map", font: { color: style("--text") },
      xaxis: { ...axis, range: extent.x, constrain: "range" }, yaxis: { ...axis, range: extent.y, scaleanchor: "x", constrain: "range" },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: style("--quiet"), activecolor: style("--accent"), orientation: "h" },
      newselection: { line: { color: style("--text"), width: 1.500, dash: "dot" } },
    };
  };
  const config = {
    responsive: true, scrollZoom: true, displaylogo: false, displayModeBar: true, doubleClick: "reset",
    modeBarButtons: [["pan2d", "lasso2d"], ["zoomIn2d", "zoomOut2d", "resetScale2d"], ["toImage"]],
    toImageButtonOptions: { format: "png", filename: data.file_stem, scale: 2 },
  };
  const draw = () => Plotly.react(map, [...traces(), pinTrace()], layout(), config);

  // ---- legend -------------------------------------------------------------------------------------------
  const setColor = (key) => {
    active = columnByKey.get(key) || columns[0];
    hidden = new Set();
    parts = [];
    if (active.kind === "category") {
      const rows = new Map();
      for (let i = 0; i < n; i++) {
        const code = active.values[i];
        if (!rows.has(code)) rows.set(code, []);
        rows.get(code).push(i);
      }
      // The largest first, so that the rare ones are drawn on top.
      parts = [...rows].map(([code, members]) => ({ code, rows: members, name: code < 0 ? active.missing : active.names[code] }))
        .sort((a, b) => (a.code < 0) - (b.code < 0) === 0 ? b.rows.length - a.rows.length : (b.code < 0) - (a.code < 0));
    }
    $("color").value = active.key;
    drawLegend();
    return draw();
  };
  const toggle = (code) => { hidden.has(code) ? hidden.delete(code) : hidden.add(code); drawLegend(); draw(); };
  const only = (code) => {
    const others = parts.map((part) => part.code).filter((c) => c !== code);
    hidden = !hidden.has(code) && others.every((c) => hidden.has(c)) ? new Set() : new Set(others);
    drawLegend(); draw();
  };
  const drawLegend = () => {
    const box = $("legend");
    const scrolled = box.querySelector(".legend-items")?.scrollTop || 0;
    box.replaceChildren();
    if (active.kind === "number") {
      const range = clip(active);
      if (!range) { box.append(make("p", { class: "hint", text: "No row has a value." })); return; }
      const n_missing = active.values.reduce((count, v) => count + Number.isNaN(v), 0);
      const ramp = make("div", { class: "ramp" });
      ramp.style.background = `linear-gradient(to right, ${RAMP.map(([at, color]) => `${color} ${at * 100}%`).join(", ")})`;
      box.append(ramp, make("div", { class: "ramp-ends" },
        make("span", { text: (range.below ? "≤ " : "") + short(range.low) }), make("span", { text: (range.above ? "≥ " : "") + short(range.high) })));
      if (n_missing) box.append(make("p", { class: "hint", text: `${whole(n_missing)} rows without a value are grey.` }));
      return;
    }
    const shown = parts.filter((part) => !hidden.has(part.code)).length;
    box.append(make("div", { class: "legend-head" },
      make("span", { text: hidden.size ? `${shown} of ${parts.length} shown` : "Click to hide" }),
      hidden.size ? make("button", { type: "button", text: "show all", onclick: () => { hidden = new Set(); drawLegend(); draw(); } }) : null));
    const items = make("div", { class: "legend-items" });
    const inOrder = [...parts].sort((a, b) => (a.code < 0) - (b.code < 0) || a.code - b.code);
    for (const part of inOrder) {
      items.append(make("div", { class: "item" },
        make("button", { class: "toggle", type: "button", "aria-pressed": String(!hidden.has(part.code)), title: part.name, onclick: () => toggle(part.code) },
          swatch(look(part.code)), make("span", { class: "name", text: part.name }), make("span", { class: "count", text: whole(part.rows.length) })),
        parts.length > 1 ? make("button", { class: "only", type: "button", text: "only", "aria-label": `Only ${part.name}`, onclick: () => only(part.code) }) : null));
    }
    box.append(items);
    items.scrollTop = scrolled;
  };
  const fillColors = () => {
    const sections = new Map();
    for (const column of columns) {
      if (!sections.has(column.section)) sections.set(column.section, make("optgroup", { label: column.section }));
      sections.get(column.section).append(make("option", { value: column.key, text: column.title }));
    }
    $("color").append(...sections.values());
    $("color").addEventListener("change", () => setColor($("color").value));
  };

  // ---- hover and pins -----------------------------------------------------------------------------------
  const mainColumns = () => {
    const first = columns.filter((c) => c.key === "label" || c.key.startsWith("cluster:")).slice(0, 4);
    return first.includes(active) ? first : [...first, active];
  };
  const facts = (i, list) => make("dl", {}, ...list.flatMap((c) => [make("dt", { text: c.title }), make("dd", { text: valueText(c, i) })]));
  const hover = (i, box) => {
    const tip = $("tip");
    tip.replaceChildren(...(data.thumbnails ? [picture(i)] : []), make("div", {}, make("p", { class: "name", text: data.ids[i] }), facts(i, mainColumns())));
    tip.hidden = false;
    const frame = map.getBoundingClientRect();
    const cx = frame.left + (box.x0 + box.x1) / 2, cy = frame.top + (box.y0 + box.y1) / 2;
    const { width, height } = tip.getBoundingClientRect();
    const left = cx + 18 + width > innerWidth - 8 ? cx - 18 - width : cx + 18;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, Math.min(cy - height / 2, innerHeight - height - 8))}px`;
    $("ring").style.left = `${cx}px`; $("ring").style.top = `${cy}px`;
    $("ring").hidden = false;
  };
  const unhover = () => { $("tip").hidden = true; $("ring").hidden = true; };

  let selection = null;
  const drawPins = () => {
    const box = $("pins");
    box.replaceChildren();
    if (selection) {
      const label = columnByKey.get("label");
      box.append(make("div", { class: "card" },
        make("div", { class: "card-head" }, make("h3", { text: `${whole(selection.length)} selected` }),
          make("button", { type: "button", text: "×", "aria-label": "Drop the selection", onclick: () => { selection = null; Plotly.restyle(map, { selectedpoints: null }); Plotly.relayout(map, { selections: [] }); drawPins(); } })),
        label ? make("p", { class: "hint", text: shares(selection, label).slice(0, 4).map(([name, share]) => `${name} ${percent(share)}`).join(", ") }) : null,
        make("div", { class: "near" }, make("div", { class: "strip" }, ...selection.slice(0, 60).map(tile)),
          selection.length > 60 ? make("p", { text: "The first 60 are shown." }) : null)));
    }
    if (!pins.length && !selection) box.append(make("p", { class: "hint", text: "Click a point to pin its image here; draw around points with the lasso to see them together." }));
    for (const i of pins) {
      const near = neighbours && neighbours.k ? Array.from(neighbours.index.subarray(i * neighbours.k, (i + 1) * neighbours.k)) : [];
      const rest = columns.filter((c) => !mainColumns().includes(c));
      box.append(make("div", { class: "card" },
        make("div", { class: "card-head" }, make("h3", { text: data.ids[i] }),
          make("button", { type: "button", text: "×", "aria-label": `Unpin ${data.ids[i]}`, onclick: () => { pins.splice(pins.indexOf(i), 1); drawPins(); draw(); } })),
        make("div", { class: "large" }, data.thumbnails ? picture(i) : null, facts(i, mainColumns())),
        near.length ? make("div", { class: "near" }, make("p", { text: `nearest in feature space (${neighbours.text})` }), make("div", { class: "strip" }, ...near.map(tile))) : null,
        rest.length ? make("details", {}, make("summary", { text: "all columns" }), facts(i, rest)) : null));
    }
  };
  const pin = (i, show) => {
    const at = pins.indexOf(i);
    if (at >= 0) pins.splice(at, 1);
    pins.unshift(i);
    pins.splice(12);
    drawPins();
    draw();
    if (show) $("pins").querySelector(".card")?.scrollIntoView({ block: "nearest" });
  };
  const shares = (rows, column) => {
    const counts = new Map();
    for (const i of rows) { const name = valueText(column, i); counts.set(name, (counts.get(name) || 0) + 1); }
    return [...counts].map(([name, count]) => [name, count / rows.length]).sort((a, b) => b[1] - a[1]);
  };

  // ---- search -------------------------------------------------------------------------------------------
  const lower = data.ids.map((id) => id.toLowerCase());
  let current = 0;
  const search = () => {
    const list = $("found"), wanted = $("search").value.trim().toLowerCase();
    list.replaceChildren();
    list.hidden = !wanted;
    current = 0;
    if (!wanted) return;
    const hits = [];
    for (let i = 0; i < n && hits.length < 30; i++) if (lower[i].includes(wanted)) hits.push(i);
    hits.sort((a, b) => (lower[b] === wanted) - (lower[a] === wanted));
    if (!hits.length) list.append(make("li", { class: "none", text: "No id contains this." }));
    hits.forEach((i, at) => list.append(make("li", { text: data.ids[i], class: at ? "" : "current", "data-row": i, onmousedown: (event) => { event.preventDefault(); choose(i); } })));
  };
  const choose = (i) => { $("found").hidden = true; $("search").value = data.ids[i]; pin(i, true); };
  $("search").addEventListener("input", search);
  $("search").addEventListener("blur", () => { $("found").hidden = true; });
  $("search").addEventListener("keydown", (event) => {
    const items = [...$("found").querySelectorAll("li[data-row]")];
    if (event.key === "Escape") $("found").hidden = true;
    if (!items.length) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      items[current].className = "";
      current = (current + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length;
      items[current].className = "current";
      items[current].scrollIntoView({ block: "nearest" });
    }
    if (event.key === "Enter" && !$("found").hidden) choose(Number(items[current].dataset.row));
  });

  const header = () => {
    $("title").textContent = data.title;
    $("facts").textContent = data.facts.join(" · ");
    $("map-text").textContent = data.map.text;
    for (const note of data.notes) $("notes").append(make("p", { class: "note", text: note }));
    $("nav").append(make("a", { href: "#map-section", text: "Map" }), ...data.sections.map(({ name, link }) => make("a", { href: `#${name}`, text: link })));
  };

  // ---- start --------------------------------------------------------------------------------------------
  onTheme(() => { drawLegend(); draw(); });

  fillColors();
  header();
  for (const section of data.sections) embedkit.sections[section.name](section.data, $(section.name), { make, tile, whole, percent });
  drawPins();
  if (!gl) $("notes").append(make("p", { class: "note", text: "This browser offers no WebGL, so the map is drawn as SVG, which is slow for many points." }));
  Promise.resolve(setColor(data.color)).then(() => {
    map.on("plotly_hover", (event) => { const point = event.points.find((p) => p.customdata !== undefined); if (point && point.bbox) hover(point.customdata, point.bbox); });
    map.on("plotly_unhover", unhover);
    map.on("plotly_relayouting", unhover);
    map.on("plotly_click", (event) => { const point = event.points.find((p) => p.customdata !== undefined); if (point) pin(point.customdata, true); });
    map.on("plotly_selected", (event) => {
      const rows = event ? event.points.map((p) => p.customdata).filter((i) => i !== undefined) : [];
      selection = rows.length ? rows : null;
      drawPins();
    });
    document.documentElement.dataset.ready = "yes";
  });
})();
