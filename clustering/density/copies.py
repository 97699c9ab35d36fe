"""Rows that are the same row again: of infinite density, which no other row is to be measured by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
# Of the largest row: what a product of matrices may leave between two copies of one row.
ROUNDINGS = 8


def resolution(rows: F64) -> float:
    """Return up to which distance rows (n, d) are one: what rounding leaves between copies.

    Relative to the largest distance from the mean, in single precision where the rows hold no more than that.
    """
    single = bool((rows == rows.astype(np.float32)).all())
    eps = np.finfo(np.float32 if single else np.float64).eps
    radius = np.sqrt(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).max())
    return float(ROUNDINGS * eps * radius)


def finite_tree(tree: NDArray[Any], distance: float) -> NDArray[Any]:
    """Return a condensed tree in which copies are as dense as the densest other rows of their cluster.

    The density of a row is one over the distance at which it leaves its cluster. With more than `min_samples`
    copies of one row that is infinite, or what rounding makes of it, and every strength, which is a density
    over the largest one of the cluster, would be 0 but for the copies'.

    Parameters
    ----------
    tree
        Condensed tree of the `hdbscan` package: ``parent``, ``child``, ``lambda_val``, ``child_size``.
    distance
        Up to which rows are copies; see `resolution`.

    Returns
    -------
    The tree itself where it has no copies, else another.
    """
    density = tree["lambda_val"]
    copies = density * distance >= 1 if distance > 0 else np.isinf(density)
    if not copies.any():
        return tree
    first = int(tree["parent"].min())
    highest = _highest(tree[~copies], tree)
    # A cluster of nothing but copies is as dense as where it parted from the rest.
    clusters = (tree["child_size"] > 1) & ~copies
    born = np.zeros_like(highest)
    born[tree["child"][clusters] - first] = density[clusters]
    highest = np.where(highest > 0, highest, np.where(born > 0, born, 1.0))
    made = tree.copy()
    made["lambda_val"] = np.where(copies, highest[tree["parent"] - first], density)
    return made


def strengths(tree: NDArray[Any], labels: NDArray[np.int64], selected: list[int]) -> F64:
    """Return the strength of membership (n,) as the package defines it: density over its cluster's largest.

    Parameters
    ----------
    tree
        Condensed tree.
    labels : (n,) int64
        Cluster of each row, -1 for noise.
    selected
        Node of the tree of each cluster, in the order of their numbers.
    """
    first = int(tree["parent"].min())
    highest = _highest(tree, tree)
    alone = tree["child_size"] == 1
    density = np.zeros(len(labels))
    density[tree["child"][alone]] = tree["lambda_val"][alone]
    inside = labels >= 0
    most = highest[np.asarray(selected, dtype=np.int64) - first][labels[inside]]
    found = np.zeros(len(labels))
    found[inside] = np.where(most > 0, np.minimum(density[inside], most) / np.where(most > 0, most, 1), 1.0)
    return found


def _highest(rows: NDArray[Any], tree: NDArray[Any]) -> F64:
    """Return the largest density among these rows of a tree, at the place of each node from the first on."""
    first = int(tree["parent"].min())
    highest = np.zeros(int(max(tree["parent"].max(), tree["child"].max())) - first + 1)
    np.maximum.at(highest, rows["parent"] - first, rows["lambda_val"])
    return highest
