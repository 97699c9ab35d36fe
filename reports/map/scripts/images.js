// What is known of one image: under the pointer, and pinned beside the map with the images that are like it.
embedkit.images = (() => {
  const { data, $, make, columns, pictures, points, state, format, unpack } = embedkit;
  const near = data.neighbours;
  const index = near ? unpack(near.index) : [], distances = near ? unpack(near.distance) : [];
  const neighboursOf = (i) => (near ? Array.from(index.slice(i * near.k, (i + 1) * near.k)) : []);
  const distanceOf = (i, rank) => (distances[i * near.k + rank] / 255) * near.farthest;

  const facts = (i, list) => make("dl", {}, ...list.flatMap((c) => [make("dt", { text: c.title }), make("dd", { text: columns.text(c, i) })]));
  const label = columns.byKey.get("label");
  const titleOf = (i) => (label ? `${data.ids[i]}: ${columns.text(label, i)}` : data.ids[i]);
  // A picture that pins, and a corner that adds it to the selection.
  const tile = (i, more = "") => {
    const title = titleOf(i) + more;
    const corner = make("button", { class: "add", type: "button", "data-row": i, onclick: () => state.toggle(i) });
    mark(corner);
    return make("div", { class: "tile-box" },
      make("button", { class: "tile", type: "button", title, "aria-label": `Pin ${title}`, onclick: () => state.pin(i) },
        pictures.has(i) ? pictures.element(i, "") : make("span", { class: "blank", text: data.ids[i] })), corner);
  };
  const mark = (corner) => {
    const i = Number(corner.dataset.row), inside = state.set.has(i);
    corner.textContent = inside ? "−" : "+";
    corner.setAttribute("aria-pressed", String(inside));
    corner.setAttribute("aria-label", `${inside ? "Remove" : "Add"} ${data.ids[i]} ${inside ? "from" : "to"} the selection`);
  };
  const markAll = () => document.querySelectorAll("button.add").forEach(mark);

  const tip = $("tip");
  const hover = (i, map) => {
    tip.replaceChildren(...(pictures.any ? [pictures.element(i)] : []), make("div", {}, make("p", { class: "name", text: data.ids[i] }), facts(i, columns.main(points.active()))));
    tip.dataset.row = i;
    tip.hidden = false;
    const onScreen = ({ box, place }) => { const frame = box.getBoundingClientRect(), [px, py] = place(i); return [frame.left + px, frame.top + py, frame]; };
    const [cx, cy] = onScreen(map);
    const { width, height } = tip.getBoundingClientRect();
    const left = cx + 18 + width > innerWidth - 8 ? cx - 18 - width : cx + 18;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${Math.max(8, Math.min(cy - height / 2, innerHeight - height - 8))}px`;
    for (const { points: other, ring } of embedkit.maps) {
      const [rx, ry, frame] = onScreen(other);
      ring.style.left = `${rx}px`;
      ring.style.top = `${ry}px`;
      ring.hidden = other !== map && (!frame.width || rx < frame.left || rx > frame.right || ry < frame.top || ry > frame.bottom);
    }
  };
  const unhover = () => { tip.hidden = true; for (const { ring } of embedkit.maps) ring.hidden = true; delete tip.dataset.row; };

  const card = (i) => {
    const like = neighboursOf(i);
    const rest = columns.list.filter((c) => !columns.main(points.active()).includes(c));
    const add = make("button", { type: "button", class: "small", text: state.set.has(i) ? "take out of the selection" : "add to the selection", onclick: () => state.toggle(i) });
    return make("div", { class: "card", "data-row": i },
      make("div", { class: "card-head" }, make("h3", { text: data.ids[i] }),
        make("button", { type: "button", text: "×", "aria-label": `Unpin ${data.ids[i]}`, onclick: () => state.unpin(i) })),
      make("div", { class: "large" }, pictures.any ? pictures.element(i) : null, facts(i, columns.main(points.active()))),
      make("div", { class: "card-buttons" }, add,
        points.any ? make("button", { type: "button", class: "small", text: "show on the map", onclick: () => points.goTo(i, Math.max(6, points.zoom())) }) : null,
        like.length ? make("button", { type: "button", class: "small", text: `select it and its ${like.length} nearest`, onclick: () => state.select([i, ...like], `nearest to ${data.ids[i]}`) }) : null),
      like.length ? make("div", { class: "near" }, make("p", { text: `More like this: nearest by ${near.text}` }),
        make("div", { class: "strip" }, ...like.map((j, rank) => tile(j, ` (distance ${columns.short(Number(distanceOf(i, rank).toPrecision(2)))})`)))) : null,
      embedkit.linked ? embedkit.linked.alike(i) : null,
      rest.length ? make("details", {}, make("summary", { text: "all columns" }), facts(i, rest)) : null);
  };
  const drawPins = () => {
    $("pins").replaceChildren(...(state.pins.length ? state.pins.map(card)
      : [make("p", { class: "hint", text: "Click a point to pin its image here, with the images most like it. A click on one of those steps on to it." })]));
  };
  return { tile, facts, hover, unhover, drawPins, markAll, neighboursOf, distanceOf };
})();
