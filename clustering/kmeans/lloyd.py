"""Lloyd's iterations: among few centroids plainly, among many exact and without most of the distances."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from clustering.kmeans.sharing import Alone
from embedkit.computing.threads import workers
from embedkit.preparing.matrix import BLOCK

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
# A descent stops once the centroids move by less than this in an iteration (sum of squares, in units of the
# features' mean variance: scikit-learn's rule).
TOLERANCE = 1e-4
# Steps (sum of squares) that are rounding alone. A row that changes its cluster moves a centroid by more, up
# to 10^8 rows.
STILL = 1e-16
# Up to so many clusters are few. On a CPU a product with few centroids costs less than keeping bounds of it.
FEW = 100
# Rows whose bounds decide how many centroids are compared with all rows.
N_SAMPLED = 1024
# From so many centroids on faiss is slower than products by tiles and NumPy's argmin. A tile of 1 MiB stays
# in the cache between the two; a thread takes so many rows at a time.
MANY, TILE, SHARE = 256, 1 << 18, 2048
# Part of the rows' own squares below which an inertia is not found from sums.
EXACT_BELOW = 1e-2
# Rows of a tile where few centroids are compared.
TALL = 4096
# Rows that are searched for at once, which bounds what is in memory; a multiple of all blocks of rows here.
SEARCHED = 1 << 18
# Distances that are in memory at once where PyTorch searches: 1 GiB of float32.
CELLS = 1 << 28


@dataclass(frozen=True)
class Descent:
    """Where Lloyd's iterations ended."""

    centers: F32  # (k, d)
    labels: I64  # (n,)
    inertia: float
    n_iter: int
    # By which part of it the last iteration lowered the inertia.
    gain: float = 0.0
    # Rows that it began with, where not all.
    started_on: int | None = None


@dataclass(frozen=True)
class Problem:
    """Rows, centred and of about unit size, and what the iterations need to know."""

    x: F32  # (n, d)
    k: int
    spherical: bool
    max_iter: int
    backend: str
    share: Alone = field(default_factory=Alone)

    @cached_property
    def total(self) -> float:
        """Sum of the rows' squared lengths."""
        parts = (self.x[start : start + BLOCK] for start in range(0, len(self.x), BLOCK))
        return sum(float(np.einsum("nd,nd->n", part, part).sum(dtype=np.float64)) for part in parts)

    def descend(self, centers: F32, tolerance: float, max_iter: int | None = None) -> Descent:
        """Iterate until the centroids move by at most `tolerance`, or no row changes."""
        plain = self.k <= FEW and self.backend == "faiss-cpu"
        share, n = self.share, len(self.x)
        rows = (Plain if plain else Bounded)(self.x[share.rows(n)], centers, self.backend)
        sums, counts = share.added(rows.sums), share.added(rows.counts)
        n_iter, before, now = 0, np.nan, self._by_sums(centers, sums, counts)
        while n_iter < (max_iter or self.max_iter):
            n_iter += 1
            moved = self._means(rows.centers, sums, counts)
            steps = np.linalg.norm(moved.astype(np.float64) - rows.centers, axis=1)
            n_changed = int(share.added(np.array([rows.move(moved, steps)]))[0])
            sums, counts = share.added(rows.sums), share.added(rows.counts)
            before, now = now, self._by_sums(moved, sums, counts)
            if np.square(steps).sum() <= max(tolerance, STILL) or (tolerance == 0 and n_changed == 0):
                break
        gain = 1 - now / before if before > 0 else 0.0
        labels = share.joined(rows.labels, n)
        # Rows are compared one by one where the rounding of sums would be seen.
        exact = not plain or now <= EXACT_BELOW * self.total
        found = inertia(self.x, labels, rows.centers) if exact else now
        return Descent(rows.centers, labels, found, n_iter, gain)

    def settled(self, run: Descent) -> Descent:
        """Give the labels that a search of all rows gives, ties included."""
        n, own = len(self.x), self.share.rows(len(self.x))
        labels = search(self.x[own], run.centers, self.backend, 1)[1][:, 0]
        labels = self.share.joined(labels, n)
        return replace(run, labels=labels, inertia=inertia(self.x, labels, run.centers))

    def _by_sums(self, centers: F32, sums: F64, counts: I64) -> float:
        """Inertia found from sums, which is off by about 1e-7 of `total`."""
        wide = centers.astype(np.float64)
        return float(self.total - 2 * (wide * sums).sum() + counts @ np.square(wide).sum(axis=1))

    def _means(self, centers: F32, sums: F64, counts: I64) -> F32:
        means = sums / np.maximum(counts, 1)[:, np.newaxis]
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            squared, _ = search(self.x, centers, self.backend, 1)
            means[empty] = self.x[np.argsort(-squared[:, 0], kind="stable")[: len(empty)]]
        if self.spherical:
            norms = np.linalg.norm(means, axis=1, keepdims=True)
            means /= np.where(norms > 0, norms, 1)
        return np.ascontiguousarray(means, dtype=np.float32)


