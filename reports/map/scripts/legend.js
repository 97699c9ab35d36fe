// The list of columns, the legend that filters, and the histogram that brushes.
embedkit.legend = (() => {
  const { data, $, make, columns, points, state, format } = embedkit;
  const { n } = columns;
  const box = $("legend");
  const swatch = (color) => { const dot = make("span", { class: "swatch", "aria-hidden": "true" }); dot.style.background = color; return dot; };

  const fill = () => {
    const groups = new Map();
    for (const column of columns.list) {
      if (!groups.has(column.section)) groups.set(column.section, make("optgroup", { label: column.section }));
      groups.get(column.section).append(make("option", { value: column.key, text: column.title }));
    }
    $("color").append(...groups.values());
    $("color").addEventListener("change", () => setColor($("color").value));
  };
  const setColor = (key) => {
    state.color = columns.byKey.has(key) ? key : columns.list[0].key;
    state.hidden = new Set();
    state.brush = null;
    $("color").value = state.color;
    state.tell("color");
  };

  const counts = (column) => {
    const found = new Map();
    for (let i = 0; i < n; i++) found.set(column.values[i], (found.get(column.values[i]) || 0) + 1);
    return [...found].map(([code, count]) => ({ code, count, name: code < 0 ? column.missing : column.names[code] }))
      .sort((a, b) => (a.code < 0) - (b.code < 0) || a.code - b.code);
  };
  const changed = () => { state.tell("filter"); };
  const drawCategories = (column) => {
    const scrolled = box.querySelector(".legend-items")?.scrollTop || 0;
    const parts = counts(column), { hidden } = state;
    const toggle = (code) => { hidden.has(code) ? hidden.delete(code) : hidden.add(code); changed(); };
    const only = (code) => {
      const others = parts.map((part) => part.code).filter((c) => c !== code);
      state.hidden = !hidden.has(code) && others.every((c) => hidden.has(c)) ? new Set() : new Set(others);
      changed();
    };
    const take = (part) => state.select(Array.from({ length: n }, (_, i) => i).filter((i) => column.values[i] === part.code), `${column.title}: ${part.name}`);
    const items = make("div", { class: "legend-items" }, ...parts.map((part) => make("div", { class: "item" },
      make("button", { class: "toggle", type: "button", "aria-pressed": String(!hidden.has(part.code)), title: part.name, onclick: () => toggle(part.code) },
        swatch(columns.look(column, part.code)), make("span", { class: "name", text: part.name }), make("span", { class: "count", text: format.whole(part.count) })),
      make("span", { class: "more" }, parts.length > 1 ? make("button", { type: "button", text: "only", "aria-label": `Only ${part.name}`, onclick: () => only(part.code) }) : null,
        make("button", { type: "button", text: "select", "aria-label": `Select ${part.name}`, onclick: () => take(part) })))));
    const n_shown = parts.filter((part) => !hidden.has(part.code)).length;
    box.replaceChildren(make("div", { class: "legend-head" }, make("span", { text: hidden.size ? `${n_shown} of ${parts.length} shown` : "Click to hide" }),
      hidden.size ? make("button", { type: "button", text: "show all", onclick: () => { state.hidden = new Set(); changed(); } }) : ""), items);
    items.scrollTop = scrolled;
  };

  const BARS = 40;
  const drawNumbers = (column) => {
    const range = columns.range(column);
    if (!range) { box.replaceChildren(make("p", { class: "hint", text: "No row has a value." })); return; }
    const low = range.first, high = range.last > range.first ? range.last : range.first + 1, width = (high - low) / BARS;
    const bars = new Uint32Array(BARS);
    for (const value of column.values) if (!Number.isNaN(value)) bars[Math.min(BARS - 1, Math.floor((value - low) / width))]++;
    const most = Math.max(...bars);
    const tone = (value) => columns.rampAt(column, range.high > range.low ? Math.min(1, Math.max(0, (value - range.low) / (range.high - range.low))) : 0.5);
    const chart = make("div", { class: "histogram", "aria-hidden": "true" }, ...Array.from(bars, (count, k) => {
      const bar = make("span", { title: `${columns.short(low + k * width)} to ${columns.short(low + (k + 1) * width)}: ${format.whole(count)}` });
      bar.style.height = `${count ? Math.max(4, 100 * Math.sqrt(count / most)) : 0}%`;
      bar.style.background = tone(low + (k + 0.5) * width);
      return bar;
    }));
    const words = make("span"), clear = make("button", { type: "button", text: "show all", onclick: () => { state.brush = null; changed(); } });
    const slider = (name, at) => make("input", { type: "range", min: 0, max: BARS, step: 1, value: at, "aria-label": `${name} of ${column.title}` });
    const from = slider("Least", 0), to = slider("Most", BARS);
    const valueAt = (k) => (Number(k) >= BARS ? high : low + k * width);
    const show = () => {
      const [a, b] = state.brush || [-Infinity, Infinity];
      if (state.brush) { from.value = Math.round((a - low) / width); to.value = Math.round((b - low) / width); } else { from.value = 0; to.value = BARS; }
      [...chart.children].forEach((bar, k) => bar.classList.toggle("out", low + (k + 0.5) * width < a || low + (k + 0.5) * width > b));
      words.textContent = state.brush ? `${columns.short(a)} to ${columns.short(b)}` : "Drag over the bars to show a part";
      clear.hidden = !state.brush;
    };
    const brush = (a, b) => {
      const [first, last] = [Math.min(a, b), Math.max(a, b)];
      state.brush = first <= 0 && last >= BARS ? null : [valueAt(first), valueAt(Math.max(last, first + 1))];
      show();
      changed();
    };
    for (const input of [from, to]) input.addEventListener("input", () => brush(Number(from.value), Number(to.value)));
    let start = null;
    const barAt = (event) => { const frame = chart.getBoundingClientRect(); return Math.min(BARS, Math.max(0, ((event.clientX - frame.left) / frame.width) * BARS)); };
    chart.addEventListener("pointerdown", (event) => { start = barAt(event); chart.setPointerCapture(event.pointerId); });
    chart.addEventListener("pointermove", (event) => { if (start !== null) brush(Math.floor(Math.min(start, barAt(event))), Math.ceil(Math.max(start, barAt(event)))); });
    chart.addEventListener("pointerup", () => { start = null; });
    const take = () => state.select(points.rowsShown().filter((i) => !Number.isNaN(column.values[i])), `${column.title}: ${words.textContent}`);
    box.replaceChildren(make("div", { class: "legend-head" }, words, clear), chart, make("div", { class: "brush" }, from, to),
      make("div", { class: "ramp-ends" }, make("span", { text: columns.short(low) }), make("span", { text: columns.short(high) })),
      range.missing ? make("p", { class: "hint", text: `${format.whole(range.missing)} rows without a value are grey.` }) : "",
      make("button", { type: "button", class: "small", text: "select what is shown", onclick: take }));
    show();
  };

  let drawn = null;
  const draw = () => {
    const column = points.active();
    // A histogram that is being dragged stays in place; its bars follow by themselves.
    if (column.kind === "number" && drawn === column.key && state.brush) return;
    drawn = column.key;
    if (column.kind === "category") drawCategories(column);
    else drawNumbers(column);
  };
  return { fill, draw, setColor, redraw: () => { drawn = null; draw(); } };
})();
