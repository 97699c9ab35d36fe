// The map of another feature set beside the first one: one selection, one colour, and a slider from one to the other.
embedkit.linked = (() => {
  const { data, $, make, columns, images, places, state, unpack } = embedkit;
  const { name: own, sets } = data.linked;
  state.other = 0;
  state.morph = 0;

  // ---- the other map: the same machinery, told of the same choices -----------------------------------------
  const box = $("map-other"), canvas = (name) => box.querySelector(`.${name}`);
  // Copies, since points that move change the places that they are given.
  const at = places.maps.map(({ x, y }) => ({ x: x.slice(), y: y.slice() }));
  const other = embedkit.pointsOn(box, canvas("points"), places.maps[1]);
  const overlay = embedkit.overlayOn(other, canvas("over"), canvas("under"));
  const ring = make("div", { class: "ring", hidden: "" });
  $("ring").after(ring);
  embedkit.maps.push({ points: other, overlay, ring });

  // Both captions fold out under the maps: together they are longer than a phone is high.
  const captions = [make("p"), make("p")];
  $("map-text").textContent = "How these maps were made, and the keys";
  $("keys").before(...captions);
  // Ids are drawn when somebody looks: there may be very many.
  const leftOut = (note) => {
    const found = data.linked.left_out.find((one) => one.note === note);
    if (!found) return null;
    const all = make("pre"), fold = make("details", { class: "left-out" }, make("summary", { text: "all of them" }), all);
    fold.addEventListener("toggle", () => { all.textContent = found.ids.join("\n"); }, { once: true });
    return fold;
  };

  // ---- from one map to the other: at both ends the very places of the maps ----------------------------------
  const between = (a, b, t) => (t <= 0 ? a : t >= 1 ? b : a.map((v, i) => v + (b[i] - v) * t));
  const name = () => sets[state.other].name;
  const words = () => (state.morph <= 0 ? own : state.morph >= 1 ? name() : `${own} \u2192 ${name()}, ${Math.round(state.morph * 100)}\u00a0%`);
  const say = () => {
    $("name-first").textContent = words();
    $("name-other").textContent = name();
    $("morph-first").textContent = own;
    // The list beside it has the name, where there is a list.
    $("morph-other").textContent = sets.length > 1 ? "\u2192" : name();
    $("morph-other").title = name();
    $("morph-first").setAttribute("aria-pressed", String(state.morph <= 0));
    $("morph-other").setAttribute("aria-pressed", String(state.morph >= 1));
    $("morph").value = Math.round(state.morph * 100);
    $("morph").setAttribute("aria-valuetext", words());
    $("faith-first").textContent = state.morph <= 0 ? data.linked.faith : state.morph >= 1 ? sets[state.other].faith : "";
    $("faith-other").textContent = sets[state.other].faith;
    captions[0].replaceChildren(make("b", { text: own }), ` ${data.map.text}`);
    captions[1].replaceChildren(make("b", { text: name() }), ` ${sets[state.other].text}`);
  };
  const place = async (map, { x, y }) => {
    if (!map.points.any) return;
    await map.points.moveTo(x, y);
    map.overlay.refresh();
  };
  const morph = () => {
    const [a, b] = [at[0], at[state.other + 1]];
    say();
    return place(embedkit.maps[0], { x: between(a.x, b.x, state.morph), y: between(a.y, b.y, state.morph) });
  };
  const setMorph = (share) => { state.morph = Math.min(1, Math.max(0, share)); state.tell("morph"); };
  const setOther = (number) => { state.other = number; state.tell("other"); };

  // ---- who moved --------------------------------------------------------------------------------------------
  const nears = sets.map(({ near }) => (near ? unpack(near.index) : []));
  const k = data.neighbours ? data.neighbours.k : 0;
  const first = (i) => images.neighboursOf(i);
  const otherOf = (i) => Array.from(nears[state.other].slice(i * k, (i + 1) * k));
  const known = new Map();
  // Of images that kept as many neighbours, the one that stands first in the file.
  const moved = () => {
    if (known.has(state.other)) return known.get(state.other);
    const kept = new Uint8Array(columns.n);
    for (let i = 0; i < columns.n; i++) { const mine = new Set(first(i)); for (const j of otherOf(i)) if (mine.has(j)) kept[i]++; }
    const order = Array.from(kept.keys()).sort((a, b) => kept[a] - kept[b] || a - b);
    known.set(state.other, { order, kept, k });
    return known.get(state.other);
  };
  const alike = (i) => (k ? make("div", { class: "near" }, make("p", { text: `In ${name()}: nearest by ${sets[state.other].near.text}` }),
    make("div", { class: "strip" }, ...otherOf(i).map((j) => images.tile(j)))) : null);

  // ---- controls ---------------------------------------------------------------------------------------------
  $("morph").addEventListener("input", () => setMorph(Number($("morph").value) / 100));
  $("morph-first").addEventListener("click", () => setMorph(0));
  $("morph-other").addEventListener("click", () => setMorph(1));
  $("other-set").append(...sets.map((set, number) => make("option", { value: number, text: set.name })));
  $("other-set").hidden = sets.length < 2;
  $("other-set").addEventListener("change", () => setOther(Number($("other-set").value)));
  const api = { name, leftOut, first, other: otherOf, moved, alike, at, setMorph, setOther, column: () => sets[state.other].column, points: other, overlay, moving: Promise.resolve() };
  state.on("morph", () => { api.moving = morph(); });
  state.on("other", () => {
    $("other-set").value = state.other;
    api.moving = Promise.all([place(embedkit.maps[1], at[state.other + 1]), morph()]);
    images.drawPins();
  });
  say();
  return api;
})();
