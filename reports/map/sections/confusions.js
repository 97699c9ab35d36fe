embedkit.sections.confusions = (matrices, section, { make, whole, percent }) => {
  const cells = (matrix, i) => {
    const total = matrix.counts[i].reduce((a, b) => a + b, 0) || 1;
    return matrix.counts[i].map((count, j) => {
      const share = count / total;
      const title = `${matrix.row_names[i]} as ${matrix.column_names[j]}: ${whole(count)} of ${whole(total)} (${percent(share)})`;
      const cell = make("td", { class: share > 0.55 ? "strong" : "", text: whole(count), title });
      cell.style.background = `rgba(var(--heat), ${(0.04 + 0.9 * share).toFixed(3)})`;
      return cell;
    });
  };
  const draw = (matrix) => make("div", { class: "matrix" }, make("h3", { text: matrix.title }), make("div", { class: "scroll" }, make("table", {},
    make("thead", {}, make("tr", {}, make("th"), ...matrix.column_names.map((name) => make("th", { class: "column", title: name }, make("span", { text: name }))))),
    make("tbody", {}, ...matrix.row_names.map((name, i) => make("tr", {}, make("th", { class: "row", text: name, title: name }), ...cells(matrix, i)))))));
  const SHOWN = 8;
  const box = make("div", { class: "matrices" }, ...matrices.slice(0, SHOWN).map(draw));
  const more = make("button", { type: "button", text: `show all ${matrices.length} matrices`, onclick: () => { box.append(...matrices.slice(SHOWN).map(draw)); more.remove(); } });
  section.append(make("p", { class: "hint", text: "True class down, prediction across; shaded by the share of the row." }), box, matrices.length > SHOWN ? more : "");
};
