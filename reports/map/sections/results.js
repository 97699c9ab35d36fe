embedkit.sections.results = (tables, section, { make }) => {
  for (const { title, header, number, rows } of tables) {
    const kind = (j, other) => (number[j] ? "number" : other);
    section.append(make("h3", { class: "group-title", text: title }), make("div", { class: "scroll" }, make("table", {},
      make("thead", {}, make("tr", {}, ...header.map((name, j) => make("th", { class: kind(j, ""), text: name })))),
      make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell, j) => make("td", { class: kind(j, "wrap"), text: cell }))))))));
  }
};
