// Pointer, fingers and keys on the maps.
embedkit.hands = {
  setMode: (mode) => {
    const { $, maps } = embedkit;
    for (const { points } of maps) {
      if (!points.any) continue;
      points.mode(mode === "lasso" ? "lasso" : "panZoom");
      points.box.classList.toggle("lasso", mode === "lasso");
    }
    for (const [id, own] of [["pan", "pan"], ["lasso", "lasso"]]) $(id).setAttribute("aria-pressed", String(own === mode));
  },
};
embedkit.handsOn = ({ points, overlay }) => {
  const { data, $, columns, hands, images, state } = embedkit;
  if (!points.any) return;
  const { box, canvas } = points, { setMode } = hands;
  // What is shown of an image is taken away by the map that showed it.
  let showing = false;
  const show = (i) => { showing = true; images.hover(i, points); };
  const unhover = () => { if (showing) images.unhover(); showing = false; };

  // ---- pointer -----------------------------------------------------------------------------------------
  let down = null, dragged = false;
  const moved = (event) => Math.hypot(event.clientX - down[0], event.clientY - down[1]) > 4;
  const under = (event) => {
    const frame = box.getBoundingClientRect(), [aheadX, aheadY] = points.slid;
    const pictured = overlay.at(event.clientX - frame.left - aheadX, event.clientY - frame.top - aheadY);
    return pictured >= 0 ? pictured : points.hovered !== undefined && points.hovered >= 0 && points.shown[points.hovered] ? points.hovered : -1;
  };
  const look = (event) => {
    dragged ||= !!down && moved(event);
    if (down || event.target !== canvas) { unhover(); return; }
    const i = under(event);
    if (i < 0) unhover();
    else if ($("tip").hidden || $("tip").dataset.row !== String(i)) show(i);
    canvas.style.cursor = i < 0 ? "" : "pointer";
  };
  // A slow frame hears of the last of its moves alone, and a lasso's last is where it began.
  window.addEventListener("pointermove", (event) => { if (down) dragged ||= event.getCoalescedEvents().some(moved); });
  // After the library's own listener on the window, so that what it found is there.
  window.addEventListener("mousemove", look);
  box.addEventListener("mouseleave", unhover);
  window.addEventListener("scroll", unhover, { passive: true });
  box.addEventListener("mousedown", (event) => { down = [event.clientX, event.clientY]; dragged = false; unhover(); }, true);
  // After the click that follows; a timer that is late must not end the next gesture.
  window.addEventListener("mouseup", () => { const ended = down; setTimeout(() => { if (down === ended) down = null; }, 0); });
  // A click pins; the library would select instead, so it doesn't hear of it.
  box.addEventListener("click", (event) => {
    if (event.target !== canvas) return;
    event.stopPropagation();
    if (dragged || (down && moved(event))) return; // a lasso may end where it began
    const i = under(event);
    if (i >= 0) { state.cursor = i; state.pin(i); }
  }, true);
  canvas.addEventListener("wheel", unhover, { passive: true });
  box.addEventListener("dblclick", (event) => { if (event.target === canvas) points.whole(); });

  // ---- fingers: one is a mouse, two are a wheel ----------------------------------------------------------
  const mouse = (type, touch, buttons) => canvas.dispatchEvent(new MouseEvent(type, { bubbles: true, cancelable: true, view: window, clientX: touch.clientX, clientY: touch.clientY, button: 0, buttons }));
  let apart = 0, first = null, pressed = false;
  // The library pans by how far the mouse went since the last frame, and a finger comes from nowhere: it is pressed a frame after it was seen.
  const press = (finger) => requestAnimationFrame(() => requestAnimationFrame(() => {
    if (first !== finger || pressed) return;
    pressed = true;
    mouse("mousedown", finger, 1);
  }));
  const release = (touch) => { if (pressed) mouse("mouseup", touch, 0); pressed = false; };
  const spread = ([a, b]) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  canvas.addEventListener("touchstart", (event) => {
    event.preventDefault();
    if (event.touches.length === 1) {
      first = event.touches[0];
      unhover();
      down = null;
      dragged = pressed = false;
      mouse("mouseenter", first, 0);
      mouse("mousemove", first, 0);
      press(first);
    } else { release(event.touches[0]); first = null; apart = spread(event.touches); }
  }, { passive: false });
  canvas.addEventListener("touchmove", (event) => {
    event.preventDefault();
    if (event.touches.length === 1 && first && pressed) mouse("mousemove", event.touches[0], 1);
    if (event.touches.length === 2) {
      const now = spread(event.touches), [a, b] = event.touches, frame = box.getBoundingClientRect();
      const at = [(a.clientX + b.clientX) / 2 - frame.left, (a.clientY + b.clientY) / 2 - frame.top];
      const [cx, cy, times] = points.camera(), factor = now / apart;
      const to = [(at[0] - points.affine.bx) / points.affine.kx, (at[1] - points.affine.by) / points.affine.ky];
      points.setCamera([to[0] + (cx - to[0]) / factor, to[1] + (cy - to[1]) / factor, times * factor]);
      apart = now;
    }
  }, { passive: false });
  canvas.addEventListener("touchend", (event) => {
    event.preventDefault();
    const last = event.changedTouches[0];
    if (first) {
      release(last);
      if (Math.hypot(last.clientX - first.clientX, last.clientY - first.clientY) < 8) {
        const i = under(last);
        mouse("click", last, 0);
        if (i >= 0) show(i); // what is pinned may stand far below the map
      }
    }
    first = null;
  }, { passive: false });

  // ---- keys --------------------------------------------------------------------------------------------
  const announce = (text) => { $("live").textContent = text; };
  const go = (i) => {
    state.cursor = i;
    const [px, py] = points.place(i), { width, height } = points.area;
    if (px < 20 || py < 20 || px > width - 20 || py > height - 20) points.goTo(i);
    show(i);
    announce(`${data.ids[i]}${columns.main(points.active()).map((c) => `, ${c.title} ${columns.text(c, i)}`).join("")}${state.set.has(i) ? ", selected" : ""}`);
    for (const map of embedkit.maps) map.overlay.draw();
  };
  const nearestTo = (px, py, allowed) => {
    let best = -1, least = Infinity;
    for (let i = 0; i < points.n; i++) {
      if (!points.shown[i]) continue;
      const [ax, ay] = points.place(i), cost = allowed(ax - px, ay - py);
      if (cost < least) { least = cost; best = i; }
    }
    return best;
  };
  const step = (dx, dy) => {
    if (!(state.cursor >= 0)) { const { width, height } = points.area; go(nearestTo(width / 2, height / 2, Math.hypot)); return; }
    const [px, py] = points.place(state.cursor);
    // The nearest of those in that direction, what lies to the side counting twice.
    const i = nearestTo(px, py, (ax, ay) => { const along = ax * dx + ay * dy, aside = Math.abs(ax * dy - ay * dx); return along > 3 && aside <= along ? along + 2 * aside : Infinity; });
    if (i >= 0) go(i);
  };
  const inView = () => {
    const { width, height } = points.area;
    return points.rowsShown().filter((i) => { const [px, py] = points.place(i); return px >= 0 && py >= 0 && px <= width && py <= height; });
  };
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const KEYS = {
    "+": () => points.zoomBy(1.4, state.cursor >= 0 ? [points.x[state.cursor], points.y[state.cursor]] : undefined),
    "-": () => points.zoomBy(1 / 1.4), 0: () => points.whole(), l: () => setMode(box.classList.contains("lasso") ? "pan" : "lasso"),
    Enter: () => { if (state.cursor >= 0) state.pin(state.cursor); },
    " ": () => { if (state.cursor >= 0) { state.toggle(state.cursor); go(state.cursor); } },
    n: () => { if (state.cursor >= 0) { const next = images.neighboursOf(state.cursor).find((i) => !state.pins.includes(i)); if (next !== undefined) { state.pin(state.cursor); go(next); } } },
    a: () => { const rows = inView(); state.select(rows, "all in view"); announce(`${rows.length} selected`); },
    Escape: () => { state.cursor = -1; unhover(); for (const map of embedkit.maps) map.overlay.draw(); },
  };
  KEYS["="] = KEYS["+"];
  box.addEventListener("keydown", (event) => {
    if (event.target !== box || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key], act = KEYS[event.key];
    if (!arrow && !act) return;
    event.preventDefault();
    if (!arrow) act();
    else if (event.shiftKey) points.panBy(80 * arrow[0], 80 * arrow[1]);
    else step(...arrow);
  });
  box.addEventListener("blur", unhover);
};
