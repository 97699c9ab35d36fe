// Search by a part of an id, or by a word of any column.
embedkit.find = (() => {
  const { data, $, make, columns, state, format } = embedkit;
  const lower = data.ids.map((id) => id.toLowerCase());
  const input = $("search"), list = $("found");
  let current = 0;
  const MOST = 30;
  const rowsOf = (column, code) => Array.from({ length: columns.n }, (_, i) => i).filter((i) => column.values[i] === code);
  const categories = (wanted) => columns.list.filter((c) => c.kind === "category").flatMap((column) => column.names
    .map((name, code) => ({ column, name, code })).filter(({ name }) => name.toLowerCase().includes(wanted))).slice(0, 12);
  const search = () => {
    const wanted = input.value.trim().toLowerCase();
    list.replaceChildren();
    list.hidden = !wanted;
    current = 0;
    input.setAttribute("aria-expanded", String(!!wanted));
    if (!wanted) return;
    const hits = [];
    for (let i = 0; i < columns.n && hits.length < MOST; i++) if (lower[i].includes(wanted)) hits.push(i);
    hits.sort((a, b) => (lower[b] === wanted) - (lower[a] === wanted));
    const found = [
      ...hits.map((i) => ({ text: data.ids[i], row: i, act: () => pin(i) })),
      ...categories(wanted).map(({ column, name, code }) => ({ text: `${column.title}: ${name}`, words: "select all", act: () => take(column, name, code) })),
    ];
    if (!found.length) list.append(make("li", { class: "none", text: "No id and no column contains this." }));
    found.forEach(({ text, row, words, act }, at) => list.append(make("li", {
      role: "option", id: `found-${at}`, class: at ? "" : "current", "aria-selected": String(!at), "data-row": row,
      onmousedown: (event) => { event.preventDefault(); act(); },
    }, make("span", { text }), words ? make("small", { text: words }) : null)));
    list.acts = found.map(({ act }) => act);
  };
  const close = () => { list.hidden = true; input.setAttribute("aria-expanded", "false"); };
  const pin = (i) => { close(); input.value = data.ids[i]; state.pin(i); };
  const take = (column, name, code) => { close(); state.select(rowsOf(column, code), `${column.title}: ${name}`); };
  input.addEventListener("input", search);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const items = [...list.querySelectorAll("li[role=option]")];
    if (event.key === "Escape") close();
    if (!items.length || list.hidden) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const was = items[current];
      was.className = "";
      was.setAttribute("aria-selected", "false");
      current = (current + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length;
      items[current].className = "current";
      items[current].setAttribute("aria-selected", "true");
      items[current].scrollIntoView({ block: "nearest" });
      input.setAttribute("aria-activedescendant", items[current].id);
    }
    if (event.key === "Enter") list.acts[current]();
  });
  return {};
})();
