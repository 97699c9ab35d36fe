"""Which classes are taken for which: the confusion matrix of every result that keeps one."""

from __future__ import annotations

import numpy as np

from reports.map.content import Page
from reports.map.evidence import Confusion
from reports.map.section import Section

# A browser draws a cell for each pair: a million of them stop it.
MOST_CLASSES = 60


def section(page: Page) -> Section | None:
    """Return the matrices, true classes down."""
    matrices = [
        {
            "title": confusion.title,
            "counts": confusion.counts.tolist(),
            "row_names": confusion.row_names,
            "column_names": confusion.column_names,
        }
        for confusion in map(largest_classes, page.confusions)
    ]
    return Section("confusions", "Confusion matrices", "Confusion", matrices) if matrices else None


def largest_classes(confusion: Confusion) -> Confusion:
    """Return a matrix of its 60 largest classes, what they are taken for besides in a last column."""
    c = len(confusion.row_names)
    if c <= MOST_CLASSES:
        return confusion
    rows = np.sort(np.argsort(-confusion.counts.sum(axis=1), kind="stable")[:MOST_CLASSES])
    names = tuple(confusion.row_names[i] for i in rows)
    columns = [j for j, name in enumerate(confusion.column_names) if name in set(names)]
    counts = confusion.counts[rows]
    rest = counts.sum(axis=1) - counts[:, columns].sum(axis=1)
    return Confusion(
        f"{confusion.title} (the {MOST_CLASSES} largest of {c:,} classes)",
        np.column_stack([counts[:, columns], rest]),
        names,
        (*(confusion.column_names[j] for j in columns), "any other"),
    )
