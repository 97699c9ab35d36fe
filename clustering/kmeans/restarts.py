"""From seeds to one good clustering: restarts, finalists, and swaps out of local minima."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Self

import faiss
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from clustering.kmeans.lloyd import F32, FEW, TOLERANCE, Descent, Problem, search
from clustering.kmeans.seeding import seeding

# A round that lowers the inertia by less than this part of it gained nothing.
MIN_GAIN = 1e-5


@dataclass(frozen=True)
class Effort:
    """How long one looks for a lower inertia.

    Restarts run for a few iterations, and the best of them until they converge. Then come rounds of random
    swaps on the best: candidates run for a few iterations, the most promising until they converge.

    Parameters
    ----------
    first, finalists
        Iterations of every restart, and how many of the restarts go on.
    rounds, idle
        Most rounds of swaps, and how many in a row may gain nothing.
    swaps, swap_iterations, promising
        Candidates a round, their iterations, and how many of them go on.
    tolerance
        Where finalists and promising candidates end.
    sample
        Rows that restarts and candidates run on, or so many a cluster if that is more; all if None.
    """

    first: int
    finalists: int
    rounds: int
    idle: int
    swaps: int
    swap_iterations: int
    promising: int
    tolerance: float = TOLERANCE
    sample: tuple[int, int] | None = None


EFFORTS = {
    # Chosen so that on 17,736 x 64 and 12,000 x 32, k = 10 and 20, with and without groups, it is faster than
    # scikit-learn's n_init=10 and its inertia no higher: docs/results/speed-and-memory.md.
    "quick": Effort(20, 6, 2, 2, 12, 8, 3, tolerance=5e-3, sample=(4096, 200)),
    "thorough": Effort(10, 4, 20, 3, 16, 8, 2),
}
# Above so many rows, and more than `FEW` clusters, a quick search begins with a sample of so many rows a
# cluster and ends after so many iterations over all rows.
START_FROM, START_ROWS, PASSES = 2_000_000, 500, 5
# Up to so many rows the thorough search takes a second or two, and is the default.
THOROUGH_ROWS = 5000
# Multiplications in one search for the nearest centroids, from which on several threads share it.
LARGE = 2e9


def best_descent(
    problem: Problem, n_init: int, search: str, seed: int, on_restart: Callable[[], Any] | None = None
) -> Descent:
    """Descend from `n_init` seedings and improve the best; `on_restart` is called after each.

    With few clusters the best is improved by swaps, as long as `search` in `EFFORTS` says, and ends where no
    row changes its cluster. With many the place of one of them hardly matters: swaps are left to a thorough
    search, and it ends where the centroids move by no more than `TOLERANCE`. Labels are those of a search of
    all rows, ties included.
    """
    size = max(START_ROWS * problem.k, START_FROM // 10)
    if problem.k > FEW and search == "quick" and len(problem.x) > max(START_FROM, 2 * size):
        return _started_on_a_sample(problem, size, n_init, seed, on_restart)
    return _restarted(problem, n_init, search, seed, on_restart)


def _restarted(
    problem: Problem, n_init: int, search: str, seed: int, on_restart: Callable[[], Any] | None
) -> Descent:
    *seeds, of_swaps, of_sample = np.random.SeedSequence(seed).spawn(n_init + 2)
    few, effort = problem.k <= FEW, EFFORTS[search]
    # One restart has no rival to be compared with before it ends.
    first = effort.first if few or n_init > 1 else None
    sample = _sample(problem, effort, np.random.default_rng(of_sample)) if few else problem

    def restart(sequence: np.random.SeedSequence) -> Descent:
        start = seeding(sample.x, problem.k, np.random.default_rng(sequence))
        run = sample.descend(start, TOLERANCE, first)
        if on_restart is not None:
            on_restart()
        return run

    one_thread_each = few and problem.x.size * problem.k < LARGE and not problem.share.together
    with SideBySide(problem.backend, one_thread_each=one_thread_each) as threads:
        runs = sorted(threads.map(restart, seeds), key=lambda run: run.inertia)[: effort.finalists]
        if first is not None:
            runs = threads.map(lambda run: problem.descend(run.centers, effort.tolerance), runs)
        best = min(runs, key=lambda run: run.inertia)
        if few or search == "thorough":
            best = swap_search(problem, sample, best, effort, np.random.default_rng(of_swaps), threads)
        if few:
            (best,) = threads.map(lambda run: problem.descend(run.centers, 0.0), [best])
        return problem.settled(best)


def _started_on_a_sample(
    problem: Problem, size: int, n_init: int, seed: int, on_restart: Callable[[], Any] | None
) -> Descent:
    """Descend on a sample of rows, and go on with at most `PASSES` iterations over all rows."""
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(1)[0])
    rows = np.sort(rng.choice(len(problem.x), size, replace=False))
    started = _restarted(replace(problem, x=problem.x[rows]), n_init, "quick", seed, on_restart)
    with SideBySide(problem.backend, one_thread_each=False) as threads:
        passes = threads.map(lambda start: problem.descend(start, TOLERANCE, PASSES), [started.centers])
        settled: list[Descent] = threads.map(problem.settled, passes)
    return replace(settled[0], started_on=len(rows))


def _sample(problem: Problem, effort: Effort, rng: np.random.Generator) -> Problem:
    """The same problem on some of its rows."""
    n = len(problem.x)
    size = n if effort.sample is None else max(effort.sample[0], effort.sample[1] * problem.k)
    if size >= n:
        return problem
    return replace(problem, x=problem.x[np.sort(rng.choice(n, size, replace=False))])


def swap_search(
    problem: Problem,
    sample: Problem,
    best: Descent,
    effort: Effort,
    rng: np.random.Generator,
    threads: SideBySide,
) -> Descent:
    """Improve a solution by moving one centroid at a time, for as long as that lowers the inertia."""
    if problem.k < 3:
        return best
    idle = 0
    for _ in range(effort.rounds):
        (starts,) = threads.map(lambda run: _swapped(sample, run.centers, effort.swaps, rng), [best])
        trials = threads.map(lambda c: sample.descend(c, TOLERANCE, effort.swap_iterations), starts)
        trials = sorted(trials, key=lambda run: run.inertia)[: effort.promising]
        trials = threads.map(lambda run: problem.descend(run.centers, effort.tolerance), trials)
        trial = min(trials, key=lambda run: run.inertia)
        idle = idle + 1 if best.inertia - trial.inertia <= MIN_GAIN * best.inertia else 0
        best = min(best, trial, key=lambda run: run.inertia)
        if idle == effort.idle:
            break
    return best


def _swapped(problem: Problem, centers: F32, n_swaps: int, rng: np.random.Generator) -> list[F32]:
    """Copies of `centers` with one of them moved onto a row drawn by squared distance.

    The one that is moved is drawn by what its rows would lose to their second nearest centroid: the
    cheapest with probability 1/2, the next with 1/4, and so on.
    """
    squared, nearest = search(problem.x, centers, problem.backend, 2)
    cost = np.bincount(nearest[:, 0], squared[:, 1] - squared[:, 0], minlength=problem.k)
    cheapest = np.argsort(cost, kind="stable")
    cumulative = np.cumsum(squared[:, 0], dtype=np.float64)
    starts = []
    for _ in range(n_swaps):
        row = min(int(np.searchsorted(cumulative, rng.random() * cumulative[-1])), len(problem.x) - 1)
        start = centers.copy()
        start[cheapest[min(int(rng.geometric(0.5)), problem.k) - 1]] = problem.x[row]
        starts.append(start)
    return starts


class SideBySide:
    """Threads that run independent descents side by side, each with its share of the cores.

    One descent on all cores waits at a barrier many times an iteration, for longer than it computes when
    rows are few or another process has a core. faiss' thread count is per calling thread.
    """

    def __init__(self, backend: str, *, one_thread_each: bool) -> None:
        n_cores = max(1, faiss.omp_get_max_threads())
        # Processes that share rows meet after every iteration, and must go through descents in one order.
        apart = one_thread_each and backend == "faiss-cpu"
        n_threads = 1 if apart else n_cores
        self._before = torch.get_num_threads()
        # NumPy's products have threads of their own, one number for the whole process.
        self._blas = threadpool_limits(1, user_api="blas") if apart else nullcontext()
        self._pool = ThreadPoolExecutor(
            n_cores if apart else 1, initializer=_compute_with, initargs=(n_threads,)
        )

    def map(self, job: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
        """Return what `job` makes of each argument."""
        return list(self._pool.map(job, arguments))

    def __enter__(self) -> Self:
        self._blas.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._blas.__exit__(None, None, None)
        self._pool.shutdown(cancel_futures=True)
        # Setting it in a thread also sets what later threads begin with.
        torch.set_num_threads(self._before)


def _compute_with(n_threads: int) -> None:
    """Have faiss and torch compute with so many threads where this one calls them."""
    faiss.omp_set_num_threads(n_threads)
    torch.set_num_threads(n_threads)
