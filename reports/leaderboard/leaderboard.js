"use strict";
(() => {
  const { data, $, make, onTheme } = embedkit;
  const number = (text) => Number.parseFloat(text.replaceAll(",", ""));
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  // ---- the axis of a group: what its points, intervals and levels of chance span, to round numbers -------
  const axisOf = (group) => {
    const values = group.rows.flatMap((row) => (row.point ? row.point.filter((v) => v !== null) : []));
    values.push(...Object.values(group.levels));
    if (!values.length) return null;
    let low = Math.min(...values), high = Math.max(...values);
    if (low === high) { low -= 0.05 * (Math.abs(low) || 1); high += 0.05 * (Math.abs(high) || 1); }
    const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((m) => m * power >= rough) * power;
    low = Math.floor(low / step) * step;
    high = Math.ceil(high / step) * step;
    const ticks = [];
    for (let i = 0; low + i * step <= high + step / 2; i++) ticks.push(low + i * step);
    const at = (value) => `${(100 * (value - low)) / (high - low)}%`;
    const text = (value) => String(Number(value.toPrecision(4)));
    return { at, ticks, text };
  };
  const place = (name, left) => { const node = make("span", { class: name }); node.style.left = left; return node; };
  const lines = (axis, group) => [
    ...axis.ticks.map((tick) => place("tick", axis.at(tick))),
    ...Object.values(group.levels).map((value, i) => place(i ? "level second" : "level", axis.at(value))),
  ];
  const plot = (axis, group, row) => {
    const box = make("div", { class: "axis" }, ...lines(axis, group));
    if (row.point && row.point[0] !== null) {
      const [value, low, high] = row.point;
      if (low !== null && high !== null) {
        const bar = place("bar", axis.at(low));
        bar.style.right = `calc(100% - ${axis.at(high)})`;
        box.append(bar);
      }
      box.append(place("dot", axis.at(value)));
    }
    return make("td", { class: "plot" }, box);
  };

  // A long name breaks after a dot or an underscore.
  const breakable = (text) => text.split(/(?<=[._])/).flatMap((part, i) => (i ? [make("wbr"), part] : [part]));

  // ---- one table a group ---------------------------------------------------------------------------------
  const boards = data.groups.map((group, g) => {
    const axis = axisOf(group);
    // The plot stands before the figures, and in a narrow window beside the name, so that it is seen without scrolling.
    const first = matchMedia("(max-width: 600px)").matches
      ? group.header.indexOf("features") + 1
      : group.number.findIndex((isNumber, j) => isNumber && group.header[j] !== "rank");
    const kind = (j) => (group.number[j] ? "number" : group.header[j]);
    const content = (cell, j, row) => {
      if (group.number[j]) return [cell];
      if (group.header[j] === "settings") return cell.split(/ (?!\()/).flatMap((word) => [make("span", { class: "setting", text: word }), " "]);
      if (group.header[j] !== "features") return breakable(cell);
      // In a narrow window this stands in place of the columns of the same words.
      const method = ["method", "settings"].map((name) => row.cells[group.header.indexOf(name)] ?? "").join(" ").trim();
      const maps = row.maps.map(([text, href]) => make("a", { class: "map-link", href, text }));
      return [...breakable(cell), ...maps, make("span", { class: "narrow", text: method })];
    };
    const beside = (cells, drawn) => (drawn ? [...cells.slice(0, first), drawn, ...cells.slice(first)] : cells);
    const body = make("tbody");
    const none = make("tr", { class: "none" }, make("td", { colspan: group.header.length + 1, text: "No row matches." }));
    const rows = group.rows.map((row, i) => {
      const tr = make("tr", { class: row.control ? "control" : "" },
        ...beside(row.cells.map((cell, j) => make("td", { class: kind(j) }, ...content(cell, j, row))), axis && plot(axis, group, row)));
      tr.addEventListener("mouseenter", () => { for (const j of row.apart) rows[j].tr.classList.add("apart"); });
      tr.addEventListener("mouseleave", () => { for (const j of row.apart) rows[j].tr.classList.remove("apart"); });
      const words = [group.dataset, group.task, ...row.cells.filter((_, j) => !group.number[j])].join(" ").toLowerCase();
      return { ...row, tr, i, words };
    });

    let by = null, rising = true, order = rows;
    const heads = group.header.map((name, j) => make("th", { class: kind(j), scope: "col" },
      make("button", { type: "button", text: name, onclick: () => sort(j) })));
    const sort = (j) => {
      // Words and ranks begin with the first, other numbers with the largest; a second click turns them round.
      rising = by === j ? !rising : !group.number[j] || group.header[j] === "rank";
      by = j;
      const direction = rising ? 1 : -1;
      order = [...rows].sort((a, b) => {
        const [p, q] = [a.cells[j], b.cells[j]];
        if (!p || !q) return (p ? 0 : 1) - (q ? 0 : 1) || a.i - b.i; // what is missing comes last both ways
        return direction * (group.number[j] ? number(p) - number(q) : p.localeCompare(q, "en", { numeric: true })) || a.i - b.i;
      });
      heads.forEach((head, k) => (k === j ? head.setAttribute("aria-sort", rising ? "ascending" : "descending") : head.removeAttribute("aria-sort")));
      show();
    };
    let keep = () => true;
    const show = () => {
      const kept = order.filter((row) => keep(row));
      body.replaceChildren(...(kept.length ? kept.map((row) => row.tr) : [none]));
      return kept.length;
    };
    const filter = (wanted) => { keep = wanted; return show(); };

    const metric = group.metric ?? "";
    const axisHead = axis && make("th", { class: "plot", scope: "col", "aria-label": `${metric} with its 95 % interval` },
      make("div", { class: "axis" }, ...lines(axis, { levels: {} }).map((tick) => { tick.style.top = "calc(100% - 4px)"; return tick; }),
        ...axis.ticks.map((tick) => { const node = place("tick-name", axis.at(tick)); node.textContent = axis.text(tick); return node; })));
    const key = axis && make("p", { class: "key" },
      make("span", {}, make("i", { class: "dot" }), `${metric} and its 95 % interval${group.lower_is_better ? " (lower is better)" : ""}`),
      group.rows.some((row) => row.control) ? make("span", {}, make("i", { class: "dot hollow" }), "control") : null,
      ...Object.entries(group.levels).map(([name, value], i) => make("span", {}, make("i", { class: i ? "second" : "" }), `${name} ${value.toFixed(3)}`)),
      group.tested ? make("span", { text: "Point at a row: those it can be told apart from fade." }) : null);
    const id = `group-${g}`;
    $("groups").append(make("section", { id },
      make("h2", {}, `${group.dataset} `, make("span", { class: "quiet", text: group.task })),
      make("div", { class: "scroll" }, make("table", { class: "board" }, make("thead", {}, make("tr", {}, ...beside(heads, axisHead))), body)),
      key, make("ul", { class: "notes" }, ...group.notes.map((note) => make("li", { text: note })))));
    $("nav").append(make("a", { href: `#${id}`, text: `${group.dataset} ${group.task}` }));
    return { filter };
  });

  // ---- the filter holds for all tables -------------------------------------------------------------------
  const filter = () => {
    const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const keep = (row) => ($("controls").checked || !row.control) && words.every((word) => row.words.includes(word));
    const shown = boards.reduce((sum, board) => sum + board.filter(keep), 0);
    $("shown").textContent = shown === data.n ? "" : `${shown} of ${plural(data.n, "row")}`;
  };
  $("filter").addEventListener("input", filter);
  $("controls").addEventListener("change", filter);

  $("title").textContent = data.title;
  $("facts").textContent = `${plural(data.n, "row")} in ${plural(data.groups.length, "table")}`;
  onTheme(() => {});
  filter();
  document.documentElement.dataset.ready = "yes";
})();
