"""k-means++: where the centroids start."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from clustering.kmeans.lloyd import FEW
from embedkit.computing.threads import Workers, workers

F32 = NDArray[np.float32]
# Beyond `FEW` clusters they come from a sample of so many rows a cluster. 17,736 rows for 1,000 clusters are
# all taken.
SEED_ROWS = 50
# Each batch of seeds adds this part of those there are.
GROWTH = 0.125
# What a candidate gains is estimated on every fourth row. That pays for twice the candidates of greedy
# k-means++, which bring more than the estimate costs.
STRIDE, TRIALS = 4, 2
# Rows that a thread takes at a time, and distances of a tile: 1 MiB, which stays in the cache between the
# product and what reads it.
SHARE, TILE = 2048, 1 << 18


def seeding(x: F32, k: int, rng: np.random.Generator) -> F32:
    """Greedy k-means++: each next seed is the best of a few rows of `x` drawn by squared distance, (k, d)."""
    return _one_by_one(x, k, rng) if k <= FEW else _in_batches(x, k, rng)


def _one_by_one(x: F32, k: int, rng: np.random.Generator) -> F32:
    n, n_trials = len(x), 2 + int(np.log(k))
    chosen = np.empty(k, dtype=np.int64)
    chosen[0] = rng.integers(n)
    rows = torch.from_numpy(x)
    norms = rows.square().sum(dim=1)  # (n,)

    def squared(to: NDArray[np.int64]) -> F32:
        cells = torch.addmm(norms, rows[to], rows.T, alpha=-2)  # (m, n)
        return cells.add_(norms[to, None]).clamp_(min=0).numpy()

    closest = squared(chosen[:1])[0]
    for i in range(1, k):
        draws = _drawn(closest, n_trials, rng)
        distances = squared(draws)
        np.minimum(distances, closest, out=distances)
        winner = int(distances.sum(axis=1, dtype=np.float64).argmin())
        chosen[i], closest = draws[winner], distances[winner]
    return np.asarray(x[chosen])


def _in_batches(x: F32, k: int, rng: np.random.Generator) -> F32:
    """As many seeds at once as 1/8 of those there are.

    Every seed of a batch is the best of a few rows drawn by squared distance to the seeds before the batch,
    so that one product of matrices serves them all; drawing in rounds is the idea of [1]_. One seed at a
    time reads all rows k times.

    References
    ----------
    .. [1] B. Bahmani et al., Scalable k-means++, PVLDB 5(7):622-633 (2012).
    """
    if len(x) > SEED_ROWS * k:
        x = x[np.sort(rng.choice(len(x), SEED_ROWS * k, replace=False))]
    n, n_trials = len(x), TRIALS * (2 + int(np.log(k)))
    rows = torch.from_numpy(x)
    norms = rows.square().sum(dim=1)  # (n,)
    chosen = [int(rng.integers(n))]
    closest = (rows - rows[chosen]).square().sum(dim=1)  # (n,)
    with workers() as run:
        while len(chosen) < k:
            n_new = min(k - len(chosen), 1 + int(GROWTH * len(chosen)))
            draws = _drawn(closest.numpy(), n_new * n_trials, rng)
            offset = int(rng.integers(STRIDE))
            seen = slice(offset, None, STRIDE)
            gains = _gains(rows[seen], (closest - norms)[seen], rows[draws], run)
            # The candidate's own distance is gained for certain; what the others gain is estimated.
            own = closest[draws]
            gains = own + STRIDE * (gains - own * torch.from_numpy(draws % STRIDE == offset))
            best = gains.view(n_new, n_trials).argmax(dim=1).numpy()
            new = draws.reshape(n_new, n_trials)[np.arange(n_new), best]
            new = _apart(rows, new, closest)
            chosen.extend(new.tolist())
            _bring_closer(closest, rows, norms, rows[new], run)
            closest[new] = 0
    return x[chosen]


def _apart(rows: torch.Tensor, new: NDArray[np.int64], closest: torch.Tensor) -> NDArray[np.int64]:
    """Leave out seeds of a batch that are nearer to one before them than to those there are.

    Two seeds of a batch know nothing of each other, and may go to one group of rows, or to one row. A later
    batch fills the place.
    """
    between = torch.cdist(rows[new], rows[new]).square().tril(-1)
    between[torch.ones_like(between, dtype=torch.bool).triu()] = torch.inf
    return np.asarray(new[(between.amin(dim=1) >= closest[new]).numpy()])


def _drawn(closest: F32, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw rows with probability in proportion to `closest` (n,)."""
    cumulative = np.cumsum(closest, dtype=np.float64)
    if cumulative[-1] <= 0:
        return rng.integers(len(closest), size=size)
    draws = np.searchsorted(cumulative, rng.random(size) * cumulative[-1])
    return np.asarray(np.minimum(draws, len(closest) - 1))


def _gains(rows: torch.Tensor, offsets: torch.Tensor, to: torch.Tensor, run: Workers) -> torch.Tensor:
    """By how much the squared distances of `rows` would fall if `to` (m, d) were seeds, (m,).

    `offsets` (b,) are the rows' squared distances to the seeds there are, less their squared norms.
    """
    norms, sums = -to.square().sum(dim=1), torch.zeros(-(-len(rows) // SHARE), len(to))

    def add(start: int, stop: int) -> None:
        for part in _tiles(start, stop, len(to)):
            cells = torch.addmm(norms, rows[part], to.T, alpha=2)
            cells += offsets[part, None]
            sums[start // SHARE] += cells.relu_().sum(dim=0)

    run(add, len(rows), SHARE)
    return sums.sum(dim=0)


def _bring_closer(
    closest: torch.Tensor, rows: torch.Tensor, norms: torch.Tensor, to: torch.Tensor, run: Workers
) -> None:
    """Take new seeds `to` (m, d) into the squared distances to the closest seed, (n,)."""
    to_norms = to.square().sum(dim=1)

    def take(start: int, stop: int) -> None:
        for part in _tiles(start, stop, len(to)):
            cells = torch.addmm(to_norms, rows[part], to.T, alpha=-2)
            nearest = (cells.amin(dim=1) + norms[part]).clamp_(min=0)
            torch.minimum(closest[part], nearest, out=closest[part])

    run(take, len(rows), SHARE)


def _tiles(start: int, stop: int, m: int) -> list[slice]:
    size = max(16, TILE // m)
    return [slice(first, min(first + size, stop)) for first in range(start, stop, size)]
