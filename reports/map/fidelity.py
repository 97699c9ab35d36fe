"""How far a map is to be believed: trustworthiness and continuity, of the whole and of each point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.map.columns import Number
from reports.map.neighbours import nearest_neighbours

K = 15
# Ranks are counted over all pairs: some seconds for so many rows. Of more, the numbers are of a sample, and
# there is no layer.
MOST_ROWS, SAMPLE = 20_000, 2_000
_BLOCK = 256


@dataclass(frozen=True)
class Fidelity:
    """How well neighbourhoods survived.

    Parameters
    ----------
    k
        Neighbours that were looked at.
    trustworthiness, continuity : (m,) float32
        Of the m rows looked at, 1 at best. Low trustworthiness: what lies near on the map is far in the
        features, so an island may be the projection's own. Low continuity: what is near in the features lies
        far away.
    n
        Rows of the map.
    """

    k: int
    trustworthiness: NDArray[np.float32]
    continuity: NDArray[np.float32]
    n: int

    def short(self) -> str:
        """Say both for a line."""
        trust, continuity = (one.mean(dtype=float) for one in (self.trustworthiness, self.continuity))
        return f"trustworthiness {trust:.2f}, continuity {continuity:.2f}"

    def describe(self) -> str:
        """Say both in words, and of how many rows."""
        m = len(self.trustworthiness)
        of = "" if m == self.n else f", of {m:,} images drawn at random"
        return (
            f"Trustworthiness {self.trustworthiness.mean(dtype=float):.3f}, continuity "
            f"{self.continuity.mean(dtype=float):.3f} (1 at best; {self.k} neighbours{of})."
        )

    def columns(self) -> list[Number]:
        """Return both as layers; none where not every row was looked at."""
        if len(self.trustworthiness) < self.n:
            return []
        return [
            Number(
                "trustworthiness",
                "trustworthiness of the place",
                "Map",
                self.trustworthiness,
            ),
            Number(
                "continuity",
                "continuity of the place",
                "Map",
                self.continuity,
            ),
        ]


def fidelity(x: NDArray[np.float32], xy: NDArray[np.float32], *, seed: int = 0) -> Fidelity | None:
    """Compare neighbourhoods of features and map, by ranks [1]_.

    The mean of `trustworthiness` is scikit-learn's ``trustworthiness(x, xy, n_neighbors=k)``, that of
    `continuity` the same with features and map exchanged.

    Parameters
    ----------
    x : (n, d) float32
        The rows that were laid out, compared by Euclidean distance.
    xy : (n, 2) float32
        Their places.
    seed
        Of the sample, where there are more than 20,000 rows.

    Returns
    -------
    Fidelity, optional
        None for fewer than five rows, which have no neighbourhoods.

    References
    ----------
    .. [1] Venna & Kaski 2006, Neural Networks 19, 889.
    """
    n = len(x)
    k = min(K, (n - 1) // 2)
    if k < 2:
        return None
    rows = np.arange(n)
    if n > MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(n, SAMPLE, replace=False))
    on_map, in_features = _nearest(xy, rows, k), _nearest(x, rows, k)
    worst = 2.0 / (k * (2.0 * n - 3.0 * k - 1.0))
    trust = 1 - worst * _excess(x, rows, on_map)
    continuity = 1 - worst * _excess(xy, rows, in_features)
    return Fidelity(k, trust.astype(np.float32), continuity.astype(np.float32), n)


def _nearest(x: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    if len(rows) == len(x):
        return nearest_neighbours(x, k, metric="euclidean").index
    near = np.empty((len(rows), k), np.int64)
    for at, squares in _squares(x, rows):
        near[at] = np.argpartition(squares, k, axis=1)[:, :k]
    return near


def _squares(x: NDArray[np.float32], rows: NDArray[np.int64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield blocks of `rows` with their squared distances to all rows; to itself a row is infinitely far."""
    wide = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    lengths = (wide**2).sum(axis=1)
    for start in range(0, len(rows), _BLOCK):
        at = slice(start, min(start + _BLOCK, len(rows)))
        squares = lengths[rows[at], np.newaxis] + lengths - 2 * wide[rows[at]] @ wide.T
        squares[np.arange(len(squares)), rows[at]] = np.inf
        yield at, squares


def _excess(x: NDArray[np.float32], rows: NDArray[np.int64], near: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each row by how many ranks in `x` its k given neighbours are beyond the k-th, summed."""
    k = near.shape[1]
    excess = np.zeros(len(rows))
    for at, squares in _squares(x, rows):
        theirs = np.take_along_axis(squares, near[at], axis=1)
        for j in range(k):
            rank = 1 + (squares < theirs[:, j, np.newaxis]).sum(axis=1)
            excess[at] += np.maximum(rank - k, 0)
    return excess
