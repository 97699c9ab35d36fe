// Images whose maps are shown, and that are on the map: each can be pinned there.
embedkit.sections.looks = (_, section, { make, state }) => {
  for (const shown of section.querySelectorAll("figure[data-row]")) {
    const row = Number(shown.dataset.row);
    shown.querySelector("figcaption").append(make("button", { type: "button", class: "small", text: "pin beside the map", onclick: () => state.pin(row) }));
  }
};
