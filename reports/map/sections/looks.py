"""What networks look at: maps of Grad-CAM and of attention as they were drawn, and links to their pages."""

from __future__ import annotations

from html import escape

from embedkit.pages.sections import folded, made
from embedkit.pages.svg import figure, image
from reports.map.beside import Attended, Mapped
from reports.map.content import Page
from reports.map.section import Section
from reports.picture_records import MappedImage

SHOWN = 2
SAYS = (
    "Attention of the class token, head by head: a row an image, the image itself first; each map is drawn "
    "to its own 97th percentile. It says where a network looks, and not why."
)


def section(page: Page) -> Section | None:
    """Return pictures of Grad-CAM and attention, and links to pages, that lie among the results."""
    beside = page.beside
    cams = beside.of("cam")
    if not cams and not beside.mapped and not beside.attended:
        return None
    places = {str(name): i for i, name in enumerate(page.ids)}
    maps, pages = [], dict(cams)
    for one in beside.mapped:
        # A page that stands beside its picture is linked from there.
        of = one.path.with_name(f"{one.path.stem.removesuffix('-maps')}.html")
        link = page.links([(of, pages.pop(of))], "Grad-CAM", says=False) if of in pages else ""
        known = places if one.record.fingerprint in beside.fingerprints else {}
        maps.append(_mapped(one, known, link))
    body = page.links(list(pages.items()), "Grad-CAM") + _some(maps)
    if beside.attended:
        body += f'<p class="hint">{escape(SAYS)}</p>{_some([_attended(one) for one in beside.attended])}'
    return Section("looks", "What networks look at", "Looks", {}, body)


def _some(pictures: list[str]) -> str:
    """Return the first of them, and the others on a click."""
    more = pictures[SHOWN:]
    return "".join(pictures[:SHOWN]) + (folded(f"{len(more)} more", "".join(more)) if more else "")


def _mapped(one: Mapped, places: dict[str, int], link: str) -> str:
    """Return a panel of one network: of each group an image, the others on a click.

    An image whose id has a place among the points can be pinned.
    """
    record = one.record
    first: list[str] = []
    others: list[str] = []
    groups: set[str] = set()
    for shown, tiles in one.images:
        (others if shown.group in groups else first).append(_card(record.tiles, shown, tiles, places))
        groups.add(shown.group)
    more = f'<div class="mapped">{"".join(others)}</div>'
    return (
        f'<div class="panel"><h3>{escape(record.network)}</h3><p>{escape(record.verdict)}</p>'
        f"{made(f'{record.dataset}, {record.network}; {one.path}', record.command)}{link}"
        f'<p class="hint">{escape(record.says)}.</p><div class="mapped">{"".join(first)}</div>'
        f"{folded(f'{len(others)} more', more) if others else ''}</div>"
    )


def _card(names: list[str], shown: MappedImage, tiles: tuple[str, ...], places: dict[str, int]) -> str:
    drawn = "".join(
        f'<img alt="{escape(f"{name}: {shown.id}")}" loading="lazy" src="{tile}">'
        for name, tile in zip(names, tiles, strict=True)
    )
    row = f' data-row="{places[shown.id]}"' if shown.id in places else ""
    lines = f"<b>{escape(shown.group)}</b><span>{escape(shown.caption)}</span><span>{escape(shown.id)}</span>"
    return f'<figure{row}><div class="tiles">{drawn}</div><figcaption>{lines}</figcaption></figure>'


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
