// Every chart of a page can be saved: on white, in the inks of paper, and with the words of what made it.
embedkit.charts = () => {
  const { make } = embedkit;
  const SHARPER = 3;
  // What the page's styles do to inks is of the page; the elements themselves hold those of paper.
  const alone = (svg, words) => {
    const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
    const copy = svg.cloneNode(true), ground = document.createElementNS(svg.namespaceURI, "rect"), about = document.createElementNS(svg.namespaceURI, "desc");
    for (const name of ["class", "style", "data-saved"]) copy.removeAttribute(name);
    for (const [name, value] of Object.entries({ width, height, "font-family": "sans-serif" })) copy.setAttribute(name, value);
    for (const [name, value] of Object.entries({ width, height, fill: "white" })) ground.setAttribute(name, value);
    about.textContent = words;
    copy.prepend(about, ground);
    return { text: new XMLSerializer().serializeToString(copy), width, height };
  };
  const save = (blob, name) => {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };
  const dressed = (svg, number) => {
    const section = svg.closest("section");
    const name = `${section?.id || "chart"}-${number}`;
    let made = null;
    for (let box = svg.parentElement; box && box !== document.body && !made; box = box.parentElement) made = box.querySelector(".made");
    const words = [svg.getAttribute("aria-label"), made?.textContent].filter(Boolean).join(". ");
    const asSvg = () => save(new Blob([alone(svg, words).text], { type: "image/svg+xml" }), `${name}.svg`);
    const asPng = async () => {
      const { text, width, height } = alone(svg, words), picture = new Image();
      picture.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
      await picture.decode();
      const canvas = make("canvas", { width: SHARPER * width, height: SHARPER * height });
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(blob, `${name}.png`));
    };
    svg.setAttribute("data-saved", "");
    const button = (kind, act) => make("button", { type: "button", title: `Save the chart as ${kind}`, onclick: act, text: kind });
    const box = make("div", { class: "chart" });
    box.style.width = svg.style.width;
    svg.replaceWith(box);
    box.append(svg, make("p", { class: "saves" }, button("SVG", asSvg), button("PNG", asPng)));
  };
  const numbers = new Map();
  for (const svg of document.querySelectorAll("svg.figure:not([data-saved])")) {
    const id = svg.closest("section")?.id;
    numbers.set(id, (numbers.get(id) ?? 0) + 1);
    dressed(svg, numbers.get(id));
  }
};
