// A map that takes long to draw, as without a graphics card: what is drawn slides with the pointer, and is drawn anew as often as there is time.
embedkit.sliding = { slow: 25, looks: 4 }; // milliseconds from a drawing to the next, mean of so many, from which on a drag slides
embedkit.slideOn = ({ points, overlay }) => {
  if (!points.any) return;
  const { box, canvas, affine } = points, layers = box.querySelectorAll("canvas"), { sliding } = embedkit;
  let pressed = false, slides = false, waits = false; // for a drawing that was asked for
  let times = [], pace = 0, next = 0;
  let at = [0, 0], ahead = [0, 0], before = [0, 0]; // the pointer; how far the layers are from where they were drawn; where that was
  const put = () => { for (const layer of layers) layer.style.translate = ahead.some(Boolean) ? `${ahead[0]}px ${ahead[1]}px` : ""; };
  const ask = () => { waits = true; points.panBy(-ahead[0], -ahead[1]); };
  const drawn = () => {
    const now = performance.now(), place = [affine.bx, affine.by];
    if (pressed && !slides) {
      times.push(now);
      const seen = times.slice(-sliding.looks - 1);
      pace = (now - seen[0]) / (seen.length - 1);
      slides = seen.length > sliding.looks && pace > sliding.slow;
    } else if (ahead.some(Boolean)) {
      ahead = ahead.map((far, axis) => (waits ? far - (place[axis] - before[axis]) : far)).map((far) => (Math.abs(far) < 0.01 ? 0 : far));
      waits = false;
      next = now + 3 * pace;
      put();
      if (!pressed && ahead.some(Boolean)) ask();
    }
    before = place;
  };
  box.addEventListener("mousedown", (event) => {
    pressed = event.target === canvas && event.button === 0 && !event.shiftKey && !box.classList.contains("lasso");
    slides = false;
    times = [];
    at = [event.clientX, event.clientY];
  }, true);
  // Before the library, which would draw each move.
  window.addEventListener("mousemove", (event) => {
    if (!pressed) return;
    const to = [event.clientX, event.clientY];
    if (slides) {
      event.stopImmediatePropagation();
      ahead = ahead.map((far, axis) => far + to[axis] - at[axis]);
      put();
      if (!waits && performance.now() >= next) ask();
    }
    at = to;
  }, true);
  window.addEventListener("mouseup", () => { pressed = false; if (!waits && ahead.some(Boolean)) ask(); }, true);
  points.frame = () => { overlay.draw(); drawn(); };
};
