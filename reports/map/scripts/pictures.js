// Pictures of the images, cut from the sheets that the page holds. A sheet is decoded when it is first looked at.
embedkit.pictures = (() => {
  const { data, make, unpack } = embedkit;
  const kept = data.pictures;
  if (!kept) {
    const none = () => make("span", { class: "no-picture", text: "no pictures" });
    return { any: false, has: () => false, element: none, draw: () => true, order: [] };
  }
  const place = unpack(kept.place), wide = unpack(kept.width), high = unpack(kept.height);
  const slots = kept.columns * kept.columns;
  const order = Array.from(place.keys()).filter((i) => place[i] >= 0).sort((a, b) => place[a] - place[b]);
  const has = (i) => place[i] >= 0;

  const MOST_SHEETS = 40;
  const sheets = new Map(); // number -> bitmap, the latest used last
  const coming = new Map();
  const open = (number) => {
    if (!coming.has(number)) {
      const blob = new Blob([unpack.bytes(document.getElementById(`sheet-${number}`).textContent)], { type: kept.type });
      coming.set(number, createImageBitmap(blob).then((bitmap) => {
        coming.delete(number);
        sheets.set(number, bitmap);
        if (sheets.size > MOST_SHEETS) {
          const [oldest, old] = sheets.entries().next().value;
          sheets.delete(oldest);
          old.close();
        }
        return bitmap;
      }));
    }
    return coming.get(number);
  };
  const cut = (bitmap, i) => {
    const slot = place[i] % slots;
    return [bitmap, (slot % kept.columns) * kept.pitch, Math.floor(slot / kept.columns) * kept.pitch, wide[i], high[i]];
  };
  const sheetOf = (i) => Math.floor(place[i] / slots);
  // Draw at once if its sheet is decoded; else say no, and call back when it is.
  const draw = (context, i, x, y, size, later) => {
    const number = sheetOf(i), bitmap = sheets.get(number);
    if (!bitmap) { open(number).then(later); return false; }
    sheets.delete(number);
    sheets.set(number, bitmap);
    const scale = size / Math.max(wide[i], high[i]), w = wide[i] * scale, h = high[i] * scale;
    context.drawImage(...cut(bitmap, i), x - w / 2, y - h / 2, w, h);
    return true;
  };

  const fillIn = (canvas) => {
    const i = Number(canvas.dataset.row);
    const number = sheetOf(i);
    Promise.resolve(sheets.get(number) || open(number)).then((bitmap) => {
      if (Number(canvas.dataset.row) !== i) return;
      canvas.width = wide[i];
      canvas.height = high[i];
      canvas.getContext("2d").drawImage(...cut(bitmap, i), 0, 0, wide[i], high[i]);
      canvas.dataset.drawn = "";
    });
  };
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) if (isIntersecting) { seen.unobserve(target); fillIn(target); }
  }, { rootMargin: "200px" });
  // A picture that is drawn once it comes into sight.
  const element = (i, words = `image ${data.ids[i]}`) => {
    if (!has(i)) return make("span", { class: "no-picture", text: "no picture kept" });
    const canvas = make("canvas", { class: "picture", role: "img", "aria-label": words, "data-row": i, width: wide[i], height: high[i] });
    seen.observe(canvas);
    return canvas;
  };
  return { any: true, has, element, draw, order };
})();
