// Everything put in its place, and told of what changes.
(() => {
  const { data, $, make, onTheme, points, overlay, maps, legend, images, ranks, naming, saving, hands, state, format } = embedkit;
  state.cursor = -1;
  const onMaps = (work) => { if (points.any) maps.forEach(work); };
  const draw = () => onMaps((map) => map.overlay.draw());
  const refresh = () => { for (const map of maps) map.overlay.refresh(); };

  const header = () => {
    $("title").textContent = data.title;
    $("facts").textContent = data.facts.join(" · ");
    if (!embedkit.linked) $("map-text").textContent = data.map.text;
    for (const note of data.notes) $("notes").append(make("div", { class: "note" }, note, embedkit.linked ? embedkit.linked.leftOut(note) : null));
    $("nav").append(make("a", { href: "#map-section", text: "Map" }), ...data.sections.map(({ name, link }) => make("a", { href: `#${name}`, text: link })));
  };

  const TABS = ["pins", "picked", "lists"];
  const open = (name) => {
    for (const tab of TABS) {
      const on = tab === name, button = $(`tab-${tab}`);
      button.setAttribute("aria-selected", String(on));
      button.tabIndex = on ? 0 : -1;
      $(tab).hidden = !on;
    }
  };
  for (const [at, tab] of TABS.entries()) {
    $(`tab-${tab}`).addEventListener("click", () => open(tab));
    $(`tab-${tab}`).addEventListener("keydown", (event) => {
      const move = { ArrowRight: 1, ArrowLeft: TABS.length - 1 }[event.key];
      if (!move) return;
      const next = TABS[(at + move) % TABS.length];
      open(next);
      $(`tab-${next}`).focus();
    });
  }

  const savePicture = async () => {
    const seen = maps.filter((map) => map.points.box.offsetWidth);
    for (const map of seen) await map.points.redraw();
    const whole = document.createElement("canvas");
    whole.width = seen.reduce((width, map) => width + map.overlay.canvas.width, 0);
    whole.height = overlay.canvas.height;
    const context = whole.getContext("2d");
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--card").trim();
    context.fillRect(0, 0, whole.width, whole.height);
    let left = 0;
    for (const map of seen) {
      const { width, height } = map.overlay.canvas;
      for (const layer of [map.points.canvas, map.overlay.canvas]) context.drawImage(layer, left, 0, width, height);
      left += width;
    }
    whole.toBlob((blob) => naming.save(blob, `${data.file_stem}.png`));
  };
  const drawLayers = () => {
    for (const layer of Object.keys(state.layers)) $(`layer-${layer}`).setAttribute("aria-pressed", String(state.layers[layer]));
    refresh();
  };
  const buttons = () => {
    const acts = {
      pan: () => hands.setMode("pan"), lasso: () => hands.setMode("lasso"), closer: () => onMaps((map) => map.points.zoomBy(1.5)), farther: () => onMaps((map) => map.points.zoomBy(1 / 1.5)),
      whole: () => onMaps((map) => map.points.whole()), "save-picture": savePicture, export: naming.exportLabels, "save-state": saving.toFile, "load-state": () => $("state-file").click(),
    };
    for (const [id, act] of Object.entries(acts)) $(id).addEventListener("click", act);
    for (const layer of Object.keys(state.layers)) $(`layer-${layer}`).addEventListener("click", () => { state.layers[layer] = !state.layers[layer]; state.tell("layers"); });
    $("state-file").addEventListener("change", () => { if ($("state-file").files[0]) saving.fromFile($("state-file").files[0]); $("state-file").value = ""; });
    if (!embedkit.pictures.any) $("layer-pictures").hidden = true;
  };

  header();
  legend.fill();
  $("color").value = state.color;
  buttons();
  ranks.draw();
  for (const section of data.sections) embedkit.sections[section.name]?.(section.data, $(section.name), { make, state, tile: images.tile, whole: format.whole, percent: format.percent });

  embedkit.charts();

  state.on("color", () => { legend.redraw(); points.resieve(); onMaps((map) => map.points.recolor()); refresh(); images.drawPins(); });
  state.on("filter", () => { points.resieve(); legend.draw(); onMaps((map) => map.points.filter()); refresh(); });
  state.on("pins", () => { images.drawPins(); if (state.pins.length) open("pins"); draw(); });
  state.on("set", () => { naming.drawSet(); images.markAll(); images.drawPins(); onMaps((map) => map.points.mark()); draw(); $("tab-picked").textContent = state.set.size ? `Selection (${format.whole(state.set.size)})` : "Selection"; });
  state.on("set", () => { if (state.set.size > 1) open("picked"); });
  state.on("labels", () => { naming.drawLabels(); naming.drawSet(); });
  state.on("layers", drawLayers);
  state.on("color filter pins set labels layers other morph", saving.remember);

  legend.redraw();
  images.drawPins();
  naming.drawSet();
  naming.drawLabels();
  points.resieve();
  if (!points.any) {
    $("notes").append(make("p", { class: "note", text: "This browser offers no WebGL with float textures, so the points are not drawn. Search, lists and everything below work." }));
    document.documentElement.dataset.ready = "yes";
    return;
  }
  hands.setMode("pan");
  for (const map of maps) { map.points.frame = map.overlay.draw; embedkit.handsOn(map); embedkit.slideOn(map); }
  onTheme(() => { legend.redraw(); onMaps((map) => map.points.recolor()); refresh(); images.drawPins(); });
  Promise.all(maps.map((map) => map.points.ready)).then(() => {
    drawLayers();
    onMaps((map) => map.points.redraw());
    saving.fromAddress();
    document.documentElement.dataset.ready = "yes";
  });
})();
