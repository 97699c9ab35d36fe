// The selection, the names that are given to it, and their way out: a table that --labels reads, and a saved state.
embedkit.naming = (() => {
  const { data, $, make, columns, images, points, state, format } = embedkit;
  const label = columns.byKey.get("label");
  const SHOWN = 60;

  const groups = () => {
    const found = new Map();
    for (const [i, { label: name }] of state.labels) found.set(name, [...(found.get(name) || []), i]);
    return [...found].sort((a, b) => b[1].length - a[1].length);
  };
  const give = (name) => {
    for (const i of state.set) state.labels.set(i, { label: name, how: state.how });
    state.tell("labels");
  };
  const drawSet = () => {
    const box = $("selection"), rows = [...state.set];
    if (!rows.length) {
      box.replaceChildren(make("p", { class: "hint", text: "Draw around points with the lasso (or with Shift held), take a class from the legend, or add images one by one. Then give them a name." }));
      return;
    }
    const name = make("input", { id: "name", type: "text", maxlength: 200, placeholder: "name of these images", "aria-label": "Name of the selection", list: "names", autocomplete: "off", spellcheck: "false" });
    const form = make("form", { class: "naming", onsubmit: (event) => { event.preventDefault(); if (name.value.trim()) give(name.value.trim()); } },
      name, make("datalist", { id: "names" }, ...[...new Set([...groups().map(([text]) => text), ...(label ? label.names : [])])].map((text) => make("option", { value: text }))),
      make("button", { type: "submit", text: "Name" }));
    box.replaceChildren(make("div", { class: "card" },
      make("div", { class: "card-head" }, make("h3", { text: `${format.whole(rows.length)} selected` }),
        make("button", { type: "button", text: "×", "aria-label": "Drop the selection", onclick: () => state.select([], "") })),
      make("p", { class: "hint", text: `By ${state.how}. ${label ? columns.shares(rows, label).slice(0, 4).map(([text, share]) => `${text} ${format.percent(share)}`).join(", ") : ""}` }),
      form,
      make("div", { class: "card-buttons" }, points.any ? make("button", { type: "button", class: "small", text: "show on the map", onclick: () => points.fit(rows) }) : null),
      make("div", { class: "near" }, make("div", { class: "strip" }, ...rows.slice(0, SHOWN).map((i) => images.tile(i))),
        rows.length > SHOWN ? make("p", { text: `The first ${SHOWN} are shown.` }) : null)));
  };
  const drawLabels = () => {
    const found = groups();
    $("labels").replaceChildren(make("h3", { text: found.length ? `${format.whole(state.labels.size)} images named` : "Names" }),
      found.length ? make("ul", { class: "groups" }, ...found.map(([name, rows]) => make("li", {},
        make("span", { class: "name", text: name, title: name }), make("span", { class: "count", text: format.whole(rows.length) }),
        make("button", { type: "button", class: "small", text: "select", "aria-label": `Select what is named ${name}`, onclick: () => state.select(rows, `named ${name}`) }),
        make("button", { type: "button", class: "small", text: "×", "aria-label": `Take the name ${name} away`, onclick: () => { for (const i of rows) state.labels.delete(i); state.tell("labels"); } }))))
        : make("p", { class: "hint", text: "Named images leave the page as a table, which every embedkit verb takes as --labels." }));
    $("export").disabled = !found.length;
  };

  // Nothing that a spreadsheet would run: what begins like a formula gets an apostrophe, which reading takes away.
  const neutral = (text) => (/^'*[=+\-@\t\r\n]/.test(text) ? `'${text}` : text);
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const csv = () => ["id,label,how", ...[...state.labels].sort((a, b) => a[0] - b[0])
    .map(([i, { label: name, how }]) => [data.ids[i], name, how].map((text) => cell(neutral(text))).join(","))].join("\n") + "\n";
  const save = (text, name, type) => {
    const link = make("a", { href: URL.createObjectURL(text instanceof Blob ? text : new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  const exportLabels = () => save(csv(), `${data.file_stem}-labels.csv`, "text/csv");
  return { drawSet, drawLabels, csv, save, exportLabels };
})();
