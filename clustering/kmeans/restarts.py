"""From seeds to one good clustering: restarts, finalists, and swaps out of local minima."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import faiss
import numpy as np

from clustering.kmeans.lloyd import F32, TOLERANCE, Descent, Problem, search
from clustering.kmeans.seeding import FEW, seeding

# All restarts run for so many iterations, and the best of them until they converge.
N_FIRST_ITERATIONS, N_FINALISTS = 10, 4
# Then come rounds of random swaps on the best: so many candidates run for a few iterations, the most
# promising to the end, until some rounds in a row have gained less than MIN_GAIN of the inertia.
N_SWAPS, N_SWAP_ITERATIONS, N_PROMISING = 16, 8, 2
MIN_GAIN = 1e-5
MAX_IDLE_ROUNDS, MAX_ROUNDS = 3, 20
# Multiplications in one search for the nearest centroids, from which on several threads share it.
LARGE = 2e9


def best_descent(
    problem: Problem, n_init: int, seed: int, on_restart: Callable[[], Any] | None = None
) -> Descent:
    """Descend from `n_init` seedings and improve the best; `on_restart` is called after each.

    With few clusters the best is improved by swaps and ends where no row changes its cluster. With many the
    place of one of them hardly matters, and it ends where the centroids move by no more than `TOLERANCE`.
    Labels are those of a search of all rows, ties included.
    """
    *seeds, of_swaps = np.random.SeedSequence(seed).spawn(n_init + 1)
    few = problem.k <= FEW
    # One restart has no rival to be compared with before it ends.
    first = N_FIRST_ITERATIONS if few or n_init > 1 else None

    def restart(sequence: np.random.SeedSequence) -> Descent:
        start = seeding(problem.x, problem.k, np.random.default_rng(sequence))
        run = problem.descend(start, TOLERANCE, first)
        if on_restart is not None:
            on_restart()
        return run

    one_thread_each = few and problem.x.size * problem.k < LARGE
    with SideBySide(problem.backend, one_thread_each=one_thread_each) as threads:
        runs = sorted(threads.map(restart, seeds), key=lambda run: run.inertia)[:N_FINALISTS]
        if first is not None:
            runs = threads.map(lambda run: problem.descend(run.centers, TOLERANCE), runs)
        best = min(runs, key=lambda run: run.inertia)
        if few:
            best = swap_search(problem, best, np.random.default_rng(of_swaps), threads)
            (best,) = threads.map(lambda run: problem.descend(run.centers, 0.0), [best])
        return problem.settled(best)


def swap_search(problem: Problem, best: Descent, rng: np.random.Generator, threads: SideBySide) -> Descent:
    """Improve a solution by moving one centroid at a time, for as long as that lowers the inertia."""
    if problem.k < 3:
        return best
    idle = 0
    for _ in range(MAX_ROUNDS):
        (starts,) = threads.map(lambda run: _swapped(problem, run.centers, rng), [best])
        trials = threads.map(lambda c: problem.descend(c, TOLERANCE, N_SWAP_ITERATIONS), starts)
        trials = sorted(trials, key=lambda run: run.inertia)[:N_PROMISING]
        trials = threads.map(lambda run: problem.descend(run.centers, TOLERANCE), trials)
        trial = min(trials, key=lambda run: run.inertia)
        idle = idle + 1 if best.inertia - trial.inertia <= MIN_GAIN * best.inertia else 0
        best = min(best, trial, key=lambda run: run.inertia)
        if idle == MAX_IDLE_ROUNDS:
            break
    return best


def _swapped(problem: Problem, centers: F32, rng: np.random.Generator) -> list[F32]:
    """Copies of `centers` with one of them moved onto a row drawn by squared distance.

    The one that is moved is drawn by what its rows would lose to their second nearest centroid: the
    cheapest with probability 1/2, the next with 1/4, and so on.
    """
    squared, nearest = search(problem.x, centers, problem.backend, 2)
    cost = np.bincount(nearest[:, 0], squared[:, 1] - squared[:, 0], minlength=problem.k)
    cheapest = np.argsort(cost, kind="stable")
    cumulative = np.cumsum(squared[:, 0], dtype=np.float64)
    starts = []
    for _ in range(N_SWAPS):
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
        apart = one_thread_each and backend == "faiss-cpu"
        n_threads = 1 if apart else n_cores
        self._pool = ThreadPoolExecutor(
            n_cores if apart else 1, initializer=lambda: faiss.omp_set_num_threads(n_threads)
        )

    def map(self, job: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
        """Return what `job` makes of each argument."""
        return list(self._pool.map(job, arguments))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)
