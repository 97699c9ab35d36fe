"""What the network was shown of an image: the image itself, and its views, whose features were averaged."""

from __future__ import annotations

from html import escape

from embedkit.pages.sections import made
from embedkit.pages.svg import figure, image, text
from reports.map.content import Page
from reports.map.section import Section
from reports.map.views import GAP, SIDE, ViewSheet

HEAD, UNDER = 22, 4
SAYS = "A row an image: what the network takes of it, and then the views of it that were averaged."


def section(page: Page) -> Section | None:
    """Return the picture of each feature file that has more than one view an image."""
    if not page.views:
        return None
    body = f'<p class="hint">{escape(SAYS)}</p>{"".join(map(_panel, page.views))}'
    return Section("views", "Views", "Views", None, body)


def _panel(sheet: ViewSheet) -> str:
    step = SIDE + GAP
    width, height = sheet.n_columns * step - GAP, len(sheet.ids) * step - GAP
    parts = [text(0, 14, "image"), text(step, 14, f"views, {sheet.name}")]
    parts.append(image((0, HEAD, width, HEAD + height), sheet.data))
    drawn = figure(width, HEAD + height + UNDER, parts, words=f"Views {sheet.name} of {', '.join(sheet.ids)}")
    seed = "" if sheet.seed is None else f", seed {sheet.seed}"
    told = made(f"{sheet.dataset}, --views {sheet.name}{seed}; {sheet.file}; {', '.join(sheet.ids)}")
    return f'<div class="panel">{told}<div class="scroll">{drawn}</div></div>'
