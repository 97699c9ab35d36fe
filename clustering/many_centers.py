"""k-means with many clusters: seeding in batches; and the nearest centroids by PyTorch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

F32 = NDArray[np.float32]
# Seeds come from a sample of so many rows a cluster. 17,736 rows for 1,000 clusters are all taken.
SEED_ROWS = 50
# Each batch of seeds adds this part of those there are.
GROWTH = 0.125
# Distances that are in memory at once: 16 MiB of float32.
CELLS = 1 << 22


def search(x: F32, centers: F32, device: str, m: int) -> tuple[F32, NDArray[np.int64]]:
    """Squared distances (n, m) to the nearest of `centers` (k, d), and which they are, by PyTorch.

    What faiss' flat index gives, to float32 rounding, on any device of PyTorch. Products stay in float32:
    PyTorch takes TF32 only where it is told to.
    """
    c = torch.from_numpy(centers).to(device)
    squared, nearest = np.empty((len(x), m), np.float32), np.empty((len(x), m), np.int64)
    size = 16 * max(1, CELLS // len(centers))
    for start in range(0, len(x), size):
        for part, cells in _blocks(torch.from_numpy(x[start : start + size]).to(device), c):
            to = slice(start + part.start, start + part.stop)
            values, which = cells.topk(m, dim=1, largest=False) if m > 1 else cells.min(dim=1, keepdim=True)
            squared[to], nearest[to] = values.cpu().numpy(), which.cpu().numpy()
    return squared, nearest


def seeding(x: F32, k: int, rng: np.random.Generator) -> F32:
    """Greedy k-means++ in batches: as many seeds at once as 1/8 of those there are.

    Every seed of a batch is the best of a few rows drawn by squared distance to the seeds before the batch,
    so that one product of matrices serves them all; drawing in rounds is the idea of [1]_. One seed at a
    time reads all rows k times.

    References
    ----------
    .. [1] B. Bahmani et al., Scalable k-means++, PVLDB 5(7):622-633 (2012).
    """
    if len(x) > SEED_ROWS * k:
        x = x[np.sort(rng.choice(len(x), SEED_ROWS * k, replace=False))]
    rows = torch.from_numpy(x)
    n, n_trials = len(x), 2 + int(np.log(k))
    chosen = [int(rng.integers(n))]
    closest = (rows - rows[chosen]).square().sum(dim=1)  # (n,)
    while len(chosen) < k:
        n_new = min(k - len(chosen), 1 + int(GROWTH * len(chosen)))
        cumulative = np.cumsum(closest.numpy(), dtype=np.float64)
        if cumulative[-1] > 0:
            draws = np.searchsorted(cumulative, rng.random(n_new * n_trials) * cumulative[-1])
            draws = np.minimum(draws, n - 1)
        else:
            draws = rng.integers(n, size=n_new * n_trials)
        left = np.zeros(len(draws))
        for part, cells in _blocks(rows, rows[draws]):
            left += torch.minimum(cells, closest[part, None], out=cells).sum(dim=0).numpy()
        best = left.reshape(n_new, n_trials).argmin(axis=1)
        # Two places of a batch may go to one row: it is taken once, and a later batch fills the other.
        new = np.unique(draws.reshape(n_new, n_trials)[np.arange(n_new), best])
        chosen.extend(new.tolist())
        for part, cells in _blocks(rows, rows[new]):
            closest[part] = torch.minimum(closest[part], cells.amin(dim=1))
        closest[new] = 0
    return x[chosen]


def _blocks(x: torch.Tensor, to: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    norms = to.square().sum(dim=1)
    size = max(1, CELLS // len(to))
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        cells = torch.addmm(norms, x[part], to.T, alpha=-2)
        cells += x[part].square().sum(dim=1, keepdim=True)
        yield part, cells.clamp_(min=0)  # (b, len(to))
