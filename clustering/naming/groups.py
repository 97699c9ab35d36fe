"""What there is to see of groups before they have names: their middles, how tight they are, what they mix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage

from clustering.matching import I64
from clustering.naming.accuracy import CENTRAL, by_closeness
from clustering.naming.mixed import APART, separation
from clustering.scores import F64
from embedkit.preparing.matrix import BLOCK

# Beyond so many groups the order of the tree is taken as it comes: the best one takes minutes.
MOST_ORDERED = 500


@dataclass(frozen=True)
class Groups:
    """The groups that hold rows, those beside each other alike.

    Parameters
    ----------
    numbers : (g,) int64
        Of the groups.
    rows : (g,) int64
        In each.
    spread : (g,) float64
        Root mean square distance of the rows to their mean, over that of all rows to theirs: the less, the
        tighter.
    separation : (g,) float64
        See `clustering.naming.mixed.separation`.
    central : (g, 9) int64
        The rows nearest to the centre, the nearest first; -1 where there are fewer.
    """

    numbers: I64
    rows: I64
    spread: F64
    separation: F64
    central: I64

    @property
    def mixed(self) -> NDArray[np.bool_]:
        """Which of them (g,) are of two kinds."""
        return np.nan_to_num(self.separation) > APART


def describe(
    x: NDArray[Any],
    clusters: I64,
    distance: F64,
    *,
    on_group: Callable[[], Any] = lambda: None,
    seed: int = 0,
) -> Groups:
    """Describe groups of rows `x` (n, d), which are in `clusters` (n,) at a `distance` (n,) from the centre.

    Rows that are in none, -1, count in what all rows are like and for nothing else.
    """
    rows, place = by_closeness(clusters, distance)
    numbers, start = np.unique(clusters[rows], return_index=True)
    groups = np.split(rows, start[1:]) if len(rows) else []
    means = np.array([x[members].mean(axis=0, dtype=np.float64) for members in groups])
    within = np.array([_root_mean_square(x[m], mean) for m, mean in zip(groups, means, strict=True)])
    whole = _root_mean_square(x, x.mean(axis=0, dtype=np.float64))
    apart = np.empty(len(groups))
    for j, members in enumerate(groups):
        apart[j] = separation(x[np.sort(members)], seed=seed)
        on_group()
    central = np.full((len(groups), CENTRAL), -1)
    first = place < CENTRAL
    central[np.searchsorted(numbers, clusters[rows[first]]), place[first]] = rows[first]
    order = by_likeness(means)
    sizes = np.array([len(members) for members in groups], dtype=np.int64)
    spread = within / whole if whole else within
    return Groups(numbers[order], sizes[order], spread[order], apart[order], central[order])


def by_likeness(means: F64) -> I64:
    """Return an order (k,) of rows `means` (k, d) in which neighbours are alike.

    The leaves of an average-linkage tree, its branches turned so that the sum of distances between
    neighbours is the least [1]_.

    References
    ----------
    .. [1] Z. Bar-Joseph, D. K. Gifford, T. S. Jaakkola, Bioinformatics 17 (2001) S22.
    """
    if len(means) < 3:
        return np.arange(len(means))
    tree = linkage(means, "average", optimal_ordering=len(means) <= MOST_ORDERED)
    return np.asarray(leaves_list(tree), dtype=np.int64)


def _root_mean_square(x: NDArray[Any], mean: F64) -> float:
    # In blocks: the differences are float64, and the rows may be millions.
    blocks = (x[start : start + BLOCK] - mean for start in range(0, len(x), BLOCK))
    return math.sqrt(sum(float(np.square(block).sum()) for block in blocks) / max(len(x), 1))
