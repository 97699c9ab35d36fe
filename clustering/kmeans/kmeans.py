"""k-means on every row, as an estimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, Self

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from clustering.kmeans.lloyd import FEW, Problem, inertia, put_on_grid, search
from clustering.kmeans.memberships import memberships
from clustering.kmeans.restarts import EFFORTS, THOROUGH_ROWS, best_descent
from clustering.kmeans.sharing import sharing
from embedkit.errors import DataError
from embedkit.options import DEVICES
from embedkit.preparing.matrix import BLOCK, as_matrix, too_many_clusters

F32 = NDArray[np.float32]
N_INIT = 10


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """k-means over all rows, with faiss for the nearest centroids.

    Each of `n_init` restarts begins at its own greedy k-means++ seeding and runs some of Lloyd's iterations;
    the best few go on until they converge. The best of these is improved by swaps, one centroid taken out
    of one place and put into another [1]_, and is run until no row changes its cluster. A thorough `search`
    swaps as long as that lowers the inertia; a quick one twice, and has restarts and candidates run on a
    sample of at least 4,096 rows. faiss' own training loop is not used: it takes a sample of 256 rows a
    centroid unless told otherwise, starts from random rows, and stops after a fixed number of iterations.
    Here the iterations at the end decide for every row. A cluster that loses all rows starts again at the row
    that is farthest from its centroid, so that none is empty at the end. With more than 100 clusters the
    seeds are drawn in batches, from at most 50 rows a cluster, there are no swaps unless a thorough search is
    asked for, and the run ends where scikit-learn's does: when the centroids move by less than 1e-4 of the
    features' mean variance (sum of squares).

    Parameters
    ----------
    n_clusters
        k, at least 1.
    n_init
        Restarts; by default 10, and 1 for more than 100 clusters, where it hardly matters.
    search
        ``quick``, which takes less time than scikit-learn's ten restarts, or ``thorough``; by default
        thorough up to 5,000 rows, and quick beyond and for more than 100 clusters.
    max_iter
        Most iterations of any one run.
    spherical
        Scale rows and centroids to unit length, so that clusters go by direction (cosine).
    device
        ``cpu``, ``cuda`` (a GPU that faiss or PyTorch can use, else an error), or ``auto``: a GPU if one of
        the two has it, faiss first.
    copy_x
        False centres and scales a C-ordered float32 `x` where it lies while it is fitted, instead of a copy,
        and puts it back after: as in scikit-learn's `KMeans`, numbers may then differ in their last bits.
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
        Iterations of the last run.
    search_ : str
        Which search it was.
    last_gain_ : float
        By which part of it the last iteration lowered the inertia.
    n_started_on_ : int, optional
        Rows of the sample that it began with, where there are more than 100 clusters and 2,000,000 rows: a
        quick search then makes at most five iterations over all rows.
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
        n_init: int | None = None,
        search: str | None = None,
        max_iter: int = 300,
        spherical: bool = False,
        device: str = "auto",
        copy_x: bool = True,
        random_state: Any = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_init = n_init
        self.search = search
        self.max_iter = max_iter
        self.spherical = spherical
        self.device = device
        self.copy_x = copy_x
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
            if name == "n_init" and value is None:
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise DataError(f"{name}={value!r}: give an integer of at least 1.")
        if self.search not in (None, *EFFORTS):
            raise DataError(f"search={self.search!r} is not one of {', '.join(EFFORTS)}.")
        self.backend_ = _backend(self.device)
        x = as_matrix(self, x)
        n, k = len(x), int(self.n_clusters)
        if k > n:
            raise too_many_clusters(n, k)
        self._fit_frame(x)
        work = self._to_frame(x, out=None if self.copy_x else x)
        try:
            self._fit_work(work, k, on_restart)
        finally:
            if work is x:
                self._from_frame(x)
        return self

    def _fit_work(self, work: F32, k: int, on_restart: Callable[[], Any] | None) -> None:
        n = len(work)
        _check_distinct(work, k)
        put_on_grid(work)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        problem = Problem(work, k, self.spherical, self.max_iter, self.backend_, sharing())
        self.search_ = self.search or ("thorough" if n <= THOROUGH_ROWS and k <= FEW else "quick")
        best = best_descent(problem, n_restarts(k, self.n_init), self.search_, seed, on_restart)
        order = np.argsort(-np.bincount(best.labels, minlength=k), kind="stable")
        self._centers = np.ascontiguousarray(best.centers[order])
        centers = self._centers.astype(np.float64) * self._scale + self._shift
        self.cluster_centers_ = centers.astype(np.float32)
        self.labels_ = np.argsort(order)[best.labels]
        self.inertia_ = float(best.inertia * self._scale**2)
        self.n_iter_ = best.n_iter
        self.last_gain_ = best.gain
        self.n_started_on_ = best.started_on

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return the nearest cluster (n,) of each row of `x` (n, d)."""
        check_is_fitted(self)
        return search(self._checked(x), self._centers, self.backend_, 1)[1][:, 0]

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
        _, index = search(work, self._centers, self.backend_, 1)
        return -inertia(work, index[:, 0], self._centers) * self._scale**2

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

    def _from_frame(self, x: F32) -> None:
        """Put back what was centred and scaled in place."""
        for start in range(0, len(x), BLOCK):
            rows = slice(start, start + BLOCK)
            x[rows] = x[rows] * self._scale + self._shift

    def _to_frame(self, x: F32, *, out: F32 | None = None) -> F32:
        work = np.empty_like(x) if out is None or self.spherical else out
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


def n_restarts(k: int, n_init: int | None = None) -> int:
    """Return the number of restarts for `k` clusters where `n_init` were asked for, or none in particular."""
    return n_init or (N_INIT if k <= FEW else 1)


def _check_distinct(x: F32, k: int) -> None:
    # Most files have k distinct rows among the first few; sorting all of them is left for those that don't.
    for part in (x[: 4 * k + 100], x):
        n_distinct = len(np.unique(part, axis=0))
        if n_distinct >= k:
            return
    raise DataError(
        f"{len(x)} rows, but only {n_distinct} of them distinct, for {k} clusters. Ask for at most "
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
