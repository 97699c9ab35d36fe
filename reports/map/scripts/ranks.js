// Lists to go through: outliers, near duplicates, labels that the neighbours disagree with.
embedkit.ranks = (() => {
  const { data, $, make, images, pictures, state } = embedkit;
  const box = $("lists");
  const FIRST = 24;
  // Both pictures and the absolute difference of their pixels, drawn once both are there.
  const difference = (one, other) => {
    const canvas = make("canvas", { class: "picture", role: "img", "aria-label": "their difference, four times as strong", width: 96, height: 96 });
    const context = canvas.getContext("2d");
    const draw = () => {
      context.globalCompositeOperation = "source-over";
      context.clearRect(0, 0, 96, 96);
      if (!pictures.draw(context, one, 48, 48, 96, draw)) return;
      context.globalCompositeOperation = "difference";
      if (!pictures.draw(context, other, 48, 48, 96, draw)) return;
      canvas.style.filter = "brightness(4)";
    };
    draw();
    return canvas;
  };
  const pair = ([a, b], words) => make("div", { class: "pair" }, images.tile(a), images.tile(b),
    pictures.has(a) && pictures.has(b) ? make("div", { class: "tile-box" }, difference(a, b)) : "", make("p", { class: "hint", text: words }));
  const one = (i, words) => make("figure", {}, images.tile(i), make("figcaption", { text: words, title: words }));

  const draw = () => {
    if (!data.ranks.length) { box.append(make("p", { class: "hint", text: "There are too few images for lists." })); return; }
    const select = make("select", { "aria-label": "List" }, ...data.ranks.map((rank, k) => make("option", { value: k, text: rank.title })));
    const words = make("p", { class: "hint" }), grid = make("div"), more = make("button", { type: "button", class: "small" });
    const take = make("button", { type: "button", class: "small", text: "select these" });
    let shown = FIRST;
    const show = () => {
      const rank = data.ranks[select.value];
      words.textContent = rank.words;
      grid.className = rank.pairs ? "pairs" : "ranked";
      grid.replaceChildren(...rank.rows.slice(0, shown).map((row, k) => (rank.pairs ? pair : one)(row, rank.values[k])));
      more.hidden = shown >= rank.rows.length;
      more.textContent = `show ${Math.min(FIRST, rank.rows.length - shown)} more`;
      take.onclick = () => state.select(rank.rows.slice(0, shown).flat(), rank.title);
    };
    select.addEventListener("change", () => { shown = FIRST; show(); });
    more.addEventListener("click", () => { shown += FIRST; show(); });
    box.append(select, words, grid, make("div", { class: "card-buttons" }, more, take));
    show();
  };
  return { draw };
})();