class Assignment(ABC):
    """Which centroid each row is nearest to, and the sums of each centroid's rows, kept up as they change.

    Parameters
    ----------
    x : (n, d)
        The rows.
    centers : (k, d)
        Where the centroids start.
    backend
        What searches.
    """

    labels: I64  # (n,)

    def __init__(self, x: F32, centers: F32, backend: str) -> None:
        self.x, self.centers, self.backend = x, centers, backend
        self.sums = np.zeros((len(centers), x.shape[1]))
        self.counts = np.zeros(len(centers), dtype=np.int64)

    @abstractmethod
    def move(self, centers: F32, steps: F64) -> int:
        """Take new centroids (k, d), each moved by `steps` (k,); returns how many rows change theirs."""

    def _add(self, labels: I64, x: F32, sign: int) -> None:
        k, size = len(self.counts), 65536
        # In float64, where sums of such rows (`put_on_grid`) are exact: their order makes no difference.
        for start in range(0, len(labels), size):
            part = labels[start : start + size]
            b = len(part)
            members = sparse.csc_matrix((np.ones(b), part, np.arange(b + 1)), shape=(k, b))
            self.sums += sign * (members @ x[start : start + b].astype(np.float64))
        self.counts += sign * np.bincount(labels, minlength=k)


class Plain(Assignment):
    """Every row is searched for whenever the centroids move."""

    def __init__(self, x: F32, centers: F32, backend: str) -> None:
        super().__init__(x, centers, backend)
        self.labels = nearest(x, centers)
        self._add(self.labels, x, 1)

    def move(self, centers: F32, steps: F64) -> int:
        """Take new centroids (k, d); returns how many rows change theirs."""
        del steps
        self.centers = centers
        labels = nearest(self.x, centers)
        changed = np.flatnonzero(labels != self.labels)
        x = self.x[changed]
        self._add(labels[changed], x, 1)
        self._add(self.labels[changed], x, -1)
        self.labels = labels
        return len(changed)


