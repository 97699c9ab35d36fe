"""Most of the nearest rows of each, where all pairs would take hours; how many these are is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError

F32 = NDArray[np.float32]
# Rows that choose how many lists are looked into, and others that measure what that finds.
TRIED = MEASURED = 1_000
# Each list's centroid is learnt from so many rows, in so many rounds; faiss warns below 39 rows.
ROWS_A_LIST, ROUNDS = 48, 6
# Candidates for each neighbour: they are found in half precision, and put in order from the rows themselves.
CANDIDATES = 2
_BLOCK = 1024
# Distances that differ by less than what float32 rounds are equal.
_ROUNDED = 1 + 1e-5


@dataclass(frozen=True)
class Recall:
    """How many of the true neighbours were found, by rows that had no say in the search.

    Parameters
    ----------
    share
        Of the true k nearest of these rows, in [0, 1]; copies count for one another.
    k
        Neighbours a row.
    n_rows
        Rows that were also asked exactly.
    n_lists, n_looked_into
        Lists that the rows were put into, and those that were looked into for a row.
    """

    share: float
    k: int
    n_rows: int
    n_lists: int
    n_looked_into: int

    def describe(self) -> str:
        """Say it in words."""
        return f"{self.share:.1%} of the true {self.k} nearest, by {self.n_rows:,} images asked exactly"


@dataclass(frozen=True)
class Nearby:
    """Neighbours of each row, nearest first.

    Parameters
    ----------
    index : (n, k) int64
        Row numbers; no row is among its own.
    distance : (n, k) float32
        Euclidean distances to them, computed from the rows themselves.
    recall
        How many of the true ones these are.
    """

    index: NDArray[np.int64]
    distance: F32
    recall: Recall


def nearby(x: F32, k: int, *, advance: Callable[[int], None], least: float = 0.95, seed: int = 0) -> Nearby:
    """Find k rows near each row, by Euclidean distance, in about 4 sqrt(n) inverted lists (faiss' IVF [1]_).

    As many lists are looked into, 8 or twice as many and so on, as find the share `least` of the true
    neighbours of 1,000 rows; 1,000 others then measure the recall.

    Parameters
    ----------
    x : (n, d) float32
        Finite rows.
    k
        From 1 to n - 1.
    advance
        Told how many more rows are done.
    least
        Recall to look for, in (0, 1].
    seed
        Of the rows that the lists are made from, and of those that are asked exactly.

    Raises
    ------
    UsageError
        A k that n rows can't give.

    References
    ----------
    .. [1] Jegou, Douze & Schmid 2011, IEEE TPAMI 33, 117; Douze et al. 2024, arXiv 2401.08281.
    """
    n = len(x)
    if not 1 <= k < n:
        raise UsageError(f"k = {k}: {n} rows have from 1 to {n - 1} neighbours.")
    rows, unit = _rescaled(x)
    random = np.random.default_rng(seed)
    index = _index(rows, random)
    asked = random.permutation(n)[: TRIED + MEASURED]
    tried, measured = asked[: len(asked) // 2], asked[len(asked) // 2 :]
    farthest = _farthest(rows, tried, k)
    index.nprobe = min(8, index.nlist)
    while index.nprobe < index.nlist and _share(rows, index, tried, farthest, k) < least:
        index.nprobe = min(2 * index.nprobe, index.nlist)
    share = _share(rows, index, measured, _farthest(rows, measured, k), k)
    found, distance = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
    for start in range(0, n, _BLOCK):
        some = np.arange(start, min(start + _BLOCK, n))
        found[some], distance[some] = _look(rows, index, some, k)
        advance(len(some))
    recall = Recall(share, k, len(measured), int(index.nlist), int(index.nprobe))
    return Nearby(found, distance * np.float32(unit), recall)


def _rescaled(x: F32) -> tuple[F32, float]:
    """Return rows around their mean, at most 1 anywhere, and what 1 is: half precision ends at 65,504."""
    rows = np.asarray(x, np.float32) - x.mean(axis=0, dtype=np.float64).astype(np.float32)
    unit = float(np.abs(rows).max()) or 1.0
    rows /= np.float32(unit)
    return np.ascontiguousarray(rows), unit


def _index(x: F32, random: np.random.Generator) -> Any:
    import faiss

    n, d = x.shape
    n_lists = max(1, min(int(4 * n**0.5), n // ROWS_A_LIST))
    half = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatL2(d), d, n_lists, half, faiss.METRIC_L2)
    index.cp.niter = ROUNDS
    index.train(x[np.sort(random.permutation(n)[: ROWS_A_LIST * n_lists])])
    index.add(x)
    return index


def _look(x: F32, index: Any, rows: NDArray[np.int64], k: int) -> tuple[NDArray[np.int64], F32]:
    """Return k neighbours of some rows and their distances, in order; among all where lists hold fewer."""
    _, found = index.search(x[rows], CANDIDATES * k + 1)
    near, square = _in_order(x, rows, found, k)
    short = np.isinf(square).any(axis=1)
    if short.any():
        near[short], square[short] = _among_all(x, rows[short], k)
    return near, np.sqrt(square)


def _among_all(x: F32, rows: NDArray[np.int64], k: int) -> tuple[NDArray[np.int64], F32]:
    """Return the k nearest other rows of some, and their squared distances."""
    import faiss

    _, found = faiss.knn(x[rows], x, min(CANDIDATES * k + 1, len(x)))
    return _in_order(x, rows, found, k)


def _in_order(
    x: F32, rows: NDArray[np.int64], found: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], F32]:
    """Return the k nearest of what was found for some rows, and squared distances; own rows and gaps last."""
    difference = x[found] - x[rows, np.newaxis]
    square = np.einsum("nkd,nkd->nk", difference, difference)
    square[(found < 0) | (found == rows[:, np.newaxis])] = np.inf
    order = np.argsort(square, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(square, order, axis=1)


def _farthest(x: F32, rows: NDArray[np.int64], k: int) -> F32:
    """Return the distance of some rows to the k-th nearest of all others."""
    return np.asarray(np.sqrt(_among_all(x, rows, k)[1][:, -1]))


def _share(x: F32, index: Any, rows: NDArray[np.int64], farthest: F32, k: int) -> float:
    """Return how many of the true k nearest are found: all that are as near as the true k-th."""
    _, distance = _look(x, index, rows, k)
    return float((distance <= farthest[:, np.newaxis] * _ROUNDED).mean())
