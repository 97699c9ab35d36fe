"""The nearest row outside a component, by mutual reachability: what Borůvka's algorithm asks of all rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from clustering.density.distances import (
    CHUNK,
    F32,
    F64,
    I64,
    TILE_COLUMNS,
    TILE_ROWS,
    Points,
    Tiles,
    block_rows,
    compiled,
    lower_bounds,
    squared_distance,
    threshold,
)
from embedkit.computing.threads import full_precision, workers


def nearest_outside(points: Points, rows: I64, component: I64, core: F64) -> tuple[F64, I64]:
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
    """Find what `nearest_outside` finds, in torch operations only, for any device."""
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
