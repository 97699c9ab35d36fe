"""Prim's algorithm for the minimum spanning tree: one row after the other joins the tree, the nearest first.

Rows are visited and ties broken as in the ``hdbscan`` package, from row 0 on.
"""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np
import torch
from numpy.typing import NDArray

from clustering.density.distances import (
    CHUNK,
    F32,
    F64,
    I64,
    TILE_ROWS,
    Points,
    compiled,
    lower_bounds,
    nearest_in_tile,
    squared_distance,
    threshold,
)
from embedkit.computing.threads import workers


def prim(points: Points, k: int) -> tuple[I64, F64, F64]:
    """Return edges, weights and core distances, in the scale of the frame."""
    n = points.n
    bounds = torch.empty(n, n)
    squares, index = np.full((n, k), np.inf), np.full((n, k), -1, np.int64)

    def search(start: int, stop: int) -> None:
        rows = lower_bounds(points.left[start:stop], points.right, bounds[start:stop]).numpy()
        nearest_in_tile(rows, (start, 0), points.exact, points.exact, True, squares, index)

    with workers() as run:
        run(search, n, TILE_ROWS)
    core = np.sqrt(squares[:, -1])
    edges, weights = _prim_over(bounds.numpy(), points.exact, core)
    return edges, weights, core


@compiled
def _any_improves(row: F32, own: np.float32, limit: F32) -> bool:
    hit = np.uint32(0)
    for j in range(len(row)):
        hit = np.uint32(hit | (np.uint32(row[j] < limit[j]) & np.uint32(own < limit[j])))
    return bool(hit > 0)


@compiled
def _prim_over(bounds: F32, x: F64, core: F64) -> tuple[I64, F64]:
    n = len(x)
    edges = np.empty((n - 1, 2), np.int64)
    weights = np.empty(n - 1)
    best = np.full(n, np.inf)  # the exact distance of each row to the tree; infinite once it is part of it
    source = np.zeros(n, np.int64)
    limit = np.full(n, np.float32(np.inf))  # a lower bound under it may improve `best`
    chunks = (n + CHUNK - 1) // CHUNK
    chunk_best = np.full(chunks, np.inf)
    chunk_index = np.zeros(chunks, np.int64)
    current = 0
    for step in range(n - 1):
        best[current] = np.inf
        limit[current] = np.float32(-np.inf)
        row = bounds[current]
        own = np.float32(core[current] * core[current] * (1 - 1e-6))
        nearest_value = np.inf
        nearest_row = 0
        for c in range(chunks):
            first = c * CHUNK
            last = min(first + CHUNK, n)
            changed = current // CHUNK == c
            if _any_improves(row[first:last], own, limit[first:last]):
                for j in range(first, last):
                    if max(row[j], own) < limit[j]:
                        distance = np.sqrt(squared_distance(x, current, x, j))
                        reach = max(distance, core[current], core[j])
                        if reach < best[j]:
                            best[j] = reach
                            source[j] = current
                            changed = True
                            # Nothing is nearer to a row than its core distance.
                            if reach <= core[j]:
                                limit[j] = np.float32(-np.inf)
                            else:
                                limit[j] = threshold(reach * reach)
            if changed:
                value = np.inf
                for j in range(first, last):
                    value = min(value, best[j])
                chunk_best[c] = value
                for j in range(first, last):
                    if best[j] == value:
                        chunk_index[c] = j
                        break
            if chunk_best[c] < nearest_value:
                nearest_value = chunk_best[c]
                nearest_row = chunk_index[c]
        edges[step, 0] = source[nearest_row]
        edges[step, 1] = nearest_row
        weights[step] = nearest_value
        current = nearest_row
    return edges, weights


@compiled
def prim_among(starts: I64, targets: NDArray[np.int32], values: F64, n: int) -> tuple[I64, F64]:
    """Take the tree that Prim takes from row 0 among these edges, ties broken as in `_prim_over`."""
    edges = np.empty((n - 1, 2), np.int64)
    weights = np.empty(n - 1)
    best = np.full(n, np.inf)
    source = np.zeros(n, np.int64)
    inside = np.zeros(n, np.bool_)
    heap = [(0.0, np.int64(0))]
    step = -1
    while step < n - 1:
        weight, i = heappop(heap)
        if inside[i]:
            continue
        inside[i] = True
        if step >= 0:
            edges[step, 0] = source[i]
            edges[step, 1] = i
            weights[step] = weight
        step += 1
        for e in range(starts[i], starts[i + 1]):
            j = np.int64(targets[e])
            if not inside[j] and values[e] < best[j]:
                best[j] = values[e]
                source[j] = i
                heappush(heap, (values[e], j))
    return edges, weights
