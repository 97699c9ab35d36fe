"""How the trainings went that made the features, and those among the results: losses and monitors."""

from __future__ import annotations

from html import escape

from embedkit.files.page_of import link_to
from embedkit.pages.curves import cards
from embedkit.pages.sections import folded, made
from reports.map.content import Page
from reports.map.section import Section
from reports.map.trainings import Training

SHOWN = 3
SAYS = (
    "Against epochs. Monitors look at images that were not trained on; a dashed line is the epoch that was "
    "kept."
)


def section(page: Page) -> Section | None:
    """Return the curves of each training, those that made the features open."""
    if not page.trainings:
        return None
    parts = [_part(one, page) for one in page.trainings]
    body = f'<p class="hint">{escape(SAYS)}</p>{"".join(parts[:SHOWN])}'
    if len(parts) > SHOWN:
        body += folded(f"{len(parts) - SHOWN} more", "".join(parts[SHOWN:]))
    return Section("trainings", "Losses and monitors", "Training", None, body)


def _part(one: Training, page: Page) -> str:
    record = one.record
    if record is None:
        heading, told = one.folder.name, made(f"{one.folder}, which holds no record of how it was made")
    else:
        heading = f"{record.kind}: {record.backbone}, {record.method}"
        says = f"{record.dataset}, seed {record.seed}, {one.log[-1]['epoch']:g} epochs; {one.folder}"
        told = made(says, record.command)
    whose = f"it made the features of {', '.join(one.made)}" if one.made else ""
    quiet = f'<span class="quiet">{escape(whose)}</span>' if whose else ""
    sentence = f'<p class="hint">{escape(record.says)}</p>' if record is not None and record.says else ""
    kept = None if record is None else record.kept
    return (
        f'<div class="training"><h3>{escape(heading)} {quiet}</h3>{told}{sentence}{_own_page(one, page)}'
        f"{cards(one.log, kept=kept)}</div>"
    )


def _own_page(one: Training, page: Page) -> str:
    path = one.folder / "report.html"
    if page.place is None or not path.is_file():
        return ""
    return f'<p class="hint"><a href="{escape(link_to(path, beside=page.place))}">its own page</a></p>'
