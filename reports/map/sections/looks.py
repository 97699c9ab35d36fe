"""What networks look at: attention as it was drawn, and links to the pages of Grad-CAM."""

from __future__ import annotations

from html import escape

from embedkit.pages.sections import folded, made
from embedkit.pages.svg import figure, image
from reports.map.beside import Attended
from reports.map.content import Page
from reports.map.section import Section

SHOWN = 2
SAYS = (
    "Attention of the class token, head by head: a row an image, the image itself first; each map is drawn "
    "to its own 97th percentile. It says where a network looks, and not why."
)


def section(page: Page) -> Section | None:
    """Return pictures of attention, and links to pages of Grad-CAM, that lie among the results."""
    cams, pictures = page.beside.of("cam"), [_attended(one) for one in page.beside.attended]
    if not cams and not pictures:
        return None
    body = page.links(cams, "Grad-CAM")
    if pictures:
        body += f'<p class="hint">{escape(SAYS)}</p>{"".join(pictures[:SHOWN])}'
    if len(pictures) > SHOWN:
        body += folded(f"{len(pictures) - SHOWN} more", "".join(pictures[SHOWN:]))
    return Section("looks", "What networks look at", "Looks", None, body)


def _attended(one: Attended) -> str:
    record = one.record
    drawn = figure(
        one.width,
        one.height,
        [image((0, 0, one.width, one.height), one.data)],
        words=f"Attention of {record.network}, by image and head",
    )
    entropy = "; ".join(
        f"{name} {' '.join(f'{value:.2f}' for value in values)}".strip()
        for name, values in record.entropy.items()
    )
    says = f"{record.dataset}, {record.network}; {one.path}"
    says += f"; entropy of the heads, 1 is alike everywhere: {entropy}" if entropy else ""
    return f'<div class="panel">{made(says, record.command)}<div class="scroll">{drawn}</div></div>'
