"""Exact nearest neighbours by blocks of matrix products, where search trees no longer prune.

A product of rounded vectors gives every squared distance up to an error that is bounded in advance. Less
that error it is a *lower bound*, and whatever a lower bound cannot rule out is evaluated in float64 from the
differences. So the products decide how fast a search is, never what it finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import local
from typing import TypeVar, cast

import numba
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from embedkit.computing.threads import full_precision, workers
from embedkit.errors import DataError
from embedkit.preparing.matrix import check_finite, counted_rows

# A tile, 8 MiB of float32, stays in the cache between the product and the kernel that reads it.
TILE_ROWS = 256
TILE_COLUMNS = 8192
# On a GPU a block has to be large enough to fill it.
CUDA_BLOCK_BYTES = 1 << 30
# Rows of a tile are tested this many at a time, without a branch, before any is looked at alone.
CHUNK = 128
# Products are float32 while their error is under this part of a near neighbour's squared distance.
MAX_RELATIVE_ERROR = 0.02

CPU = torch.device("cpu")
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a kernel on its first call, keep the result on disk, and let other threads run beside it."""
    return cast(Function, numba.njit(cache=True, nogil=True)(function))


def checked(x: ArrayLike, *, least: int = 1) -> F64:
    """Return ``x`` as C-contiguous float64 ``(n, d)``.

    Parameters
    ----------
    x : array_like, (n, d)
        Vectors of any real type; float16 is widened before anything is computed, so it cannot overflow.
    least : int
        The fewest rows that the caller can work on.

    Raises
    ------
    DataError
        If ``x`` is not a matrix, has no columns or fewer than ``least`` rows, or holds NaN or infinity.
    """
    rows = np.ascontiguousarray(x, dtype=np.float64)
    if rows.ndim != 2:
        raise DataError(f"Expected a matrix (n, d), got an array of shape {rows.shape}.")
    if rows.shape[1] == 0:
        raise DataError(f"0 feature(s) (shape={rows.shape}) while a minimum of 1 is required.")
    if len(rows) < least:
        raise DataError(f"{counted_rows(len(rows))} is too few: at least {least} are needed.")
    check_finite(rows)
    return rows


