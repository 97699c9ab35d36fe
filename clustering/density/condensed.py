"""HDBSCAN's condensed tree: into which groups the rows part as one asks for more and more density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clustering.density.hdbscan import HDBSCAN

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class CondensedTree:
    """The groups of at least `min_cluster_size` rows, and where each row was last [1]_.

    Parameters
    ----------
    parent : (m,) int64
        The group that each group parted from, which has a smaller number; -1 of group 0, which is all rows.
    birth, death : (m,) float64
        Densities, one over a distance: at which it parted; at which it divides, or its last row leaves.
    size : (m,) int64
        Rows, as it parted.
    stability : (m,) float64
        Excess of mass: the sum over its rows of the density at which each leaves it, less that of its birth.
    cluster : (m,) int64
        Number of the cluster that it was selected as; -1 where it was not.
    node : (n,) int64
        The last group of each row.
    density : (n,) float64
        At which the row left it.

    References
    ----------
    .. [1] R. Campello, D. Moulavi, A. Zimek, J. Sander, Hierarchical density estimates for data clustering,
       visualization, and outlier detection, ACM TKDD 10 (2015).
    """

    parent: I64
    birth: F64
    death: F64
    size: I64
    stability: F64
    cluster: I64
    node: I64
    density: F64


def condensed_tree(model: HDBSCAN) -> CondensedTree:
    """Return the condensed tree of a fitted estimator."""
    tree, labels = model.model_._condensed_tree, model.labels_
    n = len(labels)
    parent_of, child = tree["parent"].astype(np.int64) - n, tree["child"].astype(np.int64)
    value, size_of = tree["lambda_val"].astype(np.float64), tree["child_size"].astype(np.int64)
    m = int(max(parent_of.max(), child.max() - n)) + 1
    rows, groups = child < n, child >= n
    parent, birth, size = np.full(m, -1, np.int64), np.zeros(m), np.full(m, n, np.int64)
    inner = child[groups] - n
    parent[inner], birth[inner], size[inner] = parent_of[groups], value[groups], size_of[groups]
    death = birth.copy()
    np.maximum.at(death, parent_of, value)
    stability = np.bincount(parent_of, (value - birth[parent_of]) * size_of, minlength=m).astype(np.float64)
    node, density = np.zeros(n, np.int64), np.zeros(n)
    node[child[rows]], density[child[rows]] = parent_of[rows], value[rows]
    return CondensedTree(
        parent, birth, death, size, stability, _selected(parent, node, labels), node, density
    )


def _selected(parent: I64, node: I64, labels: I64) -> I64:
    """Return the cluster (m,) of each group: the smallest that holds all of its rows is it. -1 of others."""
    found = np.full(len(parent), -1, np.int64)
    for cluster in range(int(labels.max()) + 1):
        inside = np.bincount(node[labels == cluster], minlength=len(parent))
        total = int(inside.sum())
        # A group's number is larger than that of the one that it parted from.
        for at in range(len(parent) - 1, -1, -1):
            if inside[at] == total:
                found[at] = cluster
                break
            if inside[at] and at:
                inside[parent[at]] += inside[at]
    return found
