"""The rows that are farthest from their own neighbours: exactly, of any number of rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.console import progress
from embedkit.files.neighbours import nearest_rows

# All pairs of so many rows take a second. Of more, most are ruled out by neighbours that were found fast.
ALL_PAIRS = 4_096
_BLOCK, _ROWS = 512, 1 << 16
# Beyond what float32 rounds in a squared distance of rows of length 1.
_RELATIVE, _ABSOLUTE = 1 + 1e-3, 1e-5


@dataclass(frozen=True)
class Farthest:
    """Rows in an order, the farthest from its k-th neighbour first.

    Parameters
    ----------
    index : (m,) int64
        Rows.
    distance : (m,) float64
        1 - the cosine similarity of each to its k-th nearest other row.
    nearest : (m,) int64
        The row that is nearest to each.
    n_asked
        Rows whose neighbours were looked for among all.
    """

    index: NDArray[np.int64]
    distance: NDArray[np.float64]
    nearest: NDArray[np.int64]
    n_asked: int


def farthest(x: NDArray[np.float32], k: int, m: int, *, all_pairs: int = ALL_PAIRS) -> Farthest:
    """Return the min(m, n) rows whose k-th nearest other row is farthest by cosine; equal ones in order.

    The k-th nearest of *some* other rows is at least as far as that of all. So neighbours that were found
    fast bound each row's distance from above, and only rows whose bound reaches the m-th true distance are
    asked exactly: the outliers, and few others [1]_.

    Parameters
    ----------
    x : (n, d) float32
        Finite rows, at least two; a row of zeros is at distance 1 from all.
    k
        From 1 to n - 1.
    m
        Rows to return.
    all_pairs
        Up to so many rows all are asked exactly.

    References
    ----------
    .. [1] Bay & Schwabacher 2003, KDD, 29: distance-based outliers and pruning.
    """
    n = len(x)
    if n <= all_pairs:
        order: NDArray[np.int64] = np.arange(n)
        bound = np.full(n, np.inf)
    else:
        bound = _bounds(x, k)
        order = np.argsort(-bound, kind="stable")
    asked, distance, nearest = order[:0], np.empty(0), order[:0]
    with progress("neighbours", n, unit="images") as advance:
        for start in range(0, n, _BLOCK):
            some = order[start : start + _BLOCK]
            place, similarity = nearest_rows(x[some], x, k, own=some)
            asked = np.concatenate([asked, some])
            distance = np.concatenate([distance, np.maximum(1 - similarity[:, -1], 0)])
            nearest = np.concatenate([nearest, place[:, 0]])
            advance(len(some))
            rest = order[len(asked) :]
            if len(rest) and len(asked) >= m and np.partition(distance, -m)[-m] > bound[rest[0]]:
                break
    first = np.lexsort([asked, -distance])[:m]
    return Farthest(asked[first], distance[first], nearest[first], len(asked))


def _bounds(x: NDArray[np.float32], k: int) -> NDArray[np.float64]:
    """Return (n,) numbers that the cosine distances to the k-th nearest don't exceed."""
    from embedkit.computing.inverted_lists import nearby
    from embedkit.preparing.fitted import unit_rows

    bound = np.full(len(x), np.inf)
    lies = np.flatnonzero(x.any(axis=1))  # a row of zeros lies nowhere
    if len(lies) > k:
        unit = np.concatenate([unit_rows(x[some]) for some in np.array_split(lies, len(lies) // _ROWS + 1)])
        with progress("bounds", len(lies), unit="images") as advance:
            found = nearby(unit, k, advance=advance)
        # Of rows of length 1: |a - b|^2 = 2 (1 - cos).
        bound[lies] = found.distance[:, -1].astype(np.float64) ** 2 / 2 * _RELATIVE + _ABSOLUTE
    return bound
