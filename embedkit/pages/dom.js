"use strict";
// What the report and the leaderboard share: the data, elements, and light or dark.
const embedkit = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  // Everything from the data reaches the page as text, never as markup.
  const make = (tag, props = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(props)) {
      if (name === "class") node.className = value;
      else if (name === "text") node.textContent = value;
      else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  };

  const root = document.documentElement;
  const dark = () => root.classList.contains("dark");
  const wanted = matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (isDark) => root.classList.toggle("dark", isDark);
  setTheme(wanted.matches);
  // Follow the system and the button, and redraw what holds colours of its own.
  const onTheme = (redraw) => {
    wanted.addEventListener("change", () => { setTheme(wanted.matches); redraw(); });
    $("theme").addEventListener("click", () => { setTheme(!dark()); redraw(); });
  };
  // Name of a section of a page -> function that draws it.
  const sections = {};
  return { data, $, make, dark, onTheme, sections };
})();
