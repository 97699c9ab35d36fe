"""The report's page: one HTML file that holds everything it shows and asks the network for nothing."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.pages.template import fill, script_json
from reports.map.columns import Category, Column
from reports.map.content import Page
from reports.map.section import Section
from reports.map.sections import clusters, confusions, provenance, results

TEMPLATE = Path(__file__).parent / "page.html"
# Okabe & Ito's six that show on white and on black, a brown and a violet. Under simulated deuteranopia,
# protanopia and tritanopia any two differ by at least 0.07 in OKLab; a ninth category takes another symbol.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#953714", "#9B4DFF")
# Viridis, which keeps its order in grey and for every colour vision (van der Walt & Smith 2015).
RAMP = (
    (0.0, "#440154"),
    (0.125, "#472c7a"),
    (0.25, "#3b518b"),
    (0.375, "#2c718e"),
    (0.5, "#21908d"),
    (0.625, "#27ad81"),
    (0.75, "#5cc863"),
    (0.875, "#aadc32"),
    (1.0, "#fde725"),
)
# Below the map, in this order. Each has a module and a script in `sections`.
SECTIONS = (results.section, clusters.section, confusions.section, provenance.section)


def render(page: Page) -> str:
    """Return the page as one HTML text."""
    import plotly.offline

    sections = [found for make in SECTIONS if (found := make(page)) is not None]
    parts = {
        "title": html.escape(page.title),
        "version": html.escape(page.version),
        "plotly": plotly.offline.get_plotlyjs().replace("</script", "<\\/script"),
        "data": script_json(_data(page, sections)),
        "sections": "\n".join(section.element for section in sections),
        "sections.js": "\n".join(section.script for section in sections),
    }
    return fill(TEMPLATE, parts)


def _data(page: Page, sections: Sequence[Section]) -> dict[str, Any]:
    thumbnails = page.thumbnails
    return {
        "title": page.title,
        "file_stem": page.file_stem,
        "facts": list(page.facts),
        "notes": list(page.notes),
        "ids": [str(name) for name in page.ids],
        "map": {"x": _pack(page.map.xy[:, 0]), "y": _pack(page.map.xy[:, 1]), "text": page.map.describe()},
        "columns": [_column(column) for column in page.columns],
        "color": page.color,
        "palette": PALETTE,
        "ramp": RAMP,
        "neighbours": {
            "k": page.neighbours.shape[1],
            "text": page.near,
            "index": _pack(page.neighbours.astype(np.int32).ravel()),
        },
        "thumbnails": None
        if thumbnails is None
        else {
            "type": thumbnails.media_type,
            "pictures": [thumbnails.pictures.get(row) for row in range(len(page.ids))],
        },
        "sections": [section.record for section in sections],
    }


def _column(column: Column) -> dict[str, Any]:
    shared = {"key": column.key, "title": column.title, "section": column.section}
    if isinstance(column, Category):
        packed = _pack(column.codes.astype(np.int32))
        return shared | {
            "kind": "category",
            "values": packed,
            "names": column.names,
            "missing": column.missing,
        }
    return shared | {"kind": "number", "values": _pack(column.values)}


def _pack(values: NDArray[Any]) -> dict[str, str]:
    kind = "i4" if values.dtype.kind == "i" else "f4"
    data = np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()
    return {"type": kind, "data": base64.b64encode(data).decode()}
