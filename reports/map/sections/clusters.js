embedkit.sections.clusters = (galleries, section, { make, tile, whole, percent }) => {
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
  const card = (cluster) => make("div", { class: "cluster" },
    make("div", { class: "cluster-head" }, make("h3", { text: cluster.name }), make("p", { text: facts(cluster) })),
    make("div", { class: "strip" }, ...cluster.members.map((i) => tile(i))),
    cluster.apart.length ? make("ul", { class: "apart" }, ...cluster.apart.map((text) => make("li", { text }))) : "",
    cluster.beside.length ? make("p", { class: "hint", text: beside(cluster) }) : "",
    cluster.border.length ? border(cluster) : "");
  const show = (all) => {
    const gallery = galleries[select.value];
    const list = all ? gallery.clusters : gallery.clusters.slice(0, 24);
    text.textContent = gallery.order;
    more.hidden = list.length === gallery.clusters.length;
    more.textContent = `show all ${gallery.clusters.length} clusters`;
    grid.replaceChildren(...list.map(card));
  };
  select.addEventListener("change", () => show(false));
  more.addEventListener("click", () => show(true));
  section.append(make("div", { class: "section-controls" }, galleries.length > 1 ? select : make("h3", { text: galleries[0].title }), text), grid, more);
  show(false);
};
