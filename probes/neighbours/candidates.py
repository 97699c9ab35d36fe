"""Exact neighbours on a CPU: tiles of rounded products leave out what can't be one, float64 decides."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from embedkit.computing.threads import workers
from probes.neighbours.rounded import F32, Rounded

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., object])

# A tile stays in the cache between the product and the kernel that reads it.
TILE_ROWS = 256
TILE_COLUMNS = 4096
# Products of a tile are tested this many at a time, without a branch, before any is looked at alone.
CHUNK = 64
# Candidates that a row has room for: this many times k, and this many more.
ROOM = (4, 128)


def compiled(function: Function) -> Function:
    """Compile on the first call, keep the result on disk, let other threads run, and add in any order."""
    return cast(Function, numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})(function))


def search(
    queries: F32, bank: F32, left: Rounded, right: Rounded, k: int
) -> tuple[I64, F64, NDArray[np.bool_]]:
    """Find the exact k nearest rows of `bank` (m, d), of length 1 or 0, of each of `queries` (n, d).

    Where both are one array, a product serves both of its rows.

    Parameters
    ----------
    queries, bank
        Rows of length 1 or 0.
    left, right
        The same, rounded around one centre.
    k
        At most m.

    Returns
    -------
    index : (n, k) int64
        Nearest first; equal similarities, to 2^-40, in the bank's order.
    similarity : (n, k) float64
        Likewise.
    found : (n,) bool
        False where so many rows are nearly as near as the k-th that there was no room for them: those rows
        of `index` and `similarity` hold nothing.
    """
    n, same = len(queries), queries is bank
    room = ROOM[0] * k + ROOM[1]
    best = np.full((n, k), -np.inf, np.float32)
    limit = np.full(n, -np.inf, np.float32)
    margin = left.margin(right)
    value, listed = np.empty((n, room), np.float32), np.empty((n, room), np.int32)
    count, full = np.zeros(n, np.int32), np.zeros(n, np.bool_)
    index, similarity = np.empty((n, k), np.int64), np.empty((n, k))
    lock = Lock()

    def scan(start: int, stop: int) -> None:
        rows = left.left[start:stop]
        for column in range(start if same else 0, len(bank), TILE_COLUMNS):
            tile = (rows @ right.right[column : column + TILE_COLUMNS].T).float().numpy()
            with lock:  # a tile speaks of rows that another thread's speaks of too
                _scan(tile, start, column, same, left.unit, best, limit, margin, value, listed, count, full)

    def rank(start: int, stop: int) -> None:
        s = slice(start, stop)
        _rank(queries[s], bank, limit[s], value[s], listed[s], count[s], full[s], index[s], similarity[s])

    with workers() as run:
        run(scan, n, TILE_ROWS)
        run(rank, n, TILE_ROWS)
    return index, similarity, ~full


@compiled
def _scan(
    tile: F32,
    row0: int,
    column0: int,
    same: bool,
    unit: float,
    best: F32,
    limit: F32,
    margin: F32,
    value: F32,
    listed: I32,
    count: I32,
    full: NDArray[np.bool_],
) -> None:
    """List what reaches a row's limit and, where queries and bank are the same, a column's."""
    m = tile.shape[1]
    never = np.full(CHUNK, np.float32(np.inf))
    for r in range(len(tile)):
        i = row0 + r
        row = tile[r]
        for first in range(max(0, i - column0) // CHUNK * CHUNK if same else 0, m, CHUNK):
            last = min(first + CHUNK, m)
            of_columns = limit[column0 + first : column0 + last] if same else never
            if not _any_reaches(row[first:last], limit[i], of_columns):
                continue
            for c in range(first, last):
                j = column0 + c
                if same and j < i:
                    continue
                if row[c] >= limit[i]:
                    _offer(i, j, row[c], unit, best, limit, margin, value, listed, count, full)
                if same and j > i and row[c] >= limit[j]:
                    _offer(j, i, row[c], unit, best, limit, margin, value, listed, count, full)


@compiled
def _any_reaches(row: F32, limit: np.float32, limits: F32) -> bool:
    # In 32 bits as the values are, and over slices: so the compiler tests 16 at a time.
    hit = np.uint32(0)
    for c in range(len(row)):
        hit = np.uint32(hit | np.uint32(row[c] >= limit) | np.uint32(row[c] >= limits[c]))
    return bool(hit > 0)


@compiled
def _offer(
    i: int,
    j: int,
    product: np.float32,
    unit: float,
    best: F32,
    limit: F32,
    margin: F32,
    value: F32,
    listed: I32,
    count: I32,
    full: NDArray[np.bool_],
) -> None:
    """Put row j on the list of row i, and raise its limit if j is one of the k best so far."""
    k, room = best.shape[1], value.shape[1]
    if product > best[i, k - 1]:
        place = k - 1
        while place > 0 and best[i, place - 1] < product:
            best[i, place] = best[i, place - 1]
            place -= 1
        best[i, place] = product
        kth = best[i, k - 1]
        if kth > -np.inf:
            limit[i] = kth - unit * abs(kth) - margin[i]
    if count[i] == room:
        kept = 0
        for place in range(room):
            if value[i, place] >= limit[i]:
                value[i, kept], listed[i, kept] = value[i, place], listed[i, place]
                kept += 1
        count[i] = kept
        if kept == room:
            full[i] = True
            limit[i] = np.inf
            return
    value[i, count[i]], listed[i, count[i]] = product, j
    count[i] += 1


@compiled
def _rank(
    queries: F32,
    bank: F32,
    limit: F32,
    value: F32,
    listed: I32,
    count: I32,
    full: NDArray[np.bool_],
    index: I64,
    similarity: F64,
) -> None:
    """Order the candidates of each row by their float64 similarity, then by row."""
    k = index.shape[1]
    for i in range(len(queries)):
        if full[i]:
            continue
        n = 0
        for place in range(count[i]):
            if value[i, place] < limit[i]:
                continue
            j = np.int64(listed[i, place])
            # Rounded to 2^-40, so that copies of one image are equal whatever order their products add in.
            s = np.round(_dot(queries[i], bank[j]) * 2.0**40) / 2.0**40
            at = n
            while at > 0 and (
                similarity[i, at - 1] < s or (similarity[i, at - 1] == s and index[i, at - 1] > j)
            ):
                if at < k:
                    similarity[i, at], index[i, at] = similarity[i, at - 1], index[i, at - 1]
                at -= 1
            if at < k:
                similarity[i, at], index[i, at] = s, j
                n = min(n + 1, k)


@compiled
def _dot(a: F32, b: F32) -> float:
    total = 0.0
    for t in range(len(a)):
        total += np.float64(a[t]) * np.float64(b[t])
    return total
