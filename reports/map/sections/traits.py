"""What sets a cluster apart from all other images, and which clusters lie beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm, rankdata

from reports.map.columns import Category, Column, Number

# Headings of the columns that may say what a cluster is made of: of the features and the map they are made.
SECTIONS = ("Annotations", "Images", "Targets")
# How often chance may name anything on one clustering's cards, and how large a difference is worth a line.
LEVEL, LEAST = 0.01, 0.1
MOST_TRAITS, MOST_BESIDE = 4, 3


@dataclass(frozen=True)
class Trait:
    """One thing that differs.

    Parameters
    ----------
    difference
        How far from chance, in [-1, 1]: of a number twice its probability to be larger here than elsewhere,
        less one; of a class its share here less that elsewhere; of an angle half the distance between the
        mean unit vectors.
    words
        What differs, and by how much.
    """

    difference: float
    words: str


def traits(cluster: NDArray[np.int64], columns: Sequence[Column]) -> dict[int, list[Trait]]:
    """Return what sets each cluster apart, the most different first.

    A number by the probability that a random image of the cluster has a larger one than a random other image
    (Mann and Whitney's U over the pairs [1]_), a class by its shares, and an angle, which goes round, by the
    mean of its unit vectors [2]_, whose spread is that of all images. What chance alone would show on one of
    a hundred such pages is left out (Bonferroni), and so is a difference below 0.1.

    Parameters
    ----------
    cluster : (n,) int64
        Below 0 where a row is in none.
    columns
        With n rows; only those of what was known before are looked at.

    References
    ----------
    .. [1] Mann & Whitney 1947, Annals of Mathematical Statistics 18, 50.
    .. [2] Mardia & Jupp 1999, Directional Statistics, chapter 2.
    """
    columns = [one for one in columns if one.section in SECTIONS]
    numbers = np.unique(cluster[cluster >= 0])
    tests = sum(len(one.names) if isinstance(one, Category) else 1 for one in columns) * len(numbers)
    beyond = float(norm.isf(LEVEL / (2 * max(1, tests))))
    found: dict[int, list[Trait]] = {int(number): [] for number in numbers}
    for column in columns:
        ranked: _Ranked | _Round | None = None
        if not isinstance(column, Category):
            ranked = _Round.of(column) if column.period else _Ranked.of(column)
        for number, some in found.items():
            inside = cluster == number
            if isinstance(column, Category):
                some += _of_classes(column, inside, beyond)
            elif ranked is not None:
                some += ranked.trait(inside, beyond)
    return {
        number: sorted(some, key=lambda one: -abs(one.difference))[:MOST_TRAITS]
        for number, some in found.items()
    }


@dataclass(frozen=True)
class _Ranked:
    """A column of numbers: which are known, they and their ranks, what ties take from the spread of U."""

    title: str
    known: NDArray[np.bool_]
    values: NDArray[np.float64]
    ranks: NDArray[np.float64]
    lost: float

    @classmethod
    def of(cls, column: Number) -> Self:
        known = np.isfinite(column.values)
        values = column.values[known].astype(np.float64)
        _, ties = np.unique(values, return_counts=True)
        pairs = max(1, len(values) * (len(values) - 1))
        lost = float((ties.astype(np.float64) ** 3 - ties).sum()) / pairs
        return cls(column.title, known, values, rankdata(values), lost)

    def trait(self, inside: NDArray[np.bool_], beyond: float) -> list[Trait]:
        here = inside[self.known]
        n, m = int(here.sum()), int((~here).sum())
        if not n or not m:
            return []
        larger = (self.ranks[here].sum() - n * (n + 1) / 2) / (n * m)
        spread = np.sqrt(max(n + m + 1 - self.lost, 0) / (12 * n * m))
        difference = 2 * larger - 1
        if abs(larger - 0.5) <= beyond * spread or abs(difference) < LEAST:
            return []
        word, share = ("higher", larger) if larger > 0.5 else ("lower", 1 - larger)
        middles = [f"{np.median(self.values[some]):.3g}" for some in (here, ~here)]
        words = f"{self.title} {word} than elsewhere in {_percent(share)} of pairs"
        return [Trait(float(difference), f"{words} (median {middles[0]}, elsewhere {middles[1]})")]


@dataclass(frozen=True)
class _Round:
    """A column of numbers that go round: which are known, and their unit vectors (n, 2)."""

    title: str
    period: float
    known: NDArray[np.bool_]
    vectors: NDArray[np.float64]

    @classmethod
    def of(cls, column: Number) -> Self:
        known = np.isfinite(column.values)
        turned = 2 * np.pi * column.values[known].astype(np.float64) / column.period
        return cls(column.title, column.period, known, np.column_stack([np.cos(turned), np.sin(turned)]))

    def trait(self, inside: NDArray[np.bool_], beyond: float) -> list[Trait]:
        here = inside[self.known]
        n, m = int(here.sum()), int((~here).sum())
        if not n or not m:
            return []
        own, others = self.vectors[here].mean(axis=0), self.vectors[~here].mean(axis=0)
        apart = own - others
        # Of random n of all, the squared distance in units of its spread is chi-squared of two degrees.
        spread = np.cov(self.vectors.T) * (n + m) / (n * m)
        squared = float(apart @ np.linalg.pinv(spread) @ apart)
        difference = float(np.hypot(*apart)) / 2
        if chi2.sf(squared, 2) >= 2 * norm.sf(beyond) or difference < LEAST:
            return []
        words = f"{self.title} {self._mean(own)}, elsewhere {self._mean(others)}"
        return [Trait(difference, f"{words}")]

    def _mean(self, vector: NDArray[np.float64]) -> str:
        angle = np.arctan2(vector[1], vector[0]) / (2 * np.pi) * self.period % self.period
        return f"about {angle:.0f} (concentration {np.hypot(*vector):.2f})"


def _of_classes(column: Category, inside: NDArray[np.bool_], beyond: float) -> list[Trait]:
    known = column.codes >= 0
    codes, here = column.codes[known], inside[known]
    n, m = int(here.sum()), int((~here).sum())
    if not n or not m:
        return []
    size = len(column.names)
    counts, others = np.bincount(codes[here], minlength=size), np.bincount(codes[~here], minlength=size)
    found = []
    for code, name in enumerate(column.names):
        share, elsewhere = counts[code] / n, others[code] / m
        pooled = (counts[code] + others[code]) / (n + m)
        spread = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        if abs(share - elsewhere) > beyond * spread and abs(share - elsewhere) >= LEAST:
            words = f"{column.title} {name}: {_percent(share)}, elsewhere {_percent(elsewhere)}"
            found.append(Trait(float(share - elsewhere), words))
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"  # as the page's scripts write it


@dataclass(frozen=True)
class Border:
    """Where a cluster ends.

    Parameters
    ----------
    beside
        Number of another cluster, -1 for noise, and the share of the nearest images of this one's that are in
        it, the largest first.
    rows
        Its images of which most nearest images are in others, foremost first.
    """

    beside: list[tuple[int, float]]
    rows: list[int]


def borders(cluster: NDArray[np.int64], near: NDArray[np.int64], most: int) -> dict[int, Border]:
    """Return the border of each cluster, by the nearest images (n, k) of each row.

    At the border are images of which at least a third of the nearest are in other clusters, `most` at most.
    """
    found = {}
    theirs = cluster[near]
    for number in np.unique(cluster[cluster >= 0]).tolist():
        rows = np.flatnonzero(cluster == number)
        around = theirs[rows]
        away = (around != number) & (around >= -1)
        others, counts = np.unique(around[away], return_counts=True)
        order = np.argsort(-counts, kind="stable")[:MOST_BESIDE]
        beside = [(int(others[i]), float(counts[i] / max(1, around.size))) for i in order]
        share = away.mean(axis=1) if near.shape[1] else np.zeros(len(rows))
        first = np.argsort(-share, kind="stable")[:most]
        found[number] = Border(beside, [int(rows[i]) for i in first if share[i] >= 1 / 3])
    return found
