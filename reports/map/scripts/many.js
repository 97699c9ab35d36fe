// All of some images: in a box that scrolls by itself, and draws more of them as one comes near its end.
embedkit.many = (() => {
  const { make, images, state, format } = embedkit;
  const STEP = 96;
  // `words` say in which order they stand; `how` is what a selection of them is called.
  return (rows, { words = "", how, name = how }) => {
    let drawn = 0;
    const grid = make("div", { class: "many-grid", role: "group", tabindex: "0", "aria-label": `All images of ${name}` });
    const said = make("p", { class: "hint", role: "status" });
    const more = make("button", { type: "button", class: "small" });
    const add = () => {
      const next = rows.slice(drawn, drawn + STEP), first = drawn;
      more.before(...Array.from(next, (i) => images.tile(i)));
      drawn += next.length;
      more.hidden = drawn >= rows.length;
      more.textContent = `show ${format.whole(Math.min(STEP, rows.length - drawn))} more`;
      said.textContent = `${more.hidden ? `All ${format.whole(rows.length)}` : `${format.whole(drawn)} of ${format.whole(rows.length)}`} shown${words ? `, ${words}` : ""}.`;
      return grid.children[first];
    };
    const end = new IntersectionObserver((entries) => {
      if (more.hidden || !entries.some((entry) => entry.isIntersecting)) return;
      add();
      // It tells of a change alone: where the end is still near, it has to be asked again.
      end.unobserve(more);
      end.observe(more);
    }, { root: grid, rootMargin: "300px" });
    // Who presses it goes on from the first of those that came.
    more.addEventListener("click", () => { add().querySelector("button").focus(); });
    grid.append(more);
    add();
    end.observe(more);
    const take = make("button", { type: "button", class: "small", text: "take these as the selection", "aria-label": `Take all ${format.whole(rows.length)} images of ${name} as the selection`, onclick: () => state.select(rows, how) });
    return make("div", { class: "many" }, make("div", { class: "many-head" }, said, take), grid);
  };
})();
