embedkit.sections.alluvial = ({ keys, titles, pairs, left }, section, { make, state, whole, percent }) => {
  const { charts, columns, data, many, onTheme, whenSeen } = embedkit;
  const FIRST = 4, BAR = 13, TOP = 46;
  const svgOf = (tag, props = {}) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(props)) node.setAttribute(name, value);
    return node;
  };
  const said = (tag, props, text) => { const node = svgOf(tag, props); node.textContent = text; return node; };
  const all = keys.map((key) => columns.byKey.get(key));
  const n = columns.n - data.new; // of new images no clustering says anything
  let chosen = all.map((_, at) => at).slice(0, FIRST);

  // ---- the order of the groups of every column in which the fewest pairs of images cross --------------------
  const codesOf = (column) => [...new Set(column.values.slice(0, n))].sort((a, b) => (a < 0) - (b < 0) || a - b);
  // Groups by their place among the codes of their column: how many images two of them share.
  const tableOf = (a, b, rows, width) => {
    const counts = new Float64Array(rows * width);
    for (let i = 0; i < n; i++) counts[a[i] * width + b[i]]++;
    return { counts, rows, width };
  };
  const crossings = (orders, tables) => {
    let total = 0;
    tables.forEach(({ counts, width }, at) => {
      const above = new Float64Array(width);
      for (const a of orders[at]) {
        // What stands above and ends below crosses.
        let below = 0;
        for (let j = width - 1; j >= 0; j--) { const b = orders[at + 1][j]; total += counts[a * width + b] * below; below += above[b]; }
        for (let b = 0; b < width; b++) above[b] += counts[a * width + b];
      }
    });
    return total;
  };
  // Pairs that cross if u stands above v, less those if it stands below, by what both share with another column.
  const weigh = (costs, k, other, count) => {
    for (let u = 0; u < k; u++) for (let v = 0; v < u; v++) {
      let found = 0, of_u = 0, of_v = 0;
      for (const code of other) {
        const a = count(u, code), b = count(v, code);
        found += a * of_v - b * of_u;
        of_u += a;
        of_v += b;
      }
      costs[u * k + v] += found;
      costs[v * k + u] -= found;
    }
  };
  const sorted = (order, costs) => {
    const k = order.length;
    // Each group in turn goes to where it is best, until none moves.
    for (let moved = true, times = 0; moved && times < 30; times++) {
      moved = false;
      for (const code of order.slice()) {
        const at = order.indexOf(code), rest = order.filter((other) => other !== code);
        // From the top down: what it costs to pass each of the others.
        let sum = 0, best = 0, place = 0, here = 0;
        for (let to = 0; to < k; to++) {
          if (to === at) here = sum;
          if (sum < best) { best = sum; place = to; }
          if (to + 1 < k) sum += costs[rest[to] * k + code];
        }
        if (best < here) { rest.splice(place, 0, code); order = rest; moved = true; }
      }
    }
    return order;
  };
  const settle = (sizes, tables) => {
    let best = null, least = Infinity;
    for (let start = 0; start < sizes.length; start++) {
      // One column stays as it is at first, and the others follow it.
      const orders = sizes.map((size) => Array.from({ length: size }, (_, at) => at));
      const ways = [...orders.keys()].sort((a, b) => Math.abs(a - start) - Math.abs(b - start) || a - b);
      for (let times = 0, before = Infinity; times < 12; times++) {
        for (const at of ways) {
          if (!times && at === start) continue;
          const costs = new Float64Array(sizes[at] ** 2), left = tables[at - 1], right = tables[at];
          if (left && (times || at > start)) weigh(costs, sizes[at], orders[at - 1], (own, other) => left.counts[other * left.width + own]);
          if (right && (times || at < start)) weigh(costs, sizes[at], orders[at + 1], (own, other) => right.counts[own * right.width + other]);
          orders[at] = sorted(orders[at], costs);
        }
        const now = crossings(orders, tables);
        if (now < least) { least = now; best = orders.map((order) => order.slice()); }
        if (now >= before) break;
        before = now;
      }
    }
    return best;
  };

  // ---- the drawing -------------------------------------------------------------------------------------------
  const svg = svgOf("svg", { class: "figure alluvial", role: "group" });
  // Inks of paper, for the saved chart; the page's styles have their own.
  const PAPER = { head: { fill: "#222222", "font-size": 12, "font-weight": 600 }, between: { fill: "#808080", "font-size": 11 }, name: { fill: "#222222", "font-size": 11, stroke: "white", "stroke-width": 3, "stroke-opacity": 0.8, "paint-order": "stroke" } };
  const box = make("div", { class: "scroll" });
  box.append(svg);
  const chips = make("div", { class: "chips", role: "group", "aria-label": "Columns, in the order in which they are taken" });
  const agree = make("ul", { class: "agree" }), about = make("div");
  const nameOf = (column, code) => (code < 0 ? column.missing : column.names[code]);
  const rowsWhere = (holds) => Array.from({ length: n }, (_, i) => i).filter(holds);
  let layers = [], settled = null;
  const take = (rows, how) => {
    state.select(rows, how);
    about.replaceChildren(make("h3", { text: how }), many(rows, { how }));
  };
  const item = (node, words, rows, how, y, layer) => {
    node.setAttribute("role", "button");
    node.setAttribute("aria-label", words);
    node.setAttribute("tabindex", "-1");
    const title = svgOf("title");
    title.textContent = words;
    node.append(title);
    node.addEventListener("click", () => { take(rows(), how); focus(node); });
    layers[layer] = [...(layers[layer] || []), { node, y }];
    return node;
  };
  const fitted = (text, width) => (text.length * 6.4 <= width ? text : `${text.slice(0, Math.max(3, Math.floor(width / 6.4) - 1))}…`);
  const compute = () => {
    const codes = chosen.map((at) => codesOf(all[at]));
    const places = chosen.map((at, k) => { const where = new Map(codes[k].map((code, place) => [code, place])); return Int32Array.from(all[at].values.slice(0, n), (code) => where.get(code)); });
    const tables = codes.slice(1).map((_, k) => tableOf(places[k], places[k + 1], codes[k].length, codes[k + 1].length));
    const orders = settle(codes.map((some) => some.length), tables).map((order, k) => order.map((place) => codes[k][place]));
    settled = { orders, shared: (k, a, b) => tables[k].counts[codes[k].indexOf(a) * tables[k].width + codes[k + 1].indexOf(b)] };
  };
  const draw = () => {
    const { orders, shared } = settled, m = chosen.length;
    const last = all[chosen[m - 1]], longest = Math.max(titles[chosen[m - 1]].length, ...orders[m - 1].map((code) => nameOf(last, code).length));
    const side = Math.min(230, Math.max(90, longest * 6.4 + 24)), width = Math.max(box.clientWidth, 150 * (m - 1) + side), most = Math.max(...orders.map((order) => order.length));
    const gap = most > 24 ? 3 : 8, height = TOP + Math.min(900, Math.max(300, most * 26)) + 8, room = height - TOP - 8;
    const unit = (room - gap * (most - 1)) / n, step = (width - BAR - side) / (m - 1);
    const x = (at) => at * step + 1;
    layers = [];
    const bands = [], bars = [], texts = [];
    const places = orders.map((order, at) => {
      const column = all[chosen[at]], counts = new Map(), found = new Map();
      for (let i = 0; i < n; i++) counts.set(column.values[i], (counts.get(column.values[i]) || 0) + 1);
      let y = TOP + (room - n * unit - gap * (order.length - 1)) / 2;
      for (const code of order) { const size = counts.get(code) * unit; found.set(code, { y, size, count: counts.get(code), out: y, in: y }); y += size + gap; }
      return found;
    });
    chosen.forEach((which, at) => {
      const column = all[which], name = titles[which];
      const head = said("text", { x: x(at), y: 15, class: "head", ...PAPER.head }, fitted(name, at + 1 < m ? step - 12 : side));
      texts.push(head);
      if (at + 1 < m) texts.push(said("text", { x: x(at) + BAR + (step - BAR) / 2, y: TOP - 12, "text-anchor": "middle", class: "between", ...PAPER.between }, `ARI ${pairs[which][chosen[at + 1]][0].toFixed(2)}`));
      for (const [code, place] of places[at]) {
        const words = `${name}, ${nameOf(column, code)}: ${whole(place.count)} images`;
        const bar = svgOf("rect", { x: x(at), y: place.y, width: BAR, height: Math.max(1, place.size), rx: 2, class: "bar", "data-column": at, "data-code": code });
        bar.style.fill = columns.look(column, code);
        bars.push(item(bar, words, () => rowsWhere((i) => column.values[i] === code), `${name}: ${nameOf(column, code)}`, place.y + place.size / 2, 2 * at));
        if (place.size + gap >= 12) texts.push(said("text", { x: x(at) + BAR + 5, y: place.y + place.size / 2 + 4, class: "name", ...PAPER.name }, fitted(nameOf(column, code), at + 1 < m ? step - BAR - 16 : side - 12)));
      }
    });
    chosen.slice(1).forEach((_, at) => {
      const one = all[chosen[at]], other = all[chosen[at + 1]], half = (step - BAR) / 2;
      for (const a of orders[at]) for (const b of orders[at + 1]) {
        const count = shared(at, a, b);
        if (!count) continue;
        const from = places[at].get(a), to = places[at + 1].get(b), size = count * unit;
        const x0 = x(at) + BAR, x1 = x(at + 1), y0 = from.out, y1 = to.in;
        from.out += size;
        to.in += size;
        const path = svgOf("path", { d: `M${x0} ${y0}C${x0 + half} ${y0} ${x1 - half} ${y1} ${x1} ${y1}v${size}C${x1 - half} ${y1 + size} ${x0 + half} ${y0 + size} ${x0} ${y0 + size}Z`, class: "band", "fill-opacity": 0.4, "data-gap": at, "data-from": a, "data-to": b });
        path.style.fill = columns.look(one, a);
        const pair = `${titles[chosen[at]]}: ${nameOf(one, a)} and ${titles[chosen[at + 1]]}: ${nameOf(other, b)}`;
        bands.push([count, item(path, `${pair}: ${whole(count)} images, ${percent(count / from.count)} of the former and ${percent(count / to.count)} of the latter`, () => rowsWhere((i) => one.values[i] === a && other.values[i] === b), pair, y0 + size / 2, 2 * at + 1)]);
      }
    });
    // Thin bands lie above broad ones.
    bands.sort((a, b) => b[0] - a[0]);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.setAttribute("aria-label", `Side by side: ${chosen.map((at) => titles[at]).join(", ")}: ${data.title}`);
    svg.setAttribute("height", height);
    svg.replaceChildren(...bands.map(([, node]) => node), ...bars, ...texts);
    for (const layer of layers) layer.sort((a, b) => a.y - b.y);
    layers[0][0].node.setAttribute("tabindex", "0");
  };
  const focus = (node) => {
    for (const other of svg.querySelectorAll("[tabindex='0']")) other.setAttribute("tabindex", "-1");
    node.setAttribute("tabindex", "0");
    node.focus();
  };
  svg.addEventListener("keydown", (event) => {
    const layer = layers.findIndex((some) => some.some(({ node }) => node === event.target));
    if (layer < 0) return;
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); event.target.dispatchEvent(new MouseEvent("click")); return; }
    const [along, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] || [0, 0];
    if (!along && !down) return;
    event.preventDefault();
    const at = layers[layer].findIndex(({ node }) => node === event.target), { y } = layers[layer][at];
    const next = along ? (layers[layer + along] || []).reduce((best, one) => (!best || Math.abs(one.y - y) < Math.abs(best.y - y) ? one : best), null) : layers[layer][at + down];
    if (next) focus(next.node);
  });

  const tell = () => {
    agree.replaceChildren(...chosen.slice(1).map((at, k) => {
      const [ari, nmi, both] = pairs[chosen[k]][at];
      return make("li", { text: `${titles[chosen[k]]} and ${titles[at]}: ARI ${ari.toFixed(2)}, NMI ${nmi.toFixed(2)}${both < n ? `, of ${whole(both)} images` : ""}` });
    }));
  };
  const show = () => {
    chips.replaceChildren(...all.map((_, at) => make("button", { type: "button", class: "small", "aria-pressed": String(chosen.includes(at)), text: titles[at], "data-at": at, onclick: () => {
      if (chosen.includes(at)) { if (chosen.length > 2) chosen = chosen.filter((other) => other !== at); }
      else chosen = [...chosen, at];
      show();
      chips.querySelector(`[data-at="${at}"]`).focus();
    } })));
    compute();
    draw();
    tell();
  };
  section.append(make("p", { class: "hint", text: `Each column is a division of the same images, each band the images that two groups share. Groups stand where the fewest bands cross. A click on a band or a group, or the arrow keys and Enter, select its images. A column that is taken away and added again comes last.${left ? ` Of ${whole(left)} more clusterings nothing is shown here.` : ""}` }),
    chips, box, make("p", { class: "hint", text: "How alike neighbours are (1: the same; ARI 0: as by chance; NMI 0: one says nothing of the other). Noise counts as a group." }), agree, about);
  let width = 0;
  new ResizeObserver(() => { if (settled && box.clientWidth !== width) { width = box.clientWidth; draw(); } }).observe(box);
  onTheme(() => { if (settled) draw(); });
  whenSeen(box, () => { show(); charts(); });
};
