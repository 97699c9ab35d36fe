// The state of the page: in a file that is saved and loaded, and in the address as long as it is short.
embedkit.saving = (() => {
  const { data, $, columns, points, state, naming, legend } = embedkit;
  const KIND = "embedkit report state";
  const LONGEST = 6000; // an address that mail programs and chats still carry
  const say = (text) => { $("said").textContent = text; };

  const record = (byId) => {
    const name = (i) => (byId ? data.ids[i] : i);
    const column = points.active();
    return {
      kind: KIND, of: data.key, color: state.color, brush: state.brush, layers: state.layers,
      hidden: column.kind === "category" ? [...state.hidden].map((code) => (code < 0 ? null : column.names[code])) : [],
      view: points.any ? points.camera() : null, pins: state.pins.map(name), set: [...state.set].map(name), how: state.how,
      labels: [...state.labels].map(([i, { label, how }]) => [name(i), label, how]),
      ...(data.linked ? { other: state.other, morph: state.morph } : {}),
    };
  };
  const isRecord = (value) => !!value && typeof value === "object" && !Array.isArray(value) && value.kind === KIND;
  const list = (value) => (Array.isArray(value) ? value : []);
  // What comes from outside is looked at: rows that aren't here and words that aren't text are left.
  const restore = (saved, byId) => {
    const rowOf = byId ? new Map(data.ids.map((id, i) => [id, i])) : null;
    const row = (value) => { const i = byId ? rowOf.get(value) : value; return Number.isInteger(i) && i >= 0 && i < columns.n ? i : -1; };
    const rows = (values) => list(values).map(row).filter((i) => i >= 0);
    const text = (value) => (typeof value === "string" ? value.slice(0, 10_000) : "");
    legend.setColor(columns.byKey.has(saved.color) ? saved.color : state.color);
    const column = points.active();
    if (column.kind === "category") state.hidden = new Set(list(saved.hidden).map((name) => (name === null ? -1 : column.names.indexOf(name))).filter((code, k) => code >= 0 || list(saved.hidden)[k] === null));
    else if (list(saved.brush).length === 2 && list(saved.brush).every(Number.isFinite)) state.brush = saved.brush;
    for (const layer of Object.keys(state.layers)) if (typeof saved.layers?.[layer] === "boolean") state.layers[layer] = saved.layers[layer];
    state.pins = rows(saved.pins).slice(0, 12);
    state.set = new Set(rows(saved.set));
    state.how = state.set.size ? text(saved.how) || "a saved state" : "";
    state.labels = new Map();
    for (const [id, label, how] of list(saved.labels).filter(Array.isArray)) { const i = row(id); if (i >= 0 && text(label)) state.labels.set(i, { label: text(label), how: text(how) }); }
    if (points.any && list(saved.view).length === 3 && saved.view.every(Number.isFinite) && saved.view[2] > 0) points.setCamera(saved.view);
    if (data.linked) {
      if (Number.isInteger(saved.other) && saved.other >= 0 && saved.other < data.linked.sets.length) embedkit.linked.setOther(saved.other);
      if (Number.isFinite(saved.morph)) embedkit.linked.setMorph(saved.morph);
    }
    state.tell("filter", "pins", "set", "labels", "layers");
    return list(saved.labels).length - state.labels.size;
  };

  const encoded = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  const decoded = (text) => new TextDecoder().decode(Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0)));
  let timer = 0;
  const remember = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const text = JSON.stringify(record(false));
      const long = text.length > LONGEST;
      if (!long) history.replaceState(null, "", `#state=${encoded(text)}`);
      $("saved-hint").textContent = long ? "The state is too long for the page's address: save it to a file." : "The page's address holds this state.";
    }, 400);
  };
  const fromAddress = () => {
    const found = /^#state=([\w-]+)$/.exec(location.hash);
    if (!found) return;
    try {
      const saved = JSON.parse(decoded(found[1]));
      if (isRecord(saved) && saved.of === data.key) restore(saved, false);
      else say("The address holds the state of another page.");
    } catch { say("The address holds no state that can be read."); }
  };
  const toFile = () => naming.save(JSON.stringify(record(true), null, 1), `${data.file_stem}-state.json`, "application/json");
  const fromFile = async (file) => {
    try {
      const saved = JSON.parse(await file.text());
      if (!isRecord(saved)) throw new Error("no state");
      const lost = restore(saved, true);
      say(lost ? `Loaded; ${lost} named images are not in this page.` : "Loaded.");
    } catch { say(`${file.name}: not a state that such a page has saved.`); }
  };
  return { remember, fromAddress, toFile, fromFile };
})();
