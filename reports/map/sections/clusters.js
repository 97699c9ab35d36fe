embedkit.sections.clusters = (galleries, section, { make, tile, whole, percent }) => {
  const { unpack, many } = embedkit;
  const grid = make("div", { class: "clusters" });
  const select = make("select", { "aria-label": "Clustering" }, ...galleries.map((gallery, i) => make("option", { value: i, text: gallery.title })));
  const text = make("p", { class: "hint" });
  const more = make("button", { type: "button" });
  const facts = ({ size, labelled, classes, stability }) => [
    `${whole(size)} ${size === 1 ? "image" : "images"}`,
    ...(labelled && labelled < size ? [`${whole(labelled)} labelled`] : []),
    ...classes.map(([name, share]) => `${name} ${percent(share)}`),
    ...(stability ? [stability] : []),
  ].join(" · ");
  const beside = (cluster) => `Nearest images in other clusters: ${cluster.beside.map(([name, share]) => `${name} ${percent(share)}`).join(", ")}.`;
  // What is at the border is drawn when somebody asks.
  const border = (cluster) => {
    const strip = make("div", { class: "strip" }), box = make("details", { class: "border" }, make("summary", { text: `At its border: ${whole(cluster.border.length)} ${cluster.border.length === 1 ? "image" : "images"}` }), strip);
    box.addEventListener("toggle", () => { if (box.open && !strip.children.length) strip.append(...cluster.border.map((i) => tile(i))); });
    return box;
  };
  // The card takes the whole row while all of its images are looked at.
  const everything = (box, strip, cluster, rows, gallery) => {
    const head = box.firstChild, how = `${gallery.title}: ${cluster.name}`;
    let shown = null;
    const words = () => (shown ? "show fewer" : `show all ${whole(rows.length)} images`);
    const button = make("button", { type: "button", class: "small all", "aria-expanded": "false", text: words(), onclick: () => {
      if (shown) shown.remove();
      shown = shown ? null : many(rows, { words: gallery.by, how, name: cluster.name });
      if (shown) strip.after(shown);
      strip.hidden = !!shown;
      box.classList.toggle("open", !!shown);
      button.textContent = words();
      button.setAttribute("aria-expanded", String(!!shown));
      button.setAttribute("aria-label", `${words()} of ${cluster.name}`);
      if (shown) head.scrollIntoView({ block: "nearest" });
    } });
    button.setAttribute("aria-label", `${words()} of ${cluster.name}`);
    return button;
  };
  const card = (cluster, rows, gallery) => {
    const strip = make("div", { class: "strip" }, ...Array.from(rows.slice(0, gallery.shown), (i) => tile(i)));
    const box = make("div", { class: "cluster" },
      make("div", { class: "cluster-head" }, make("h3", { text: cluster.name }), make("p", { text: facts(cluster) })),
      strip,
      cluster.apart.length ? make("ul", { class: "apart" }, ...cluster.apart.map((text) => make("li", { text }))) : "",
      cluster.beside.length ? make("p", { class: "hint", text: beside(cluster) }) : "",
      cluster.border.length ? border(cluster) : "");
    if (rows.length > strip.children.length) box.firstChild.append(everything(box, strip, cluster, rows, gallery));
    return box;
  };
  const show = (all) => {
    const gallery = galleries[select.value], rows = unpack(gallery.rows);
    let end = 0;
    const parts = gallery.clusters.map(({ size }) => rows.subarray(end, (end += size)));
    const list = all ? gallery.clusters : gallery.clusters.slice(0, 24);
    text.textContent = gallery.order;
    more.hidden = list.length === gallery.clusters.length;
    more.textContent = `show all ${gallery.clusters.length} clusters`;
    grid.replaceChildren(...list.map((cluster, at) => card(cluster, parts[at], gallery)));
  };
  select.addEventListener("change", () => show(false));
  more.addEventListener("click", () => show(true));
  section.append(make("div", { class: "section-controls" }, galleries.length > 1 ? select : make("h3", { text: galleries[0].title }), text), grid, more);
  show(false);
};
