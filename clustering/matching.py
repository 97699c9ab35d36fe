"""One cluster for one class: the assignment under which most rows are right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from embedkit.errors import DataError

I64 = NDArray[np.int64]
NOISE = -1
# Cells of tables from which on those that hold rows are looked at alone: SciPy looks at all of them.
LARGE = 1 << 16


@dataclass(frozen=True)
class Matching:
    """Which class each cluster stands for, one to one.

    Parameters
    ----------
    clusters : (k,) int64
        Cluster numbers, rising, noise left out.
    classes : (k,) int64
        Class of each of them; -1 where it stands for none, as with more clusters than classes.
    counts : (c, k) int64
        Rows of each class in each cluster.
    noise : (c,) int64
        Rows of each class that are in no cluster.
    """

    clusters: I64
    classes: I64
    counts: I64
    noise: I64

    @property
    def mapping(self) -> dict[int, int]:
        """Cluster to class, for the clusters that stand for one."""
        pairs = zip(self.clusters, self.classes, strict=True)
        return {int(cluster): int(label) for cluster, label in pairs if label >= 0}

    @property
    def n(self) -> int:
        """Rows that the matching was made on."""
        return int(self.counts.sum() + self.noise.sum())

    @property
    def n_correct(self) -> int:
        """Rows whose cluster stands for their class: the most that any one-to-one matching gets."""
        matched = self.classes >= 0
        return int(self.counts[self.classes[matched], np.flatnonzero(matched)].sum())

    @property
    def confusion(self) -> I64:
        """Rows of each class by the class of their cluster, (c, c + 1); the last column is no class."""
        c = len(self.counts)
        confusion = np.zeros((c, c + 1), dtype=np.int64)
        np.add.at(confusion.T, np.where(self.classes >= 0, self.classes, c), self.counts.T)
        confusion[:, c] += self.noise
        return confusion

    def predict(self, clusters: I64) -> I64:
        """Return the class (n,) that the clusters (n,) stand for; -1 for noise and unmatched clusters."""
        predicted = np.full(len(clusters), NOISE, dtype=np.int64)
        for cluster, label in self.mapping.items():
            predicted[clusters == cluster] = label
        return predicted


def match_clusters(labels: I64, clusters: I64, *, n_classes: int | None = None) -> Matching:
    """Match clusters to classes one to one so that most rows are right (Hungarian algorithm [1]_).

    With more clusters than classes the rest stand for none, and with fewer some class has no cluster: every
    one of their rows is wrong. A pair that shares no row is not matched either, nor is noise (-1).

    Parameters
    ----------
    labels : (n,) int64
        Class of each row, at least 0.
    clusters : (n,) int64
        Cluster of each row, -1 for noise. The numbers need not be dense.
    n_classes
        c; by default the largest label plus one. A class may be absent.

    Raises
    ------
    DataError
        No rows, different lengths, or a label that is no class.

    References
    ----------
    .. [1] H. W. Kuhn, The Hungarian method for the assignment problem, Naval Research Logistics 2 (1955).
    """
    labels, clusters = np.asarray(labels), np.asarray(clusters)
    if labels.shape != clusters.shape or labels.ndim != 1:
        raise DataError(f"labels of shape {labels.shape} don't fit clusters of shape {clusters.shape}.")
    if not len(labels):
        raise DataError("no labelled rows to match clusters with.")
    c = int(labels.max()) + 1 if n_classes is None else n_classes
    if labels.min() < 0 or labels.max() >= c:
        bad = labels[(labels < 0) | (labels >= c)][0]
        raise DataError(f"label {bad} is outside the {c} classes. Leave unlabelled rows out.")
    numbers = np.unique(clusters[clusters >= 0])
    k = len(numbers)
    # Column k is noise.
    columns = np.where(clusters >= 0, np.searchsorted(numbers, clusters), k)
    table = np.bincount(labels * (k + 1) + columns, minlength=c * (k + 1)).reshape(c, k + 1)
    counts = table[:, :k]
    return Matching(numbers.astype(np.int64), match_table(counts), counts, table[:, k])


def match_table(counts: I64) -> I64:
    """Return the class (k,) of each column of a table of counts (c, k); -1 for columns without one."""
    if counts.size > LARGE:
        from clustering.assignment import assigned

        c, k = counts.shape
        rows, columns = np.nonzero(counts)
        found: I64 = assigned(rows, columns, counts[rows, columns][np.newaxis], shape=(c, k))[0]
        return found
    classes = np.full(counts.shape[1], NOISE, dtype=np.int64)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    shared = counts[rows, columns] > 0
    classes[columns[shared]] = rows[shared]
    return classes
