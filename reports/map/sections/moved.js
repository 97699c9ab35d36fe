embedkit.sections.moved = ({ says }, section, { make, state, tile, whole }) => {
  const { $, data, linked, sieve, legend } = embedkit;
  const FIRST = 8;
  let shown = FIRST;
  const words = make("div", { class: "says" }), list = make("ol", { class: "moved" });
  const hint = make("p", { class: "hint" }), more = make("button", { type: "button", class: "small", text: "show more" });
  const take = make("button", { type: "button", class: "small", text: "select these" });
  const paint = make("button", { type: "button", class: "small", text: "colour the maps by it" });
  const strip = (name, rows, others) => make("div", { class: "near" }, make("p", { text: `nearest in ${name}` }), make("div", { class: "strip" }, ...rows.map((j) => {
    const one = tile(j, others.has(j) ? " (in both)" : "");
    one.classList.toggle("kept", others.has(j));
    return one;
  })));
  const line = (i, kept, k) => {
    const a = linked.first(i), b = linked.other(i);
    return make("li", { "data-row": i }, make("div", { class: "who" }, tile(i), make("p", { class: "name", text: data.ids[i], title: data.ids[i] }), make("p", { class: "hint", text: `${kept} of ${k} kept` })),
      make("div", { class: "both" }, strip(data.linked.name, a, new Set(b)), strip(linked.name(), b, new Set(a))));
  };
  // What stands between backticks is typed.
  const prose = (text) => make("p", {}, ...text.split("`").map((part, at) => (at % 2 ? make("code", { text: part }) : part)));
  const draw = () => {
    sieve.again(); // the maps, which do it too, may be told later
    const { order, kept, k } = linked.moved(), rows = order.filter((i) => sieve.shown[i]), [overlap, ...verdict] = says[state.other];
    words.replaceChildren(prose(overlap), ...verdict.slice(0, 1).map(prose),
      verdict.length > 1 ? make("details", {}, make("summary", { text: "each measure" }), ...verdict.slice(1).map(prose)) : "");
    if (!k) { paint.hidden = take.hidden = more.hidden = true; return; }
    hint.textContent = `The images whose nearest differ most stand first${rows.length < order.length ? `, of the ${whole(rows.length)} that the legend shows` : ""}. A picture with a frame is among the nearest in both.`;
    list.replaceChildren(...rows.slice(0, shown).map((i) => line(i, kept[i], k)));
    more.hidden = shown >= rows.length;
    take.onclick = () => state.select(rows.slice(0, shown), `moved most from ${data.linked.name} to ${linked.name()}`);
    paint.onclick = () => { legend.setColor(linked.column()); $("map-section").scrollIntoView(); };
  };
  more.addEventListener("click", () => { shown += FIRST; draw(); });
  section.append(words, hint, list, make("div", { class: "card-buttons" }, more, take, paint));
  state.on("color filter other", draw);
  draw();
};
