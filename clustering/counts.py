"""Tables of counts, class by cluster, of which only the cells that hold rows are kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from clustering.matching import I64, LARGE, NOISE, match_table

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Tables:
    """Tables (b, c, k + 1) whose last column is noise.

    Parameters
    ----------
    shape
        c and k + 1.
    cells : (z,) int64
        Places in the flattened tables, rising: all others are zero.
    counts : (b, z) int64
        What they hold.
    """

    shape: tuple[int, int]
    cells: I64
    counts: I64

    @classmethod
    def of(cls, dense: I64) -> Tables:
        """Return the tables of an array (b, c, k + 1)."""
        flat = dense.reshape(len(dense), -1)
        cells = np.flatnonzero(flat.any(axis=0))
        return cls(dense.shape[1:], cells, np.ascontiguousarray(flat[:, cells], dtype=np.int64))

    @property
    def dense(self) -> I64:
        """The tables as an array (b, c, k + 1)."""
        return self.spread(self.counts).reshape(-1, *self.shape)

    def spread(self, values: NDArray[Number]) -> NDArray[Number]:
        """Return values (b, z) of the cells as flattened tables (b, c (k + 1)), zero elsewhere."""
        flat = np.zeros((len(values), self.shape[0] * self.shape[1]), dtype=values.dtype)
        flat[:, self.cells] = values
        return flat

    @cached_property
    def places(self) -> tuple[I64, I64]:
        """Class and cluster (z,) of each cell."""
        classes, clusters = np.divmod(self.cells, self.shape[1])
        return classes, clusters

    def by_class(self, values: I64) -> I64:
        """Return the sums (b, c) of values (b, z) over the cells of each class."""
        return _summed(values, self.places[0], self.shape[0])

    def by_cluster(self, values: I64) -> I64:
        """Return the sums (b, k + 1) of values (b, z) over the cells of each cluster, noise the last."""
        order = np.argsort(self.places[1], kind="stable")
        return _summed(values[:, order], self.places[1][order], self.shape[1])

    def matched(self) -> I64:
        """Return the rows of each class (b, c) in the cluster that stands for it, one to one."""
        (c, m), (classes, clusters) = self.shape, self.places
        if c * m > LARGE:
            from clustering.assignment import assigned

            inside = clusters < m - 1
            found = assigned(classes[inside], clusters[inside], self.counts[:, inside], shape=(c, m - 1))
        else:
            dense = self.dense[:, :, :-1]
            found = np.array([match_table(table) for table in dense], dtype=np.int64)
            found = found.reshape(len(dense), m - 1)
        found = np.column_stack([found, np.full(len(found), NOISE)])
        return self.by_class(np.where(found[:, clusters] == classes, self.counts, 0))

    def agreeing(self) -> I64:
        """Return the rows of each class (b, c) in the cluster of its number."""
        classes, clusters = self.places
        return self.by_class(np.where(classes == clusters, self.counts, 0))

    def commonest(self) -> I64:
        """Return how many rows are of the commonest class of their cluster (b,); noise is none."""
        inside = np.flatnonzero(self.places[1] < self.shape[1] - 1)
        clusters = self.places[1][inside]
        order = np.argsort(clusters, kind="stable")
        starts = _starts(clusters[order])
        if not len(starts):
            return np.zeros(len(self.counts), dtype=np.int64)
        most: I64 = np.maximum.reduceat(self.counts[:, inside[order]], starts, axis=1).sum(axis=1)
        return most


def _starts(groups: I64) -> I64:
    """Return where each group of a sorted array begins."""
    return np.flatnonzero(np.diff(groups, prepend=-1))


def _summed(values: I64, groups: I64, n_groups: int) -> I64:
    """Return the sums (b, n_groups) of values (b, z) over columns of one group, which lie together."""
    sums = np.zeros((len(values), n_groups), dtype=np.int64)
    starts = _starts(groups)
    if len(starts):
        sums[:, groups[starts]] = np.add.reduceat(values, starts, axis=1)
    return sums
