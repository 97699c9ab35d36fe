"""Several clusterings of the same images side by side: which groups of one are which of the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.map.columns import Category
from reports.map.content import Page
from reports.map.evidence import UNASSIGNED
from reports.map.section import Section

# Pairs are compared: of so many columns there are 276.
MOST = 24


@dataclass(frozen=True)
class Agreement:
    """How alike two divisions of the same images are.

    Parameters
    ----------
    ari
        Adjusted Rand index [1]_: 1 where they are the same, 0 on average by chance.
    nmi
        Mutual information over the mean of both entropies: 1 where they are the same, 0 where one says
        nothing of the other.
    n
        Images that both divide.

    References
    ----------
    .. [1] Hubert & Arabie 1985, Journal of Classification 2, 193.
    """

    ari: float
    nmi: float
    n: int


def agreement(one: NDArray[np.int64], other: NDArray[np.int64]) -> Agreement:
    """Compare two divisions (n,) of the same images by the table of their groups.

    Groups of any number from -1 on; below that a row is in neither, and is left out.
    """
    both = (one > UNASSIGNED) & (other > UNASSIGNED)
    n = int(both.sum())
    if not n:
        return Agreement(0.0, 0.0, 0)
    _, a = np.unique(one[both], return_inverse=True)
    _, b = np.unique(other[both], return_inverse=True)
    width = int(b.max()) + 1
    table = np.bincount(a * width + b, minlength=(int(a.max()) + 1) * width).reshape(-1, width)
    rows, columns = table.sum(axis=1).astype(np.float64), table.sum(axis=0).astype(np.float64)
    cells = table.astype(np.float64)
    together, in_rows, in_columns = (_pairs(counts) for counts in (cells, rows, columns))
    expected = in_rows * in_columns / max(1.0, n * (n - 1) / 2)
    most = (in_rows + in_columns) / 2
    ari = 1.0 if most == expected else (together - expected) / (most - expected)
    shared = _entropy(rows / n) + _entropy(columns / n) - _entropy(cells / n)
    mean = (_entropy(rows / n) + _entropy(columns / n)) / 2
    return Agreement(float(ari), float(max(0.0, shared) / mean) if mean else 1.0, n)


def _pairs(counts: NDArray[np.float64]) -> float:
    return float((counts * (counts - 1)).sum() / 2)


def _entropy(shares: NDArray[np.float64]) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log(some)).sum())


def section(page: Page) -> Section | None:
    """Return the labels, the clusterings, and how alike any two are, where there are several clusterings."""
    by_title = {one.title: one for one in page.columns if one.section == "Clusterings"}
    clusterings = [one for one in page.clusterings if one.title in by_title][:MOST]
    if len(clusterings) < 2:
        return None
    keys = [by_title[one.title].key for one in clusterings]
    titles = [one.title for one in clusterings]
    groups = [one.cluster for one in clusterings]
    label = next((one for one in page.columns if one.key == "label" and isinstance(one, Category)), None)
    if label is not None:
        keys, titles = [label.key, *keys], ["the labels", *titles]
        groups = [np.where(label.codes >= 0, label.codes, UNASSIGNED), *groups]
    pairs = [
        [(round(found.ari, 4), round(found.nmi, 4), found.n) for found in (agreement(a, b) for b in groups)]
        for a in groups
    ]
    left = len(page.clusterings) - len(clusterings)
    data = {"keys": keys, "titles": titles, "pairs": pairs, "left": left}
    return Section("alluvial", "Clusterings side by side", "Side by side", data)
