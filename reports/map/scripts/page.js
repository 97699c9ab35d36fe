// Everything put in its place, and told of what changes.
(() => {
  const { data, $, make, onTheme, columns, points, overlay, legend, images, ranks, naming, saving, hands, state, format } = embedkit;
  state.cursor = -1;

  const header = () => {
    $("title").textContent = data.title;
    $("facts").textContent = data.facts.join(" · ");
    $("map-text").textContent = data.map.text;
    for (const note of data.notes) $("notes").append(make("p", { class: "note", text: note }));
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
    await points.redraw();
    const whole = document.createElement("canvas");
    whole.width = overlay.canvas.width;
    whole.height = overlay.canvas.height;
    const context = whole.getContext("2d");
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--card").trim();
    context.fillRect(0, 0, whole.width, whole.height);
    for (const layer of [points.canvas, overlay.canvas]) context.drawImage(layer, 0, 0, whole.width, whole.height);
    whole.toBlob((blob) => naming.save(blob, `${data.file_stem}.png`));
  };
  const drawLayers = () => {
    for (const layer of Object.keys(state.layers)) $(`layer-${layer}`).setAttribute("aria-pressed", String(state.layers[layer]));
    overlay.refresh();
  };
  const buttons = () => {
    const acts = {
      pan: () => hands.setMode("pan"), lasso: () => hands.setMode("lasso"), closer: () => points.zoomBy(1.5), farther: () => points.zoomBy(1 / 1.5),
      whole: () => points.whole(), "save-picture": savePicture, export: naming.exportLabels, "save-state": saving.toFile, "load-state": () => $("state-file").click(),
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
  for (const section of data.sections) embedkit.sections[section.name](section.data, $(section.name), { make, state, tile: images.tile, whole: format.whole, percent: format.percent });

  state.on("color", () => { legend.redraw(); points.resieve(); if (points.any) points.recolor(); overlay.refresh(); images.drawPins(); });
  state.on("filter", () => { points.resieve(); legend.draw(); if (points.any) points.filter(); overlay.refresh(); });
  state.on("pins", () => { images.drawPins(); if (state.pins.length) open("pins"); if (points.any) overlay.draw(); });
  state.on("set", () => { naming.drawSet(); images.markAll(); images.drawPins(); if (points.any) { points.mark(); overlay.draw(); } $("tab-picked").textContent = state.set.size ? `Selection (${format.whole(state.set.size)})` : "Selection"; });
  state.on("set", () => { if (state.set.size > 1) open("picked"); });
  state.on("labels", () => { naming.drawLabels(); naming.drawSet(); });
  state.on("layers", drawLayers);
  state.on("color filter pins set labels layers", saving.remember);

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
  points.frame = overlay.draw;
  onTheme(() => { legend.redraw(); points.recolor(); overlay.refresh(); images.drawPins(); });
  points.ready.then(() => {
    drawLayers();
    points.redraw();
    saving.fromAddress();
    document.documentElement.dataset.ready = "yes";
  });
})();
