"""Borůvka's algorithm for the minimum spanning tree: components merge along the lightest edge out of each.

Most merge through the neighbour lists of the core-distance pass. A row is compared with all others only while
its list cannot prove which row outside its component is nearest, and rows of the largest component never are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clustering.density.distances import F64, I64, Points, compiled, nearest
from clustering.density.outside import nearest_outside
from clustering.density.prim import prim_among

# Neighbours kept beyond min_samples: they let components merge without another pass over all pairs.
EXTRA_NEIGHBOURS = 16


def boruvka(points: Points, k: int) -> tuple[I64, F64, F64]:
    """Return edges, weights and core distances, in the scale of the frame."""
    n, scale = points.n, points.frame.scale
    length = min(n - 1, k + EXTRA_NEIGHBOURS)
    distances, index = nearest(points, points, length)
    distances = distances * scale
    core = distances[:, k - 1].copy()
    # Beyond its list a row has nothing nearer than the list's last entry.
    beyond = distances[:, -1].copy() if length < n - 1 else np.full(n, np.inf)
    reach = np.maximum(np.maximum(distances, core[:, None]), core[index])
    del distances
    # The reach of the nearest outside row when last compared with all; none is nearer since.
    swept = np.zeros(n)
    swept_index = np.full(n, -1, np.int64)
    parent = np.arange(n)
    component = np.arange(n)
    sizes = np.ones(n, np.int64)
    edges: list[I64] = []
    weights: list[F64] = []
    while (components := len(sizes)) > 1:
        value, target, proven = _best_known(component, reach, index, beyond, swept, swept_index)
        best = np.full(components, np.inf)
        np.minimum.at(best, component, value)
        known = target >= 0
        np.minimum.at(best, component[target[known]], value[known])
        largest = int(sizes.argmax())
        open_rows = proven < best[component]
        settled = np.ones(components, bool)
        settled[component[open_rows]] = False
        settled[largest] &= components == 1
        # Merge what the lists prove; compare with all rows only when they prove little.
        if settled.sum() * 20 < components:
            rows = np.flatnonzero(open_rows & (component != largest))
            if len(rows):
                swept[rows], swept_index[rows] = nearest_outside(points, rows, component, core)
            value, target, _ = _best_known(component, reach, index, beyond, swept, swept_index)
            settled[:] = True
            settled[largest] = False
        picked, weight = _picks(component, settled, value, target)
        joined = _join(picked, parent)
        edges.append(picked[joined])
        weights.append(weight[joined])
        roots = _roots(parent)
        _, component, sizes = np.unique(roots, return_inverse=True, return_counts=True)
    tree = np.concatenate(edges), np.concatenate(weights)
    return *prim_among(*_with_lists(*tree, reach, index), n), core


@compiled
def _with_lists(edges: I64, weights: F64, reach: F64, index: I64) -> tuple[I64, NDArray[np.int32], F64]:
    """Return the tree and all edges of the lists, as rows of a sparse matrix.

    Where distances themselves do not tie, an edge that could take another's place in a minimal tree weighs
    as much as that one, and so both weigh one row's core distance; such edges stand in that row's list.
    """
    n, k = reach.shape
    starts = np.zeros(n + 1, np.int64)
    for fill in range(2):
        if fill == 1:
            for i in range(n):
                starts[i + 1] += starts[i]
            ends = starts[:-1].copy()
            targets = np.empty(starts[n], np.int32)
            values = np.empty(starts[n])
        for e in range(len(edges) + n * k):
            if e < len(edges):
                i, j, w = edges[e, 0], edges[e, 1], weights[e]
            else:
                i, t = divmod(e - len(edges), k)
                j, w = index[i, t], reach[i, t]
            for a, b in ((i, j), (j, i)):
                if fill == 0:
                    starts[a + 1] += 1
                else:
                    targets[ends[a]] = b
                    values[ends[a]] = w
                    ends[a] += 1
    return starts, targets, values


@compiled
def _best_known(
    component: I64, reach: F64, index: I64, beyond: F64, swept: F64, swept_index: I64
) -> tuple[F64, I64, F64]:
    """Per row: the least known reach to another component, to which row, and what no unknown one is under."""
    n, k = reach.shape
    value = np.full(n, np.inf)
    target = np.full(n, -1, np.int64)
    proven = np.empty(n)
    for i in range(n):
        for t in range(k):
            if reach[i, t] < value[i] and component[index[i, t]] != component[i]:
                value[i] = reach[i, t]
                target[i] = index[i, t]
        proven[i] = max(swept[i], min(value[i], beyond[i]))
        j = swept_index[i]
        if j >= 0 and component[j] != component[i]:
            value[i] = swept[i]
            target[i] = j
    return value, target, proven


def _picks(component: I64, settled: NDArray[np.bool_], value: F64, target: I64) -> tuple[I64, F64]:
    """Return the lightest edge out of each settled component, from either end, lightest first."""
    i = np.flatnonzero(target >= 0)
    j = target[i]
    ends = np.concatenate([component[i], component[j]])
    pairs = np.concatenate([np.column_stack([i, j]), np.column_stack([i, j])])
    weight = np.concatenate([value[i], value[i]])
    keep = settled[ends]
    ends, pairs, weight = ends[keep], pairs[keep], weight[keep]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], weight))
    _, first = np.unique(ends[order], return_index=True)
    chosen = order[np.sort(first)]
    return pairs[chosen], weight[chosen]


@compiled
def _find(parent: I64, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@compiled
def _join(pairs: I64, parent: I64) -> NDArray[np.bool_]:
    """Join along the edges, lightest first, and mark those that closed no cycle.

    In this order that keeps the tree minimal however the picks tie.
    """
    used = np.zeros(len(pairs), np.bool_)
    for e in range(len(pairs)):
        a, b = _find(parent, pairs[e, 0]), _find(parent, pairs[e, 1])
        if a != b:
            parent[max(a, b)] = min(a, b)
            used[e] = True
    return used


@compiled
def _roots(parent: I64) -> I64:
    return np.array([_find(parent, i) for i in range(len(parent))])