@dataclass(frozen=True)
class Frame:
    """Where the products are taken: a centre, and a power of two that makes norms at most one."""

    centre: F64  # (d,)
    scale: float
    precision: torch.dtype

    @classmethod
    def of(cls, x: F64) -> Frame:
        """Choose the frame of ``x``; the median is a centre that a few far rows cannot drag away."""
        some = x[:: max(1, len(x) // 4096)]
        centre = np.median(some, axis=0)
        # In two steps, so that neither the squares of 1e200 nor those of 1e-200 leave the range of a double.
        largest = float(np.abs(x - centre).max())
        if not largest < 1e300:
            raise DataError("Distances between rows exceed the range of float64. Scale the data.")
        exponent = 0.0 if largest == 0 else np.ceil(np.log2(largest) + np.log2(x.shape[1]) / 2)
        scale = float(2.0 ** -np.clip(exponent, -1000, 1000))
        rough = cls(centre, scale, torch.float32)
        return cls(centre, scale, torch.float32 if rough._separates(some) else torch.float64)

    def reaching(self, queries: F64) -> Frame:
        """Return a frame of the same centre in which ``queries``, however far away, do not overflow."""
        largest = float(np.abs(queries - self.centre).max()) * self.scale
        if largest <= 1e6:
            return self
        if not largest < 1e15:  # its square has to fit into the float32 of a lower bound
            raise DataError("New rows are more than 1e15 times as far away as the rows searched are wide.")
        return Frame(self.centre, self.scale, torch.float64)

    def _separates(self, some: F64) -> bool:
        """Whether float32 tells near rows from far: tight clusters far from the centre need float64."""
        y = (some - self.centre) * self.scale
        norms = np.einsum("nd,nd->n", y, y)
        picked = slice(None, None, max(1, len(y) // 128))
        squares = norms[picked, None] + norms - 2 * y[picked] @ y.T
        squares[squares <= 1e-12 * norms[picked, None]] = np.inf  # itself and its duplicates
        gap = 4 * margin(some.shape[1], self.precision) * norms[picked]
        return float(np.mean(gap <= MAX_RELATIVE_ERROR * squares.min(1))) > 0.9


def margin(d: int, precision: torch.dtype) -> float:
    """Return e such that the product's error in a squared distance is at most ``e * (|x|^2 + |y|^2)``.

    The product has ``d + 2`` terms whose magnitudes add up to at most ``2 (|x|^2 + |y|^2)``, so that its
    error is at most ``(d + 2) u`` times that, in whatever order it sums (Higham 2002, section 3.1). Rounding
    the vectors themselves costs up to ``4 u`` more, and the rest is slack.
    """
    return 2 * (d + 16) * float(torch.finfo(precision).eps) / 2


class Points:
    """Rows prepared for the products: ``left @ right.T`` is the lower bound of all squared distances.

    Parameters
    ----------
    x : ndarray of float64, (n, d)
        Finite rows.
    frame : Frame
        The frame of the rows that are searched; queries share it.
    device : torch.device
        Where the products are taken.
    """

    def __init__(self, x: F64, frame: Frame, *, device: torch.device = CPU) -> None:
        self.n, self.d = x.shape
        self.frame = frame
        self.device = device
        # A power of two changes no digit: distances of `exact` are the distances of x, times the scale.
        self.exact: F64 = x * frame.scale
        dtype = frame.precision
        y = torch.from_numpy((x - frame.centre) * frame.scale).to(dtype)
        e = margin(self.d, dtype)
        norms = torch.empty(self.n, dtype=torch.float64)
        for start in range(0, self.n, 65_536):
            part = y[start : start + 65_536].double()
            norms[start : start + len(part)] = (part * part).sum(1)
        # The last term covers what underflows in a product of numbers that are at most one.
        shrunk = (norms * (1 - e) - 1e-30).to(dtype)[:, None]
        ones = torch.ones_like(shrunk)
        self.left = torch.cat([-2 * y, shrunk, ones], 1).to(self.device)  # (n, d + 2)
        self.right = torch.cat([y, ones, shrunk], 1).to(self.device)  # (n, d + 2)
        self.exact_on_device = (
            torch.from_numpy(self.exact).to(self.device) if self.device.type != "cpu" else None
        )

    def exact_tensor(self) -> torch.Tensor:
        """Return the float64 rows on the device, (n, d)."""
        return torch.from_numpy(self.exact) if self.exact_on_device is None else self.exact_on_device


def lower_bounds(left: torch.Tensor, right: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """Return float32 lower bounds of the squared distances between rows of ``left`` and of ``right``, (b, m).

    Negative where rows are closer than the products can tell.
    """
    if left.dtype == torch.float32:
        return torch.mm(left, right.T, out=out)
    bounds = torch.mm(left, right.T)
    # Rounded towards zero: down where the bound is positive, and below zero any bound holds.
    bounds.mul_(1 - 2.0**-22)
    if out is None:
        return bounds.float()
    return out.copy_(bounds)


class Tiles:
    """Buffers for lower bounds, one a thread; a new one for each tile would cost more than the product."""

    def __init__(self) -> None:
        self._buffers = local()

    def bounds(self, left: torch.Tensor, right: torch.Tensor) -> F32:
        """Return the lower bounds between ``left`` and ``right``, valid until this thread's next call."""
        if not hasattr(self._buffers, "tile"):
            self._buffers.tile = torch.empty(TILE_ROWS * TILE_COLUMNS)
        out = self._buffers.tile[: len(left) * len(right)].view(len(left), len(right))
        bounds: F32 = lower_bounds(left, right, out).numpy()
        return bounds


@compiled
def squared_distance(x: F64, i: int, y: F64, j: int) -> float:
    """Sum the squared differences in the order in which scikit-learn's and hdbscan's loops do."""
    total = 0.0
    for t in range(x.shape[1]):
        difference = x[i, t] - y[j, t]
        total += difference * difference
    return total


@compiled
def threshold(square: float) -> np.float32:
    """Return a float32 that a lower bound of anything under ``square`` is under; nothing is under zero."""
    if square <= 0.0:
        return np.float32(-np.inf)
    return np.float32(square * (1 + 1e-6))


@compiled
def _any_under(row: F32, limit: np.float32) -> bool:
    # In 32 bits as the values are, and over a slice: so the compiler tests 16 at a time.
    hit = np.uint32(0)
    for j in range(len(row)):
        hit = np.uint32(hit | np.uint32(row[j] < limit))
    return bool(hit > 0)


@compiled
def nearest_in_tile(
    bounds: F32, corner: tuple[int, int], q: F64, x: F64, skip_self: bool, squares: F64, index: I64
) -> None:
    """Bring the nearest squared distances and indices, both (n, k), up to date with one tile of bounds."""
    row0, column0 = corner
    k = squares.shape[1]
    m = bounds.shape[1]
    for r in range(len(bounds)):
        i = row0 + r
        row = bounds[r]
        limit = threshold(squares[i, k - 1])
        for first in range(0, m, CHUNK):
            last = min(first + CHUNK, m)
            if not _any_under(row[first:last], limit):
                continue
            for j in range(first, last):
                if row[j] < limit and not (skip_self and i == column0 + j):
                    square = squared_distance(q, i, x, column0 + j)
                    if square < squares[i, k - 1]:
                        place = k - 1
                        while place > 0 and squares[i, place - 1] > square:
                            squares[i, place] = squares[i, place - 1]
                            index[i, place] = index[i, place - 1]
                            place -= 1
                        squares[i, place] = square
                        index[i, place] = column0 + j
                        limit = threshold(squares[i, k - 1])


def nearest(queries: Points, points: Points, k: int) -> tuple[F64, I64]:
    """Return the ``k`` nearest rows of ``points`` to each query.

    A row is no neighbour of its own where ``queries`` and ``points`` are the same object.

    Parameters
    ----------
    queries, points : Points
        Prepared in one frame, on one device.
    k : int
        At most the number of rows that can be found.

    Returns
    -------
    distances : ndarray of float64, (n, k)
        Ascending, in the units of the data.
    index : ndarray of int64, (n, k)
    """
    if points.device.type == "cpu":
        squares, index = _nearest_cpu(queries, points, k)
    else:
        squares, index = nearest_torch(queries, points, k)
    return np.sqrt(squares) / points.frame.scale, index


def _nearest_cpu(queries: Points, points: Points, k: int) -> tuple[F64, I64]:
    squares, index = np.full((queries.n, k), np.inf), np.full((queries.n, k), -1, np.int64)
    same = queries is points
    tiles = Tiles()

    def search(start: int, stop: int) -> None:
        for column in range(0, points.n, TILE_COLUMNS):
            bounds = tiles.bounds(queries.left[start:stop], points.right[column : column + TILE_COLUMNS])
            nearest_in_tile(bounds, (start, column), queries.exact, points.exact, same, squares, index)

    with workers() as run:
        run(search, queries.n, TILE_ROWS)
    return squares, index


def block_rows(n: int, per_row: int) -> int:
    """Return how many rows of ``per_row`` float32 make a block for a GPU."""
    return int(max(1, min(n, CUDA_BLOCK_BYTES // (4 * per_row))))


def nearest_torch(queries: Points, points: Points, k: int) -> tuple[F64, I64]:
    """Find what `nearest` finds with torch operations only, for any device.

    Its distances are squared, and in the scale of the frame.
    """
    same = queries is points
    x, q = points.exact_tensor(), queries.exact_tensor()
    all_squares, all_index = np.empty((queries.n, k)), np.empty((queries.n, k), np.int64)
    b = block_rows(queries.n, points.n + 4 * (k + 8) * points.d)
    with full_precision():
        for start in range(0, queries.n, b):
            rows = torch.arange(start, min(start + b, queries.n), device=points.device)
            t = k + 8
            while len(rows):
                t = min(t, points.n)
                wide = max(1, CUDA_BLOCK_BYTES // (8 * t * points.d + 4 * points.n))
                undecided = []
                for part in torch.split(rows, wide):
                    bounds = lower_bounds(queries.left[part], points.right)
                    if same:
                        bounds[torch.arange(len(part), device=points.device), part] = torch.inf
                    low, candidates = bounds.topk(t, largest=False, sorted=True)
                    squares = (q[part, None] - x[candidates]).square().sum(-1)  # (b, t)
                    squares[low.isinf()] = torch.inf
                    squares, order = squares.topk(k, largest=False, sorted=True)
                    # Whatever was left out has a lower bound of at least the last one that was taken.
                    sure = (squares[:, -1] <= low[:, -1].double()) if t < points.n else low[:, 0] == low[:, 0]
                    done = part[sure].cpu().numpy()
                    all_squares[done] = squares[sure].cpu().numpy()
                    all_index[done] = candidates.gather(1, order)[sure].cpu().numpy()
                    undecided.append(part[~sure])
                rows = torch.cat(undecided)
                t *= 4
    return all_squares, all_index
