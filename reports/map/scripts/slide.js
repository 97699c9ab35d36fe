// A map that takes long to draw, as without a graphics card: what is drawn slides with the pointer, and is drawn anew as often as there is time.
embedkit.sliding = { slow: 25, looks: 4 }; // milliseconds from a drawing to the next, mean of so many, from which on a drag slides
embedkit.slideOn = ({ points, overlay }) => {
  if (!points.any) return;
  const { box, canvas } = points, layers = box.querySelectorAll("canvas"), { sliding } = embedkit;
  let pressed = false, slides = false, waits = false; // for a drawing that was asked for
  let ends = 0, deaf = false; // the library last heard of the pointer before a slide
  let times = [], pace = 0, next = 0;
  let at = [0, 0], ahead = [0, 0], asked = [0, 0]; // the pointer; how far the layers are from where they were drawn; how much of it the next drawing has
  const put = () => { points.slid = ahead; for (const layer of layers) layer.style.translate = ahead.some(Boolean) ? `${ahead[0]}px ${ahead[1]}px` : ""; };
  const ask = () => { waits = true; points.panBy(asked[0] - ahead[0], asked[1] - ahead[1]); asked = ahead; };
  const askAll = () => { if (ahead.some((far, axis) => far !== asked[axis])) ask(); };
  const drawn = () => {
    const now = performance.now();
    if (waits) { // whatever else moved the map since, the camera has what was asked
      ahead = ahead.map((far, axis) => far - asked[axis]);
      asked = [0, 0];
      waits = false;
      next = now + 3 * pace;
      put();
    }
    if (!pressed || slides) return;
    times.push(now);
    if (times.length <= sliding.looks) return;
    pace = (now - times.at(-sliding.looks - 1)) / sliding.looks;
    slides = pace > sliding.slow;
  };
  box.addEventListener("mousedown", (event) => {
    pressed = event.target === canvas && event.button === 0 && !event.shiftKey && !box.classList.contains("lasso");
    slides = pressed && deaf;
    if (slides) event.stopPropagation(); // from where it thinks the pointer to be it would jump here
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
  // The library pans by how far the pointer went since the last frame: it is told where that is, and a frame is waited for.
  const tell = (place) => {
    const end = ++ends, later = (work) => requestAnimationFrame(() => { if (!pressed && end === ends) work(); });
    deaf = true;
    later(() => {
      canvas.dispatchEvent(new MouseEvent("mousemove", { bubbles: true, view: window, ...place }));
      later(() => later(() => { deaf = false; }));
    });
  };
  window.addEventListener("mouseup", (event) => {
    if (pressed && slides) tell({ clientX: event.clientX, clientY: event.clientY });
    pressed = false;
    askAll();
  }, true);
  box.addEventListener("keydown", askAll, true);
  // The library would think that the pointer went all that way since it last heard of it.
  box.addEventListener("wheel", (event) => {
    if (!(pressed && slides) && !ahead.some(Boolean)) return;
    event.preventDefault();
    event.stopPropagation();
  }, { capture: true, passive: false });
  points.frame = () => { overlay.draw(); drawn(); };
};
