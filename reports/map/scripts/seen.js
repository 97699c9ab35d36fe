// What takes a while is drawn when one comes near it, so that the map doesn't wait for it.
embedkit.whenSeen = (node, draw) => {
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    draw();
  }, { rootMargin: "600px" });
  near.observe(node);
};
