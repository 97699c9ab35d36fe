"""The report's page: one HTML file that holds everything it shows and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.files import page_of
from embedkit.pages.template import fill, script_hash, script_json, shared
from reports.map import vendor
from reports.map.columns import Category, Column
from reports.map.content import Page
from reports.map.hues import CYCLE, PALETTE, RAMP, hues
from reports.map.linked.sets import LinkedSet
from reports.map.neighbours import Neighbours
from reports.map.packing import pack, pack_rows
from reports.map.section import Section
from reports.map.sections import (
    alluvial,
    clusters,
    confusions,
    few_labels,
    looks,
    moved,
    provenance,
    reliability,
    results,
    trainings,
    tree,
    views,
    votes,
)
from reports.map.sheets import COLUMNS, Sheets

TEMPLATE = Path(__file__).parent / "page.html"
# One concept a file, in the order in which they need one another.
SCRIPTS = (
    *("format", "pack", "state", "columns", "sieve", "pictures", "points", "overlay", "legend", "images"),
    *("seen", "many", "find", "ranks", "naming", "saving", "hands", "slide", "page"),
)
# Below the map, in this order. Each has a module and a script in `sections`.
SECTIONS = (
    *(moved.section, results.section, few_labels.section, clusters.section, tree.section, alluvial.section),
    *(
        reliability.section,
        trainings.section,
        views.section,
        looks.section,
        votes.section,
        confusions.section,
        provenance.section,
    ),
)


def render(page: Page) -> str:
    """Return the page as one HTML text."""
    sections = [found for make in SECTIONS if (found := make(page)) is not None]
    scripts = _scripts(sections, linked=bool(page.linked))
    library = vendor.library()
    parts = {
        "title": html.escape(page.title),
        "version": html.escape(page.version),
        "features": page_of.element(page.digests),
        "hashes": " ".join(script_hash(text) for text in (library, scripts)),
        "library": library,
        "scripts": scripts,
        "sheets": "\n".join(_sheet_elements(page.sheets)),
        "data": script_json(_data(page, sections)),
        "sections": "\n".join(section.element for section in sections),
        # The other map of a page that shows two.
        "more_css": _linked("linked.css") if page.linked else "",
        "before_map": _linked("linked.html") if page.linked else "",
        "after_map": _linked("other.html") if page.linked else "",
    }
    return fill(TEMPLATE, parts)


def _linked(name: str) -> str:
    return (TEMPLATE.parent / "linked" / name).read_text(encoding="utf-8")


def _scripts(sections: Sequence[Section], *, linked: bool) -> str:
    folder = TEMPLATE.parent / "scripts"
    own = {name: (folder / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS}
    # The sections stand before what puts everything in its place.
    before = [own[name] for name in SCRIPTS[:-1]] + ([_linked("linked.js")] if linked else [])
    return "\n".join(
        [
            shared("dom.js"),
            shared("charts.js"),
            *before,
            *(section.script for section in sections),
            own[SCRIPTS[-1]],
        ]
    )


def _sheet_elements(sheets: Sheets | None) -> list[str]:
    # Outside the data, so that a browser parses no megabytes that it doesn't look at yet.
    return [
        f'<script type="text/plain" id="sheet-{number}">{base64.b64encode(sheet).decode()}</script>'
        for number, sheet in enumerate(sheets.sheets if sheets is not None else ())
    ]


def _data(page: Page, sections: Sequence[Section]) -> dict[str, Any]:
    ids = [str(name) for name in page.ids]
    colours = hues(column for column in page.columns if isinstance(column, Category))
    found = {
        "title": page.title,
        "file_stem": page.file_stem,
        "key": hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16],
        "facts": list(page.facts),
        "notes": list(page.notes),
        "ids": ids,
        "map": {"x": pack(page.map.xy[:, 0]), "y": pack(page.map.xy[:, 1]), "text": page.caption},
        "columns": [_column(column, colours) for column in page.columns],
        "color": page.color,
        "new": page.n_new,
        "palette": PALETTE,
        "ramp": RAMP,
        "cycle": CYCLE,
        "neighbours": _neighbours(page.neighbours, page.near),
        "ranks": [vars(rank) for rank in page.ranks],
        "pictures": None if page.sheets is None else _pictures(page.sheets),
        "sections": [section.record for section in sections],
    }
    if page.linked:
        found["linked"] = {
            "name": page.name,
            "faith": page.faith,
            "sets": [_linked_set(one) for one in page.linked],
            "left_out": [{"note": note, "ids": ids.tolist()} for note, ids in page.left_out.items()],
        }
    return found


def _linked_set(one: LinkedSet) -> dict[str, Any]:
    return {
        "name": one.name,
        "x": pack(one.xy[:, 0]),
        "y": pack(one.xy[:, 1]),
        "text": one.caption,
        "faith": one.faith,
        "near": _neighbours(one.neighbours, one.near),
        "column": one.column,
    }


def _neighbours(near: Neighbours, words: str) -> dict[str, Any] | None:
    if not near.k:
        return None
    # A step of 1/255 of the farthest is enough to show a distance; the order is exact.
    farthest = float(near.distance.max())
    steps = np.round(255 * near.distance / (farthest or 1.0))
    return {
        "k": near.k,
        "text": words,
        "index": pack_rows(near.index.ravel(), len(near.index)),
        "distance": pack(steps.astype(np.uint8).ravel()),
        "farthest": farthest,
    }


def _pictures(sheets: Sheets) -> dict[str, Any]:
    return {
        "type": sheets.media_type,
        "columns": COLUMNS,
        "pitch": sheets.pitch,
        "place": pack(sheets.place),
        "width": pack(sheets.width),
        "height": pack(sheets.height),
    }


def _column(column: Column, colours: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    shared = {"key": column.key, "title": column.title, "section": column.section}
    if isinstance(column, Category):
        return shared | {
            "kind": "category",
            "values": pack(column.codes.astype(np.int8 if len(column.names) < 128 else np.int32)),
            "names": column.names,
            "missing": column.missing,
            "hues": colours[column.key],
        }
    return shared | {"kind": "number", "values": pack(column.values), "period": column.period}
