"""Which classes are taken for which: the confusion matrix of every result that keeps one."""

from __future__ import annotations

from reports.map.content import Page
from reports.map.section import Section


def section(page: Page) -> Section | None:
    """Return the matrices, true classes down."""
    matrices = [
        {
            "title": confusion.title,
            "counts": confusion.counts.tolist(),
            "row_names": confusion.row_names,
            "column_names": confusion.column_names,
        }
        for confusion in page.confusions
    ]
    return Section("confusions", "Confusion matrices", "Confusion", matrices) if matrices else None
