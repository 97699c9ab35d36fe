"""The exact minimum spanning tree over mutual reachability, without a search tree.

Two ways to the same weights:

- **Prim** over a stored ``(n, n)`` float32 matrix of lower bounds, each row read once. It visits rows and
  breaks ties as the ``hdbscan`` package does, so that its tree is the package's edge for edge.
- **Borůvka** where that matrix would be too large, or on a GPU: O(n * block) memory. Most components merge
  through the neighbour lists of the core-distance pass. A row is compared with all others only while its list
  cannot prove which row outside its component is nearest, and rows of the largest component never are.

Mutual reachability ties by construction: all edges from a row into its neighbourhood may weigh its core
distance. So several trees are minimal, all with the same sorted weights, and clusterings drawn from them
differ in the few points that reach two clusters at one distance. Borůvka's tree is therefore walked again by
Prim together with the neighbour lists, where such edges stand, and becomes Prim's own. Only where many
distances tie themselves, as on a grid, can it remain another of the minimal trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from clustering.distances import (
    CHUNK,
    F32,
    F64,
    I64,
    TILE_COLUMNS,
    TILE_ROWS,
    Frame,
    Points,
    Tiles,
    block_rows,
    checked,
    compiled,
    lower_bounds,
    nearest,
    nearest_in_tile,
    squared_distance,
    threshold,
)
from embedkit.device import choose_device
from embedkit.errors import UsageError
from embedkit.threads import full_precision, workers

# The stored matrix of 20,000 rows takes 1.6 GB. Without it the tree takes about a fifth longer on two cores.
DENSE_ROWS = 20_000
# Neighbours kept beyond min_samples: they let components merge without another pass over all pairs.
EXTRA_NEIGHBOURS = 16

Method = Literal["auto", "prim", "boruvka"]


@dataclass(frozen=True)
class SpanningTree:
    """A minimum spanning tree over mutual reachability distances.

    Attributes
    ----------
    edges : ndarray of int64, (n - 1, 2)
        Row indices, in the order in which the edges were found.
    weights : ndarray of float64, (n - 1,)
        ``max(core[i], core[j], |x_i - x_j|)`` of each edge, in the units of the data.
    core_distances : ndarray of float64, (n,)
        The distance of each row to its ``min_samples``-th nearest other row.
    backend : str
        What computed it, such as ``"prim cpu float32"``.
    """

    edges: I64
    weights: F64
    core_distances: F64
    backend: str


def spanning_tree(
    x: ArrayLike, *, min_samples: int = 5, device: str = "cpu", method: Method = "auto"
) -> SpanningTree:
    """Return the exact minimum spanning tree of ``x`` over Euclidean mutual reachability.

    Parameters
    ----------
    x : array_like, (n, d)
        At least two finite rows.
    min_samples : int
        Which nearest other row gives the core distance; at most n - 1 is used, as in the ``hdbscan`` package.
    device : str
        ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: a CUDA GPU where there is one.
    method : {"auto", "prim", "boruvka"}
        ``auto`` takes Prim on a CPU up to 20,000 rows and Borůvka otherwise.

    Returns
    -------
    SpanningTree

    Raises
    ------
    DataError
        If ``x`` holds NaN or infinity, or fewer than two rows.
    UsageError
        If ``min_samples`` is less than one, or Prim is asked for on a GPU.

    References
    ----------
    Campello, Moulavi & Sander 2013, "Density-based clustering based on hierarchical density estimates";
    March, Ram & Gray 2010, "Fast Euclidean minimum spanning tree".
    """
    rows = checked(x, least=2)
    if min_samples < 1:
        raise UsageError(f"min_samples={min_samples}: it counts neighbours, so at least 1.")
    # Apple's GPUs have no float64, so there `auto` is the CPU.
    target = choose_device("cpu" if device == "auto" and not torch.cuda.is_available() else device)
    if target.type == "mps":
        raise UsageError("device='mps' has no float64, which an exact tree needs. Take device='cpu'.")
    on_cpu = target.type == "cpu"
    if method == "auto":
        method = "prim" if on_cpu and len(rows) <= DENSE_ROWS else "boruvka"
    if method not in ("prim", "boruvka"):
        raise UsageError(f"method={method!r} is unknown. Known: auto, prim, boruvka.")
    if method == "prim" and not on_cpu:
        raise UsageError(f"method='prim' runs on the CPU only. Take method='boruvka' on {target}.")
    k = min(min_samples, len(rows) - 1)
    points = Points(rows, Frame.of(rows), device=target)
    edges, weights, core = _prim(points, k) if method == "prim" else _boruvka(points, k)
    scale = points.frame.scale
    precision = str(points.frame.precision).removeprefix("torch.")
    return SpanningTree(edges, weights / scale, core / scale, f"{method} {points.device.type} {precision}")


def _prim(points: Points, k: int) -> tuple[I64, F64, F64]:
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


def _boruvka(points: Points, k: int) -> tuple[I64, F64, F64]:
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
    swept = np.zeros(
        n
    )  # the reach of the nearest outside row when last compared with all; none is nearer since
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
                swept[rows], swept_index[rows] = _nearest_outside(points, rows, component, core)
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
    return *_prim_among(*_with_lists(*tree, reach, index), n), core


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
def _prim_among(starts: I64, targets: NDArray[np.int32], values: F64, n: int) -> tuple[I64, F64]:
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


def _nearest_outside(points: Points, rows: I64, component: I64, core: F64) -> tuple[F64, I64]:
    """Return the reach and the index of the nearest row outside its component, for each of ``rows``."""
    if points.device.type == "cpu":
        return _nearest_outside_cpu(points, rows, component, core)
    return nearest_outside_torch(points, rows, component, core)


def _nearest_outside_cpu(points: Points, rows: I64, component: I64, core: F64) -> tuple[F64, I64]:
    reach = np.full(len(rows), np.inf)
    index = np.full(len(rows), -1, np.int64)
    shrunk = (core * core * (1 - 1e-6)).astype(np.float32)
    labels = component.astype(np.int32)
    tiles = Tiles()

    def search(start: int, stop: int) -> None:
        part = rows[start:stop]
        left = points.left[part]
        for column in range(0, points.n, TILE_COLUMNS):
            bounds = tiles.bounds(left, points.right[column : column + TILE_COLUMNS])
            _outside_in_tile(
                bounds, part, column, points.exact, labels, core, shrunk, reach[start:stop], index[start:stop]
            )

    with workers() as run:
        run(search, len(rows), TILE_ROWS)
    return reach, index


@compiled
def _any_outside(
    row: F32, limit: np.float32, shrunk: F32, component: NDArray[np.int32], own: np.int32
) -> bool:
    hit = np.uint32(0)
    for j in range(len(row)):
        under = np.uint32(row[j] < limit) & np.uint32(shrunk[j] < limit)
        hit = np.uint32(hit | (under & np.uint32(component[j] != own)))
    return bool(hit > 0)


@compiled
def _outside_in_tile(
    bounds: F32,
    rows: I64,
    column0: int,
    x: F64,
    component: NDArray[np.int32],
    core: F64,
    shrunk: F32,
    reach: F64,
    index: I64,
) -> None:
    m = bounds.shape[1]
    for r in range(len(rows)):
        i = rows[r]
        if reach[r] <= core[i]:
            continue
        row = bounds[r]
        limit = threshold(reach[r] * reach[r])
        for first in range(0, m, CHUNK):
            last = min(first + CHUNK, m)
            near, far = column0 + first, column0 + last
            if not _any_outside(row[first:last], limit, shrunk[near:far], component[near:far], component[i]):
                continue
            for t in range(first, last):
                j = column0 + t
                if max(row[t], shrunk[j]) < limit and component[j] != component[i]:
                    value = max(np.sqrt(squared_distance(x, i, x, j)), core[i], core[j])
                    if value < reach[r]:
                        reach[r] = value
                        index[r] = j
                        limit = threshold(value * value)
            if reach[r] <= core[i]:
                break


def nearest_outside_torch(points: Points, rows: I64, component: I64, core: F64) -> tuple[F64, I64]:
    """Find what `_nearest_outside` finds, in torch operations only, for any device."""
    device = points.device
    x = points.exact_tensor()
    labels = torch.from_numpy(component).to(device)
    exact_core = torch.from_numpy(core).to(device)
    shrunk = (exact_core.square() * (1 - 1e-6)).float()
    all_reach, all_index = np.empty(len(rows)), np.empty(len(rows), np.int64)
    todo = torch.arange(len(rows), device=device)
    all_rows = torch.from_numpy(rows).to(device)
    t = 4
    with full_precision():
        while len(todo):
            t = min(t, points.n)
            undecided = []
            for part in torch.split(todo, block_rows(len(todo), 3 * points.n + 4 * t * points.d)):
                i = all_rows[part]
                bounds = lower_bounds(points.left[i], points.right)
                torch.maximum(bounds, shrunk, out=bounds)
                bounds.masked_fill_(labels[i][:, None] == labels, torch.inf)
                low, j = bounds.topk(t, largest=False, sorted=True)
                value = (x[i][:, None] - x[j]).square().sum(-1).sqrt()
                value = torch.maximum(torch.maximum(value, exact_core[i][:, None]), exact_core[j])
                value[low.isinf()] = torch.inf
                value, place = value.min(1)
                sure = value.square() <= torch.maximum(low[:, -1].double(), exact_core[i].square())
                if t == points.n:
                    sure[:] = True
                done = part[sure].cpu().numpy()
                all_reach[done] = value[sure].cpu().numpy()
                all_index[done] = j.gather(1, place[:, None])[:, 0][sure].cpu().numpy()
                undecided.append(part[~sure])
            todo = torch.cat(undecided)
            t *= 8
    return all_reach, all_index
