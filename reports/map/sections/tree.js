embedkit.sections.tree = (trees, section, { make, state, whole, percent }) => {
  const { charts, columns, data, many, onTheme, unpack, whenSeen } = embedkit;
  const STEPS = 65535, NARROW = 0.75;
  const svgOf = (tag, props = {}, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(props)) if (value !== null) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const select = make("select", { "aria-label": "Clustering" }, ...trees.map((tree, i) => make("option", { value: i, text: tree.title })));
  const words = make("p", { class: "hint" });
  const svg = svgOf("svg", { class: "figure density-tree", role: "tree" });
  // Inks of paper, for the saved chart; the page's styles have their own.
  const PAPER = { fill: "#222222", stroke: "white", "stroke-width": 3, "stroke-linejoin": "round", "paint-order": "stroke", "font-weight": 600, "font-size": 11 };
  const box = make("div", { class: "tree-box" }, svg), about = make("div", { class: "tree-about" });
  let open = null, group = 0, root = 0;

  // What the page needs of a tree, made when it is first looked at.
  const ready = new Map();
  const read = (tree) => {
    if (ready.has(tree)) return ready.get(tree);
    const m = tree.parent.length, children = Array.from({ length: m }, () => []);
    for (let k = 1; k < m; k++) children[tree.parent[k]].push(k);
    // The largest to the left.
    for (const some of children) some.sort((a, b) => tree.size[b] - tree.size[a] || a - b);
    const rows = unpack(tree.rows), node = unpack(tree.node), density = Float64Array.from(unpack(tree.density), (v) => (v / STEPS) * tree.top);
    // The densities at which images leave each group by themselves: the largest first.
    const leaving = Array.from({ length: m }, () => []);
    for (let at = 0; at < rows.length; at++) leaving[node[at]].push(density[at]);
    const column = columns.list.find((one) => one.section === "Clusterings" && one.kind === "category" && one.title === tree.title);
    const within = tree.name.slice();
    for (let k = 1; k < m; k++) within[k] ||= within[tree.parent[k]];
    const color = (k) => { const code = column && within[k] ? column.names.indexOf(within[k]) : -1; return code < 0 ? (within[k] ? "grey" : "") : columns.look(column, code); };
    const found = { ...tree, m, children, rows, node, density, leaving, within, color };
    ready.set(tree, found);
    return found;
  };
  const below = (tree, top) => {
    const inside = new Uint8Array(tree.m);
    inside[top] = 1;
    for (let k = top + 1; k < tree.m; k++) inside[k] = inside[tree.parent[k]];
    return inside;
  };
  const rowsOf = (tree, top) => { const inside = below(tree, top); return tree.rows.filter((_, at) => inside[tree.node[at]]); };
  const nameOf = (tree, k) => (tree.name[k] ? tree.name[k] : k ? `group ${k}` : "all images");
  const length = (density) => String(Number((1 / density).toPrecision(3)));

  // ---- the drawing: as wide as there are images, the denser the lower ------------------------------------------
  const shape = (tree, k, at, unit, y, low, high) => {
    const from = Math.max(tree.birth[k], low), leaving = tree.leaving[k], steps = [];
    let size = tree.size[k];
    const per = Math.max(1, Math.ceil(leaving.length / 60));
    for (let i = leaving.length - 1; i >= 0; i -= per) {
      const take = Math.min(per, i + 1), density = leaving[i];
      if (density >= high) break;
      if (density > from) steps.push([y(density), size]);
      size -= take;
    }
    const end = Math.min(tree.death[k], high);
    steps.push([y(end), size]);
    let left = "", right = "", before = y(from);
    for (const [to, s] of steps) {
      const half = (s * unit) / 2;
      left += `L${(at - half).toFixed(1)} ${before.toFixed(1)}L${(at - half).toFixed(1)} ${to.toFixed(1)}`;
      right = `L${(at + half).toFixed(1)} ${to.toFixed(1)}L${(at + half).toFixed(1)} ${before.toFixed(1)}${right}`;
      before = to;
    }
    return `M${left.slice(1)}${right}Z`;
  };
  const draw = () => {
    const tree = open, width = Math.max(260, box.clientWidth), height = width < 560 ? 340 : 420;
    const side = 52, inside = below(tree, root);
    const seen = []; // densities of the images in view, the largest first
    for (let at = 0; at < tree.rows.length; at++) if (inside[tree.node[at]]) seen.push(tree.density[at]);
    let deepest = 0;
    for (let k = root; k < tree.m; k++) if (inside[k]) deepest = Math.max(deepest, k === root ? 0 : tree.birth[k]);
    // A few images of great density would leave all others no room.
    const high = Math.max(deepest * 1.02, seen[Math.floor(seen.length * 0.01)] ?? 0, tree.birth[root] * 1.02) || 1;
    const low = Math.max(tree.birth[root], root ? 0 : Math.min(seen[seen.length - 1] ?? 0, ...tree.children[0].map((k) => tree.birth[k])) * 0.97);
    const y = (density) => 8 + ((density - low) / (high - low || 1)) * (height - 20);
    const unit = (width - side - 6) / tree.size[root];
    const place = new Float64Array(tree.m);
    place[root] = side + (tree.size[root] * unit) / 2;
    const nodes = [], names = [];
    let narrow = 0;
    for (let k = root; k < tree.m; k++) {
      if (!inside[k]) continue;
      const total = tree.children[k].reduce((sum, child) => sum + tree.size[child], 0);
      let at = place[k] - (total * unit) / 2;
      for (const child of tree.children[k]) { place[child] = at + (tree.size[child] * unit) / 2; at += tree.size[child] * unit; }
      if (tree.size[k] * unit < NARROW) { narrow++; continue; }
      const color = tree.color(k), chosen = !!tree.name[k];
      const title = `${nameOf(tree, k)}: ${whole(tree.size[k])} images${k ? `, apart from a distance of ${length(tree.birth[k])}` : ""}${chosen ? ", taken as a cluster" : ""}`;
      const path = svgOf("path", { d: shape(tree, k, place[k], unit, y, low, high), class: `${chosen ? "chosen" : color ? "part" : "whole"}`, role: "treeitem", "data-node": k, tabindex: "-1", fill: color ? "#808080" : "#dddddd", "fill-opacity": chosen || !color ? 1 : 0.45, stroke: "white",
        "aria-label": title, "aria-level": depth(tree, k), "aria-selected": String(k === group) }, svgOf("title", {}));
      path.firstChild.textContent = title;
      if (color.startsWith("#")) path.style.fill = color;
      nodes.push(path);
      if (chosen) names.push([k, tree.name[k]]);
    }
    const axis = svgOf("g", { class: "axis", "aria-hidden": "true" });
    for (let t = 0; t < 5; t++) {
      const density = low + ((high - low) * (t + 0.5)) / 5;
      const text = svgOf("text", { x: side - 10, y: y(density) + 4, "text-anchor": "end", fill: "#808080", "font-size": 11 });
      text.textContent = length(density);
      axis.append(svgOf("line", { x1: side - 6, x2: width, y1: y(density), y2: y(density), stroke: "#dddddd" }), text);
    }
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    svg.setAttribute("aria-label", `Density tree of ${tree.title}: ${data.title}`);
    svg.replaceChildren(axis, ...nodes, ...labels(tree, names, place, unit, y, low, width));
    const current = svg.querySelector(`[data-node="${group}"]`) || nodes[0];
    if (current) current.setAttribute("tabindex", "0");
    say(tree, narrow, seen.filter((density) => density > high).length);
  };
  const depth = (tree, k) => { let found = 1; for (let at = k; at > 0; at = tree.parent[at]) found++; return found; };
  // Names of the clusters where they fit, the largest first.
  const labels = (tree, names, place, unit, y, low, width) => {
    const taken = [], found = [];
    for (const [k, name] of names.sort((a, b) => tree.size[b[0]] - tree.size[a[0]])) {
      const full = name.replace(/^cluster /, ""), fits = full.length * 6.8 + 8 <= tree.size[k] * unit;
      const short = fits ? full : full.replace(/ .*/, ""), half = short.length * 3.4 + 4, top = y(Math.max(low, tree.birth[k])) + 15;
      const middle = Math.min(Math.max(place[k], half), width - half);
      if (taken.some(([x, w, h]) => Math.abs(x - middle) < w + half && Math.abs(h - top) < 15)) continue;
      taken.push([middle, half, top]);
      const text = svgOf("text", { x: middle, y: top, "text-anchor": "middle", class: "name", "aria-hidden": "true", ...PAPER });
      text.textContent = short;
      found.push(text);
    }
    return found;
  };

  // ---- words, and what is known of one group ---------------------------------------------------------------------
  const say = (tree, narrow, beyond) => {
    const clusters = tree.name.filter(Boolean).length;
    words.textContent = `From the top down, images part into ever denser groups: the width is the number of images, and on the left stands the distance that neighbours in a group keep. ${whole(clusters)} of ${whole(tree.m)} groups, with colours and names, were taken as clusters${narrow ? `; ${whole(narrow)} too narrow to draw are found from their parent` : ""}. A group that is wide for long is stable.${beyond ? ` The ${whole(beyond)} densest images lie below the picture.` : ""} Click one to see and select its images, or go there by the arrow keys and Enter.`;
  };
  const button = (text, act, more = {}) => make("button", { type: "button", class: "small", text, onclick: act, ...more });
  const tell = () => {
    const tree = open, k = group, rows = rowsOf(tree, k), name = nameOf(tree, k), children = tree.children[k];
    const inner = []; for (let j = k + 1, inside = below(tree, k); j < tree.m; j++) if (inside[j] && tree.name[j]) inner.push(tree.name[j]);
    const facts = [`${whole(tree.size[k])} images${rows.length < tree.size[k] ? `, ${whole(rows.length)} of them on this page` : ""} (${percent(tree.size[k] / tree.size[0])} of all)`];
    if (k) facts.push(`apart from all others from a distance of ${length(tree.birth[k])} on`);
    facts.push(children.length ? `divides at ${length(tree.death[k])}` : `its last images are ${length(tree.death[k])} apart`);
    if (k) facts.push(`excess of mass ${Number(tree.stability[k].toPrecision(3))}`);
    const fate = tree.name[k] ? "Taken as a cluster." : tree.within[k] ? `A part of ${tree.within[k]}.`
      : inner.length ? `Holds ${inner.length > 4 ? `${whole(inner.length)} clusters` : inner.join(", ")}.` : "Not taken as a cluster.";
    about.replaceChildren(make("div", { class: "tree-head" }, make("h3", { text: name }), make("p", { class: "hint", text: `${facts.join(" · ")}. ${fate}` })),
      make("div", { class: "card-buttons" },
        k ? button(`what it parted from: ${nameOf(tree, tree.parent[k])}`, () => choose(tree.parent[k], true)) : "",
        ...children.map((child) => button(`${nameOf(tree, child)} (${whole(tree.size[child])})`, () => choose(child, true))),
        children.length && k !== root ? button("draw this group alone", () => { root = k; draw(); mark(); }) : "",
        root ? button("draw the whole tree", () => { root = 0; draw(); mark(); }) : ""),
      many(rows, { words: "the densest first", how: `${tree.title}: ${name}`, name }));
  };
  const mark = () => {
    for (const path of svg.querySelectorAll("[role=treeitem]")) path.setAttribute("aria-selected", String(Number(path.dataset.node) === group));
    tell();
  };
  const choose = (k, takes) => {
    const tree = open;
    group = k;
    if (root && !below(tree, root)[k]) { root = 0; draw(); }
    mark();
    if (takes) state.select(rowsOf(tree, k), `${tree.title}: ${nameOf(tree, k)}`);
  };
  const focus = (path) => {
    if (!path) return;
    for (const other of svg.querySelectorAll("[tabindex='0']")) other.setAttribute("tabindex", "-1");
    path.setAttribute("tabindex", "0");
    path.focus();
  };
  const drawn = (k) => svg.querySelector(`[data-node="${k}"]`);
  svg.addEventListener("click", (event) => { const path = event.target.closest("[data-node]"); if (path) { choose(Number(path.dataset.node), true); focus(drawn(group)); } });
  svg.addEventListener("keydown", (event) => {
    const path = event.target.closest("[data-node]");
    if (!path) return;
    const k = Number(path.dataset.node), tree = open, beside = k === root ? [k] : tree.children[tree.parent[k]].filter(drawn);
    const to = { ArrowUp: () => drawn(tree.parent[k]), ArrowDown: () => tree.children[k].map(drawn).find(Boolean), ArrowLeft: () => drawn(beside[beside.indexOf(k) - 1]), ArrowRight: () => drawn(beside[beside.indexOf(k) + 1]), Home: () => drawn(root) }[event.key];
    if (to) { event.preventDefault(); focus(to()); }
    else if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(k, true); }
  });

  const show = () => {
    open = read(trees[select.value]);
    root = 0;
    // The largest cluster stands for what a click shows.
    group = open.name.reduce((best, name, k) => (name && (!open.name[best] || open.size[k] > open.size[best]) ? k : best), 0);
    draw();
    mark();
  };
  select.addEventListener("change", show);
  section.append(make("div", { class: "section-controls" }, trees.length > 1 ? select : make("h3", { text: trees[0].title })), words, box, about);
  let width = 0;
  new ResizeObserver(() => { if (open && box.clientWidth !== width) { width = box.clientWidth; draw(); } }).observe(box);
  onTheme(() => { if (open) draw(); });
  whenSeen(box, () => { show(); charts(); });
};