class Bounded(Assignment):
    """Only rows whose nearest centroid may have changed are searched for.

    Each row keeps an upper bound of its distance to its own centroid and a lower bound of that to any other.
    A centroid that moves by s changes its distance to a row by at most s, so only rows whose bounds cross
    are searched again [1]_. Among many centroids some always make long steps that would spoil the bounds of
    all rows; the fastest are therefore compared with every row, as many of them as make the iteration
    cheapest. The result is that of searching all rows.

    References
    ----------
    .. [1] G. Hamerly, Making k-means even faster, SIAM Data Mining (2010).
    """

    def __init__(self, x: F32, centers: F32, backend: str) -> None:
        super().__init__(x, centers, backend)
        d = x.shape[1]
        # Rounding of a squared distance that is found as |x|^2 - 2 x.c + |c|^2, as a part of |x|^2 + |c|^2.
        self._rounding = np.finfo(np.float32).eps * (4 + np.sqrt(d))
        self._norms = np.einsum("nd,nd->n", x, x, dtype=np.float64)
        self._largest = float(np.square(centers).sum(axis=1).max())
        self.upper, self.lower, self.labels = np.empty(len(x)), np.empty(len(x)), np.empty(len(x), np.int64)
        for start in range(0, len(x), SEARCHED):
            some = np.arange(start, min(start + SEARCHED, len(x)))
            self.upper[some], self.lower[some], self.labels[some], _ = self._found(some)
        self._add(self.labels, x, 1)

    def move(self, centers: F32, steps: F64) -> int:
        """Take new centroids (k, d), each moved by `steps` (k,); returns how many rows change theirs."""
        self.centers = centers
        self._largest = float(np.square(centers).sum(axis=1).max())
        k = len(centers)
        if k == 1:
            return 0
        before = self.labels.copy()
        self.upper += steps[self.labels]
        order = np.argsort(-steps)
        m = self._n_compared(steps[order])
        if m < k:
            # What a row's own centroid does is no concern of the bound on the others.
            first, second = order[m], order[min(m + 1, k - 1)]
            self.lower -= np.where(self.labels == first, steps[second], steps[first])
            if m:
                self._compare(order[:m])
            crossed = np.flatnonzero(self.upper >= self.lower)
            self.upper[crossed] = self._distances(crossed, self.labels[crossed]) * (1 + self._rounding)
            self._search(crossed[self.upper[crossed] >= self.lower[crossed]])
        else:
            self._search(np.arange(len(self.x)))
        return int((self.labels != before).sum())

    def _n_compared(self, steps: F64) -> int:
        """How many of the fastest centroids to compare with all rows; `steps` (k,) fall."""
        k = len(steps)
        if not len(self.x):
            return k
        few = np.arange(0, len(self.x), max(1, len(self.x) // N_SAMPLED))
        upper = np.minimum(self.upper[few], self._distances(few, self.labels[few]))
        numbers = np.unique(np.r_[0, np.geomspace(1, k, 24).astype(int), int((steps > 0).sum())])
        slowest = np.append(steps, 0.0)[numbers]
        crossed = np.searchsorted(np.sort(self.lower[few] - upper), slowest, side="right") / len(few)
        # In units of comparing all rows with one centroid.
        return int(numbers[np.argmin(numbers + k * crossed)])

    def _compare(self, some: I64) -> None:
        """Compare all rows with the centroids `some`."""
        squared, index = search(self.x, np.ascontiguousarray(self.centers[some]), self.backend, 2)
        low = np.sqrt(np.maximum(squared - self._slack(slice(None))[:, np.newaxis], 0))
        nearest_is_own = some[index[:, 0]] == self.labels
        rival = np.where(nearest_is_own, some[index[:, 1]], some[index[:, 0]])
        of_rival = np.where(nearest_is_own, low[:, 1], low[:, 0])
        near = np.flatnonzero(of_rival < self.upper)
        without_rival = np.minimum(self.lower[near], low[near, 1])
        self.lower = np.minimum(self.lower, of_rival)
        self._duel(near, rival[near], without_rival, self.lower[near])

    def _search(self, every: I64) -> None:
        """Compare some rows with all centroids."""
        for start in range(0, len(every), SEARCHED):
            some = every[start : start + SEARCHED]
            self.upper[some], self.lower[some], rivals, low = self._found(some)
            other = rivals != self.labels[some]
            self._duel(some[other], rivals[other], self.lower[some[other]], low[other])

    def _found(self, some: I64) -> tuple[F64, F64, I64, F64]:
        """Search for some rows (m,) among all centroids.

        Returns an upper bound of the distance to the nearest, a lower bound of that to any other, which it
        is, and a lower bound of that to any. Which rows are searched together changes how products are
        rounded, and so which of two is the nearer, where they are close: distances from differences decide.
        """
        squared, index = search(self.x[some], self.centers, self.backend, 2)
        slack = self._slack(some)
        low = np.sqrt(np.maximum(squared - slack[:, np.newaxis], 0))
        close = np.flatnonzero(squared[:, 1] - squared[:, 0] <= 2 * slack)
        best, other = index[:, 0].copy(), low[:, 1].copy()
        one, two = np.sort(index[close], axis=1).T
        nearer = self._distances(some[close], two) < self._distances(some[close], one)
        best[close], other[close] = np.where(nearer, two, one), low[close, 0]
        return np.sqrt(squared[:, 0] + slack), other, best, low[:, 0]

    def _duel(self, rows: I64, rivals: I64, lower_if_won: F64, lower_if_lost: F64) -> None:
        """Let rows (m,) change to rivals (m,) that are nearer than their own centroid.

        Both distances are found from differences: products that round differently from one search to the
        next would have a row go back and forth for ever.
        """
        own, theirs = self._distances(rows, self.labels[rows]), self._distances(rows, rivals)
        won = theirs < own
        self.upper[rows] = np.where(won, theirs, own) * (1 + self._rounding)
        low = np.minimum(lower_if_won, own * (1 - self._rounding))
        self.lower[rows] = np.where(won, low, lower_if_lost)
        rows, before, after = rows[won], self.labels[rows[won]], rivals[won]
        self.labels[rows] = after
        x = self.x[rows]
        self._add(after, x, 1)
        self._add(before, x, -1)

    def _distances(self, rows: I64, labels: I64) -> F64:
        distances = np.empty(len(rows))
        for start in range(0, len(rows), BLOCK):
            part = slice(start, start + BLOCK)
            difference = self.x[rows[part]] - self.centers[labels[part]]
            distances[part] = np.sqrt(np.einsum("nd,nd->n", difference, difference))
        return distances

    def _slack(self, rows: I64 | slice) -> F64:
        """By how much a squared distance (n,) that a search gives may be off."""
        return np.asarray(self._rounding * (self._norms[rows] + self._largest))


def put_on_grid(x: F32) -> None:
    """Round rows (n, d) of about unit variance where they lie, so that float64 adds any of them up exactly.

    No sum of them is larger than n sqrt(d), and float64 holds 53 bits: multiples of 2^-34 do for 17,736 x 64,
    of 2^-25 for ten million, which is less than float32 leaves of most values.
    """
    n, d = x.shape
    step = np.float32(2.0 ** (np.ceil(np.log2(n * d**0.5)) + 1 - 53))
    for start in range(0, n, BLOCK):
        rows = x[start : start + BLOCK]
        np.multiply(np.rint(rows / step), step, out=rows)


def search(x: F32, centers: F32, backend: str, m: int) -> tuple[F32, I64]:
    """Squared distances (n, m) to the nearest of `centers` (k, d), and which they are (n, m).

    Infinite distances to centroid 0 stand where there are fewer than `m` centroids.
    """
    found = min(m, len(centers))
    if backend.startswith("torch"):
        squared, index = _search_by_torch(x, centers, backend.removeprefix("torch-"), found)
    elif backend == "faiss-cpu" and len(centers) >= MANY:
        squared, index = _search_by_tiles(x, centers, found)
    else:
        flat: Any = faiss.IndexFlatL2(x.shape[1])
        if backend == "faiss-gpu":
            flat = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, flat)
        flat.add(centers)
        squared, index = flat.search(x, found)
    missing = ((0, 0), (0, m - found))
    if m > found:
        squared, index = np.pad(squared, missing, constant_values=np.inf), np.pad(index, missing)
    return np.maximum(squared, 0), index


def nearest(x: F32, centers: F32) -> I64:
    """Which of a few `centers` (k, d) is nearest to each row, (n,), without its distance."""
    labels = np.empty(len(x), np.int64)
    norms, twice = np.einsum("kd,kd->k", centers, centers), np.ascontiguousarray(-2 * centers.T)
    for start in range(0, len(x), TALL):
        part = slice(start, start + TALL)
        cells = x[part] @ twice
        cells += norms
        cells.argmin(axis=1, out=labels[part])
    return labels


def _search_by_torch(x: F32, centers: F32, device: str, m: int) -> tuple[F32, I64]:
    # Products stay in float32: PyTorch takes TF32 only where it is told to.
    to = torch.from_numpy(centers).to(device)
    norms = to.square().sum(dim=1)
    squared, index = np.empty((len(x), m), np.float32), np.empty((len(x), m), np.int64)
    size = max(1, CELLS // len(centers))
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        rows = torch.from_numpy(x[part]).to(device)
        cells = torch.addmm(norms, rows, to.T, alpha=-2) + rows.square().sum(dim=1, keepdim=True)
        values, which = cells.topk(m, dim=1, largest=False)
        squared[part], index[part] = values.cpu().numpy(), which.cpu().numpy()
    return squared, index


def _search_by_tiles(x: F32, centers: F32, m: int) -> tuple[F32, I64]:
    squared, index = np.empty((len(x), m), np.float32), np.empty((len(x), m), np.int64)
    rows, to = torch.from_numpy(x), torch.from_numpy(centers)
    norms = to.square().sum(dim=1)
    size = max(16, TILE // len(centers))

    def work(start: int, stop: int) -> None:
        for first in range(start, stop, size):
            part = slice(first, min(first + size, stop))
            tile = torch.addmm(norms, rows[part], to.T, alpha=-2).numpy()
            at = np.arange(len(tile))
            for j in range(m):
                which = tile.argmin(axis=1)
                index[part, j], squared[part, j] = which, tile[at, which]
                tile[at, which] = np.inf
            squared[part] += np.einsum("nd,nd->n", x[part], x[part])[:, np.newaxis]

    with workers() as run:
        run(work, len(x), SHARE)
    return squared, index


def inertia(x: F32, labels: I64, centers: F32) -> float:
    """Sum of squared distances of rows to their own centroids."""
    total = 0.0
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        difference = x[rows] - centers[labels[rows]]
        total += float(np.einsum("nd,nd->n", difference, difference).sum(dtype=np.float64))
    return total
