"""k-means on every row: k-means++ restarts, nearest centroids by faiss, swaps out of local minima."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from clustering import many_centers
from clustering.memberships import memberships
from embedkit.errors import DataError
from embedkit.matrix import BLOCK, as_matrix

F32 = NDArray[np.float32]
DEVICES = ("auto", "cpu", "cuda")
# A restart stops once the centroids move by less than this in an iteration (sum of squares, in units of the
# features' mean variance: scikit-learn's rule). The best of all is run until no row changes its cluster.
TOLERANCE = 1e-4
# All restarts run for so many iterations, and the best of them to the end.
N_FIRST_ITERATIONS, N_FINALISTS = 10, 4
# Then come rounds of random swaps on the best: so many candidates run for a few iterations, the most
# promising to the end, until some rounds in a row have gained less than MIN_GAIN of the inertia.
N_SWAPS, N_SWAP_ITERATIONS, N_PROMISING = 16, 8, 2
MIN_GAIN = 1e-5
MAX_IDLE_ROUNDS, MAX_ROUNDS = 3, 20
# With more clusters than this, the place of one of them hardly matters: no swaps, seeding in batches, and
# bounds that one number for all centroids no longer makes tight give way to a search of those that moved.
MAX_SWAPPED_K = 100
# Multiplications in one search for the nearest centroids, from which on several threads share it.
LARGE = 2e9


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """k-means over all rows, with faiss for the nearest centroids.

    Each of `n_init` restarts begins at its own greedy k-means++ seeding and runs ten of Lloyd's iterations;
    the best four go on until they converge. The best of these is improved by swaps, one centroid taken out
    of one place and put into another [1]_, as long as that lowers the inertia, and is run until no row
    changes its cluster. faiss' own training loop is not used: it takes a sample of 256 rows a centroid
    unless told otherwise, starts from random rows, and stops after a fixed number of iterations. Here every
    iteration decides for every row. A cluster that loses all rows starts again at the row that is farthest
    from its centroid, so that none is empty at the end. With more than 100 clusters there are no swaps, and
    the seeds are drawn in batches from at most 50 rows a cluster.

    Parameters
    ----------
    n_clusters
        k, at least 1.
    n_init
        Restarts.
    max_iter
        Most iterations of any one run.
    spherical
        Scale rows and centroids to unit length, so that clusters go by direction (cosine).
    device
        ``cpu``, ``cuda`` (a GPU that faiss or PyTorch can use, else an error), or ``auto``: a GPU if one of
        the two has it, faiss first.
    random_state
        Seed; the same seed gives the same clusters on the same machine.

    Attributes
    ----------
    cluster_centers_ : (k, d) float32
        By falling cluster size; of unit length if `spherical`.
    labels_ : (n,) int64
    inertia_ : float
        Sum of squared distances to the nearest centroid (of unit vectors, if `spherical`).
    n_iter_ : int
        Iterations of the last run, which ends when no row changes.
    backend_ : str
        ``faiss-cpu``, ``faiss-gpu``, or ``torch-cuda`` where PyTorch alone sees the GPU.

    References
    ----------
    .. [1] P. Fränti, Efficiency of random swap clustering, Journal of Big Data 5:13 (2018).
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_init: int = 10,
        max_iter: int = 300,
        spherical: bool = False,
        device: str = "auto",
        random_state: Any = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_init = n_init
        self.max_iter = max_iter
        self.spherical = spherical
        self.device = device
        self.random_state = random_state

    def fit(self, x: Any, y: object = None, *, on_restart: Callable[[], Any] | None = None) -> Self:  # noqa: ARG002
        """Cluster `x` (n, d); `on_restart` is called after each restart.

        Raises
        ------
        DataError
            NaN or infinite values, fewer rows or fewer distinct rows than clusters, a parameter out of
            range, or (spherical) a row of zeros.
        """
        for name in ("n_clusters", "n_init", "max_iter"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise DataError(f"{name}={value!r}: give an integer of at least 1.")
        self.backend_ = _backend(self.device)
        x = as_matrix(self, x)
        n, k = len(x), int(self.n_clusters)
        if k > n:
            raise DataError(f"n_samples={n} is fewer than n_clusters={k}. Ask for at most {n} clusters.")
        self._fit_frame(x)
        work = self._to_frame(x)
        _check_distinct(work, k)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        seeds = np.random.SeedSequence(seed).spawn(self.n_init + 1)
        problem = _Problem(work, k, self.spherical, self.max_iter, self.backend_)

        def restart(sequence: np.random.SeedSequence) -> _Run:
            start = problem.seeding(np.random.default_rng(sequence))
            # One restart has no rival: with many clusters it runs through, with few the swaps go on from it.
            alone = self.n_init == 1 and k > MAX_SWAPPED_K
            run = problem.descend(start, 0.0 if alone else TOLERANCE, None if alone else N_FIRST_ITERATIONS)
            if on_restart is not None:
                on_restart()
            return run

        n_threads = 1 if x.size * k < LARGE and k <= MAX_SWAPPED_K else 0
        with _Workers(self.backend_, n_threads) as workers:
            runs = sorted(workers.map(restart, seeds[:-1]), key=lambda run: run.inertia)
            finalists = runs[:N_FINALISTS]
            if self.n_init > 1 or k <= MAX_SWAPPED_K:
                finalists = workers.map(lambda run: problem.descend(run.centers, TOLERANCE), finalists)
            best = min(finalists, key=lambda run: run.inertia)
            best = _swap_search(problem, best, np.random.default_rng(seeds[-1]), workers)
            (best,) = workers.map(problem.finish, [best])
        order = np.argsort(-np.bincount(best.labels, minlength=k), kind="stable")
        self._centers = np.ascontiguousarray(best.centers[order])
        centers = self._centers.astype(np.float64) * self._scale + self._shift
        self.cluster_centers_ = centers.astype(np.float32)
        self.labels_ = np.argsort(order)[best.labels]
        self.inertia_ = float(best.inertia * self._scale**2)
        self.n_iter_ = best.n_iter
        return self

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return the nearest cluster (n,) of each row of `x` (n, d)."""
        check_is_fitted(self)
        return _nearest(self._checked(x), self._centers, self.backend_)[1]

    def transform(self, x: Any) -> F32:
        """Return the Euclidean distances (n, k) of `x` (n, d) to the centroids; of unit rows if spherical."""
        check_is_fitted(self)
        work = self._checked(x)
        distances = np.empty((len(work), len(self._centers)), dtype=np.float32)
        for start in range(0, len(work), BLOCK):
            rows = slice(start, start + BLOCK)
            squared = faiss.pairwise_distances(work[rows], self._centers)
            np.sqrt(np.maximum(squared, 0, out=squared), out=distances[rows])
        return distances * np.float32(self._scale)

    def predict_proba(self, x: Any) -> NDArray[np.float64]:
        """Return soft assignments (n, k) of `x` (n, d) by distance to the centroids; see `memberships`."""
        return memberships(self.transform(x))

    def score(self, x: Any, y: object = None) -> float:  # noqa: ARG002
        """Return minus the sum of squared distances of `x` (n, d) to the nearest centroids."""
        check_is_fitted(self)
        work = self._checked(x)
        _, labels = _nearest(work, self._centers, self.backend_)
        return -_inertia(work, labels, self._centers) * self._scale**2

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `predict` needs as named arrays, for a file without pickled objects."""
        check_is_fitted(self)
        return {
            "centers": self._centers,
            "shift": self._shift,
            "scale": np.array(self._scale),
            "spherical": np.array(self.spherical),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Return an estimator that predicts what the one predicts whose `state` this is; it has no labels."""
        model = cls(len(state["centers"]), spherical=bool(state["spherical"]))
        model._centers, model._shift, model._scale = state["centers"], state["shift"], float(state["scale"])
        model.cluster_centers_ = (model._centers * model._scale + model._shift).astype(np.float32)
        model.n_features_in_ = model._centers.shape[1]
        model.backend_ = _backend("auto")
        return model

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _fit_frame(self, x: F32) -> None:
        # faiss finds distances as |x|^2 - 2 x.c + |c|^2 in float32. Centred rows of unit size keep that exact
        # to about 1e-6 whatever the mean and the unit of the features.
        if self.spherical:
            self._shift, self._scale = np.zeros(x.shape[1]), 1.0
            return
        self._shift = x.mean(axis=0, dtype=np.float64)
        total = sum(
            float(np.square(x[start : start + BLOCK] - self._shift).sum())
            for start in range(0, len(x), BLOCK)
        )
        self._scale = float(np.sqrt(total / x.size)) or 1.0

    def _to_frame(self, x: F32) -> F32:
        work = np.empty_like(x)
        for start in range(0, len(x), BLOCK):
            rows = slice(start, start + BLOCK)
            if self.spherical:
                block = x[rows].astype(np.float64)
                norms = np.linalg.norm(block, axis=1, keepdims=True)
                if not norms.all():
                    row = start + int(np.argmin(norms))
                    raise DataError(f"row {row} is all zeros and has no direction. Leave it out.")
                work[rows] = block / norms
            else:
                work[rows] = (x[rows] - self._shift) / self._scale
        return work

    def _checked(self, x: Any) -> F32:
        return self._to_frame(as_matrix(self, x, reset=False))


@dataclass(frozen=True)
class _Run:
    centers: F32  # (k, d)
    labels: NDArray[np.int64]  # (n,)
    inertia: float
    n_iter: int


@dataclass(frozen=True)
class _Problem:
    """Rows in the working frame, and what Lloyd's iterations need to know."""

    x: F32  # (n, d)
    k: int
    spherical: bool
    max_iter: int
    backend: str

    def seeding(self, rng: np.random.Generator) -> F32:
        """Greedy k-means++: each next centroid is the best of a few rows drawn by squared distance."""
        if self.k > MAX_SWAPPED_K:
            return many_centers.seeding(self.x, self.k, rng)
        n, n_trials = len(self.x), 2 + int(np.log(self.k))
        chosen = np.empty(self.k, dtype=np.int64)
        chosen[0] = rng.integers(n)
        closest = faiss.pairwise_distances(self.x[chosen[:1]], self.x)[0]
        np.maximum(closest, 0, out=closest)
        for i in range(1, self.k):
            cumulative = np.cumsum(closest, dtype=np.float64)
            if cumulative[-1] > 0:
                draws = np.searchsorted(cumulative, rng.random(n_trials) * cumulative[-1])
                draws = np.minimum(draws, n - 1)
            else:
                draws = rng.integers(n, size=n_trials)
            distances = faiss.pairwise_distances(self.x[draws], self.x)
            np.clip(distances, 0, closest, out=distances)
            winner = int(distances.sum(axis=1, dtype=np.float64).argmin())
            chosen[i], closest = draws[winner], distances[winner]
        return self.x[chosen]

    def descend(self, centers: F32, tolerance: float, max_iter: int | None = None) -> _Run:
        """Lloyd's iterations until the centroids move by at most `tolerance`, or no row changes."""
        kind = _AssignedToMany if self.k > MAX_SWAPPED_K else _Assigned
        rows = kind(self.x, centers, self.backend)
        n_iter = 0
        while n_iter < (max_iter or self.max_iter):
            n_iter += 1
            moved = self._means(rows)
            steps = np.linalg.norm(moved.astype(np.float64) - rows.centers, axis=1)
            n_changed = rows.move(moved, steps)
            if np.square(steps).sum() <= tolerance or (tolerance == 0 and n_changed == 0):
                break
        return _Run(rows.centers, rows.labels, _inertia(self.x, rows.labels, rows.centers), n_iter)

    def finish(self, run: _Run) -> _Run:
        """Iterate until no row changes; the labels are then what `predict` gives, ties included."""
        run = self.descend(run.centers, 0.0)
        _, labels = _nearest(self.x, run.centers, self.backend)
        return _Run(run.centers, labels, _inertia(self.x, labels, run.centers), run.n_iter)

    def swapped(self, centers: F32, rng: np.random.Generator) -> list[F32]:
        """Copies of `centers` with one of them moved onto a row drawn by squared distance.

        The one that is moved is drawn by what its rows would lose to their second nearest centroid: the
        cheapest with probability 1/2, the next with 1/4, and so on.
        """
        squared, nearest = _search(self.x, centers, self.backend, 2)
        squared = np.maximum(squared, 0)
        cost = np.bincount(nearest[:, 0], squared[:, 1] - squared[:, 0], minlength=self.k)
        cheapest = np.argsort(cost, kind="stable")
        cumulative = np.cumsum(squared[:, 0], dtype=np.float64)
        starts = []
        for _ in range(N_SWAPS):
            row = min(int(np.searchsorted(cumulative, rng.random() * cumulative[-1])), len(self.x) - 1)
            start = centers.copy()
            start[cheapest[min(int(rng.geometric(0.5)), self.k) - 1]] = self.x[row]
            starts.append(start)
        return starts

    def _means(self, rows: _Assigned) -> F32:
        means = rows.sums / np.maximum(rows.counts, 1)[:, np.newaxis]
        empty = np.flatnonzero(rows.counts == 0)
        if len(empty):
            squared, _ = _nearest(self.x, rows.centers, self.backend)
            means[empty] = self.x[np.argsort(-squared, kind="stable")[: len(empty)]]
        if self.spherical:
            norms = np.linalg.norm(means, axis=1, keepdims=True)
            means /= np.where(norms > 0, norms, 1)
        return np.ascontiguousarray(means, dtype=np.float32)


class _Assigned:
    """Which centroid each row is nearest to, kept up while the centroids move.

    A centroid that moves by s changes its distance to a row by at most s. So each row keeps an upper bound
    of its distance to its own centroid and a lower bound of that to any other, and only rows whose bounds
    cross are searched again (Hamerly, Making k-means even faster, 2010): few of them after the
    first iterations. The result is that of searching all rows.
    """

    def __init__(self, x: F32, centers: F32, backend: str) -> None:
        n, d = x.shape
        self.x, self.centers, self.backend = x, centers, backend
        self.labels = np.full(n, -1, dtype=np.int64)
        self.upper, self.lower = np.full(n, np.inf), np.zeros(n)
        self.sums, self.counts = np.zeros((len(centers), d)), np.zeros(len(centers), dtype=np.int64)
        # Rounding of a squared distance that is found as |x|^2 - 2 x.c + |c|^2, as a part of |x|^2 + |c|^2.
        self._rounding = np.finfo(np.float32).eps * (4 + np.sqrt(d))
        self._norms = np.einsum("nd,nd->n", x, x, dtype=np.float64)
        self._search(np.arange(n))

    def move(self, centers: F32, steps: NDArray[np.float64]) -> int:
        """Take new centroids (k, d), each moved by `steps` (k,); returns how many rows change theirs."""
        self.centers = centers
        if len(centers) == 1:
            return 0
        self.upper += steps[self.labels]
        first, second = np.argsort(-steps)[:2]
        self.lower -= np.where(self.labels == first, steps[second], steps[first])
        return self._search(np.flatnonzero(self.upper >= self.lower))

    def _search(self, some: NDArray[np.int64]) -> int:
        if not len(some):
            return 0
        x = self.x if len(some) == len(self.x) else self.x[some]
        squared, nearest = _search(x, self.centers, self.backend, min(2, len(self.centers)))
        slack = self._rounding * (self._norms[some] + float(np.square(self.centers).sum(axis=1).max()))
        self.upper[some] = np.sqrt(np.maximum(squared[:, 0] + slack, 0))
        other = squared[:, 1] if len(self.centers) > 1 else np.inf
        self.lower[some] = np.sqrt(np.maximum(other - slack, 0))
        return self._relabel(some, nearest[:, 0])

    def _relabel(self, some: NDArray[np.int64], after: NDArray[np.int64]) -> int:
        before = self.labels[some]
        changed = np.flatnonzero(before != after)
        before, after, some = before[changed], after[changed], some[changed]
        x = self.x if len(some) == len(self.x) else self.x[some]
        self.labels[some] = after
        self._add(after, x, 1)
        if len(before) and before[0] >= 0:
            self._add(before, x, -1)
        return len(changed)

    def _add(self, labels: NDArray[np.int64], x: F32, sign: int) -> None:
        k, size = len(self.counts), 65536
        # Blocks, added up in float64: one float32 sum over a million rows would be off by 1e-4.
        for start in range(0, len(labels), size):
            part = labels[start : start + size]
            b = len(part)
            members = sparse.csc_matrix((np.ones(b, np.float32), part, np.arange(b + 1)), shape=(k, b))
            self.sums += sign * (members @ x[start : start + b])
        self.counts += sign * np.bincount(labels, minlength=k)


class _AssignedToMany(_Assigned):
    """The same for many centroids, where the largest step is too long for a bound to hold.

    A centroid that did not move is as far from a row as before. A row whose own centroid came no farther can
    only change to one that moved, so it is compared with those alone: few of them in the later iterations.
    """

    def move(self, centers: F32, steps: NDArray[np.float64]) -> int:
        self.centers = centers
        moved = np.flatnonzero(steps > 0)
        if not len(moved):
            return 0
        if len(moved) > 0.9 * len(centers):
            return self._search(np.arange(len(self.x)))
        before = self.squared.copy()
        own = np.flatnonzero(steps[self.labels] > 0)
        self.squared[own] = _squared(self.x[own], centers[self.labels[own]])
        farther = self.squared > before
        n_changed = self._search(np.flatnonzero(farther))
        rest = np.flatnonzero(~farther)
        if not len(rest):
            return n_changed
        squared, which = _nearest(self.x[rest], np.ascontiguousarray(centers[moved]), self.backend)
        # Nearer by more than rounding: two ways to find one distance must not take turns for ever.
        gain = self.squared[rest] - squared
        nearer = gain > self._rounding * self._norms[rest]
        rest, squared, which = rest[nearer], squared[nearer], moved[which[nearer]]
        self.squared[rest] = squared
        return n_changed + self._relabel(rest, which)

    def _search(self, some: NDArray[np.int64]) -> int:
        if len(some) == len(self.x):
            self.squared, nearest = _nearest(self.x, self.centers, self.backend)
            return self._relabel(some, nearest)
        if not len(some):
            return 0
        self.squared[some], nearest = _nearest(self.x[some], self.centers, self.backend)
        return self._relabel(some, nearest)


def _squared(x: F32, centers: F32) -> F32:
    difference = x - centers
    return np.asarray(np.einsum("nd,nd->n", difference, difference))


def _nearest(x: F32, centers: F32, backend: str) -> tuple[F32, NDArray[np.int64]]:
    """Squared distance (n,) to the nearest of `centers` (k, d), and which it is (n,)."""
    squared, nearest = _search(x, centers, backend, 1)
    return squared[:, 0], nearest[:, 0]


def _search(x: F32, centers: F32, backend: str, m: int) -> tuple[F32, NDArray[np.int64]]:
    """Squared distances (n, m) to the nearest of `centers` (k, d), and which they are (n, m)."""
    if backend.startswith("torch"):
        return many_centers.search(x, centers, backend.removeprefix("torch-"), m)
    index: Any = faiss.IndexFlatL2(x.shape[1])
    if backend == "faiss-gpu":
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    index.add(centers)
    squared, nearest = index.search(x, m)
    return squared, nearest


def _inertia(x: F32, labels: NDArray[np.int64], centers: F32) -> float:
    total = 0.0
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        difference = x[rows] - centers[labels[rows]]
        total += float(np.einsum("nd,nd->n", difference, difference).sum(dtype=np.float64))
    return total


def _check_distinct(x: F32, k: int) -> None:
    # Most files have k distinct rows among the first few; sorting all of them is left for those that don't.
    for part in (x[: 4 * k + 100], x):
        n_distinct = len(np.unique(part, axis=0))
        if n_distinct >= k:
            return
    raise DataError(
        f"{len(x)} rows, but only {n_distinct} of them distinct, for n_clusters={k}. Ask for at most "
        f"{n_distinct} clusters, and look at whether the features are constant."
    )


def _backend(device: str) -> str:
    if device not in DEVICES:
        raise DataError(f"device={device!r} is not one of {', '.join(DEVICES)}.")
    if device == "cpu":
        return "faiss-cpu"
    # faiss-cpu has no GPU functions at all.
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        return "faiss-gpu"
    if torch.cuda.is_available():
        return "torch-cuda"
    if device == "cuda":
        raise DataError("device='cuda', but neither faiss nor PyTorch sees a GPU. Take 'cpu' or 'auto'.")
    return "faiss-cpu"


def _swap_search(problem: _Problem, best: _Run, rng: np.random.Generator, workers: _Workers) -> _Run:
    """Improve a solution by moving one centroid at a time, for as long as that lowers the inertia."""
    if not 3 <= problem.k <= MAX_SWAPPED_K:
        return best
    idle = 0
    for _ in range(MAX_ROUNDS):
        (starts,) = workers.map(lambda run: problem.swapped(run.centers, rng), [best])
        trials = workers.map(lambda c: problem.descend(c, TOLERANCE, N_SWAP_ITERATIONS), starts)
        trials = sorted(trials, key=lambda run: run.inertia)[:N_PROMISING]
        trials = workers.map(lambda run: problem.descend(run.centers, TOLERANCE), trials)
        trial = min(trials, key=lambda run: run.inertia)
        idle = idle + 1 if best.inertia - trial.inertia <= MIN_GAIN * best.inertia else 0
        best = min(best, trial, key=lambda run: run.inertia)
        if idle == MAX_IDLE_ROUNDS:
            break
    return best


class _Workers:
    """Threads that run independent descents side by side, each with its share of the cores.

    One descent on all cores waits at a barrier many times an iteration, for longer than it computes when
    rows are few or another process has a core. faiss' thread count is per calling thread.
    """

    def __init__(self, backend: str, n_threads: int) -> None:
        n_cores = max(1, faiss.omp_get_max_threads())
        n_workers = 1 if backend != "faiss-cpu" or not n_threads else n_cores
        n_threads = n_threads or n_cores
        self._pool = ThreadPoolExecutor(n_workers, initializer=lambda: faiss.omp_set_num_threads(n_threads))

    def map(self, job: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
        return list(self._pool.map(job, arguments))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)
