"""The clustering methods by name, behind one interface: a matrix and settings in, `Clusters` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clustering.agglomerative import Agglomerative
from clustering.choose_hdbscan import MIN_SAMPLES, DensityChoice, choose_density, default_sizes
from clustering.density.hdbscan import HDBSCAN
from clustering.kmeans.kmeans import KMeans, n_restarts
from clustering.manifold import MIN_ROWS, UMAP
from clustering.mixture import GMM
from clustering.options import AUTO, Settings
from clustering.temi import TEMI, default_epochs
from embedkit.errors import DataError
from embedkit.files.results import Metric
from embedkit.preparing.matrix import BLOCK, too_many_clusters

N_INIT_GMM = 3
# Soft assignments of up to so many numbers are kept, half a GiB: 67,000 rows and 1,000 clusters.
MAX_SOFT = 1 << 26
# Rows of more bytes are clustered where they lie, without a copy.
MAX_COPIED = 1 << 30

OnStep = Callable[[], Any]


@dataclass(frozen=True)
class Assigned:
    """Which cluster rows belong to.

    Parameters
    ----------
    labels : (n,) int64
        Cluster of each row, -1 for noise.
    distance : (n,) float64
        To the centre of the own cluster, in the space that was clustered; NaN for noise.
    probability : (n,) float64, optional
        Strength of membership in the own cluster, where the method has one.
    soft : (n, k) float64, optional
        How much each row belongs to each cluster; None where that is more than `MAX_SOFT` numbers.
    n_clusters
        k.
    """

    labels: NDArray[np.int64]
    distance: NDArray[np.float64]
    probability: NDArray[np.float64] | None
    soft: NDArray[np.float64] | None
    n_clusters: int

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows in each cluster (k,), noise left out."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.n_clusters)


@dataclass(frozen=True)
class Model:
    """A fitted method: assigns rows without fitting again.

    Parameters
    ----------
    estimator
        `KMeans`, `HDBSCAN`, `Agglomerative`, `GMM` or `TEMI`.
    centers : (k, m) float64
        Centre of each cluster in the estimator's space.
    reducer
        `UMAP`, where it comes before the estimator.
    """

    estimator: Any
    centers: NDArray[np.float64]
    reducer: UMAP | None = None

    def assign(self, x: NDArray[Any]) -> Assigned:
        """Assign rows (n, d), prepared as the fitted ones were.

        k-means and agglomerative clustering take the nearest centre (the tree of the latter knows no new
        rows), a mixture the likeliest component, HDBSCAN the package's ``approximate_predict``, and UMAP
        first finds a place for each row among the fitted ones.
        """
        z = x if self.reducer is None else self.reducer.transform(x)
        if isinstance(self.estimator, HDBSCAN):
            return self._assigned(z, *self.estimator.approximate_predict(z))
        return self._assigned(z, self.estimator.predict(z))

    def memberships(self, x: NDArray[Any] | None, assigned: Assigned) -> NDArray[np.float64]:
        """Return how much each row belongs to each cluster (n, k).

        Of HDBSCAN the package's soft membership vectors, which rows of noise have too; else the `soft` of
        what was assigned.

        Parameters
        ----------
        x : (n, d), optional
            The rows, prepared; None for those that were fitted.
        assigned
            Where they went.

        Raises
        ------
        DataError
            More than `MAX_SOFT` numbers.
        """
        n, k = len(assigned.labels), assigned.n_clusters
        if n * k > MAX_SOFT:
            raise DataError(
                f"--memberships of {n:,} rows in {k:,} clusters are more than {MAX_SOFT:,} numbers."
            )
        if isinstance(self.estimator, HDBSCAN):
            z = x if x is None or self.reducer is None else self.reducer.transform(x)
            return self.estimator.membership_vectors(z)
        assert assigned.soft is not None  # not larger than allowed
        return assigned.soft

    def _assigned(
        self, z: NDArray[Any], labels: NDArray[np.int64], strength: NDArray[np.float64] | None = None
    ) -> Assigned:
        inside = np.flatnonzero(labels >= 0)
        k, rows = len(self.centers), np.arange(len(z))
        probability, soft = strength, None
        if isinstance(self.estimator, HDBSCAN):
            assert strength is not None  # for mypy
            soft = np.zeros((len(z), k))
            soft[inside, labels[inside]] = strength[inside]
        elif len(z) * k <= MAX_SOFT:
            soft = self.estimator.predict_proba(z)
            if not isinstance(self.estimator, KMeans | Agglomerative):
                probability = soft[rows, labels]
        distance = np.full(len(z), np.nan)
        if isinstance(self.estimator, KMeans):
            # Not to `centers`: spherical k-means measures rows of unit length.
            for start in range(0, len(z), BLOCK):
                part = slice(start, start + BLOCK)
                to_all = self.estimator.transform(z[part])
                distance[part] = to_all[rows[: len(to_all)], labels[part]]
        else:
            distance[inside] = np.linalg.norm(z[inside] - self.centers[labels[inside]], axis=1)
        return Assigned(labels, distance, probability, soft, k)


@dataclass(frozen=True)
class Clusters(Assigned):
    """What a method made of the rows that it was fitted on.

    Parameters
    ----------
    settings
        Every setting that was used, the defaults included.
    metrics
        What the method itself measures, such as ``inertia``.
    noise
        Whether the method may leave rows out.
    backend
        What computed it.
    model
        Assigns new rows.
    choice
        How HDBSCAN's sizes were chosen, where that was asked.
    """

    settings: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    noise: bool
    backend: str
    model: Model
    choice: DensityChoice | None = None


@dataclass(frozen=True)
class Method:
    """A method; `clustering.options.SETTINGS` says which settings mean something to it.

    Parameters
    ----------
    fit
        ``fit(x, settings, seed, on_step)``: `on_step` is called `n_steps(settings, n)` times.
    n_steps
        Steps of a progress bar for n rows.
    random
        Whether the seed changes anything.
    """

    fit: Callable[[NDArray[np.float32], Settings, int, OnStep], Clusters]
    n_steps: Callable[[Settings, int], int] = field(default=lambda *_: 1)
    random: bool = True


def fit_kmeans(x: NDArray[np.float32], settings: Settings, seed: int, on_step: OnStep) -> Clusters:
    """Cluster `x` (n, d) by `KMeans`."""
    estimator = KMeans(
        _k(settings),
        n_init=n_restarts(_k(settings), settings.n_init),
        search=settings.search,
        spherical=bool(settings.spherical),
        device=settings.device or "auto",
        copy_x=x.nbytes <= MAX_COPIED,
        random_state=seed,
    ).fit(x, on_restart=on_step)
    note = None
    if estimator.n_started_on_ is not None:
        note = (
            f"begun on {estimator.n_started_on_:,} rows, then {estimator.n_iter_} passes over all; the last "
            f"lowered it by {estimator.last_gain_:.2%}"
        )
    return _clusters(
        Model(estimator, estimator.cluster_centers_.astype(np.float64)),
        x,
        estimator.labels_,
        settings={
            **{name: getattr(estimator, name) for name in ("n_init", "max_iter", "spherical")},
            "search": estimator.search_,
        },
        metrics={"inertia": Metric(estimator.inertia_, note=note)},
        backend=estimator.backend_,
    )


def fit_hdbscan(x: NDArray[np.float32], settings: Settings, seed: int, on_step: OnStep) -> Clusters:
    """Cluster `x` (n, d) by `HDBSCAN`, which has no randomness: `seed` changes nothing."""
    del seed
    device = settings.device or "auto"
    drawn: dict[str, Any] = {
        "cluster_selection_method": settings.selection or "eom",
        "cluster_selection_epsilon": settings.epsilon or 0.0,
        "allow_single_cluster": bool(settings.allow_single_cluster),
    }
    choice = _chosen_sizes(x, settings, device, drawn)
    if choice is None:
        sizes, chosen = (settings.min_cluster_size, settings.min_samples), {}
    else:
        sizes = choice.min_cluster_size, choice.min_samples
        chosen = {"target_noise": settings.target_noise, "choice": choice.record()}
    assert not isinstance(sizes[0], str)  # for mypy: AUTO has become a choice
    estimator = HDBSCAN(sizes[0], min_samples=sizes[1], device=device, **drawn).fit(x)
    on_step()
    soft = np.zeros((len(x), estimator.n_clusters_))
    inside = np.flatnonzero(estimator.labels_ >= 0)
    soft[inside, estimator.labels_[inside]] = estimator.probabilities_[inside]
    clusters = _clusters(
        # The centre is the mean weighted by strength, the package's own notion of a centroid.
        Model(estimator, _weighted_means(x, soft)),
        x,
        estimator.labels_,
        estimator.probabilities_,
        settings={
            "min_cluster_size": estimator.min_cluster_size_,
            "min_samples": estimator.min_samples_,
            "cluster_selection_method": estimator.cluster_selection_method,
            **({"cluster_selection_epsilon": settings.epsilon} if settings.epsilon else {}),
            **({"allow_single_cluster": True} if settings.allow_single_cluster else {}),
            **chosen,
        },
        backend=f"hdbscan ({estimator.backend_})",
    )
    return replace(clusters, choice=choice)


def _chosen_sizes(
    x: NDArray[np.float32], settings: Settings, device: str, drawn: Mapping[str, Any]
) -> DensityChoice | None:
    if settings.target_noise is None and settings.min_cluster_size != AUTO:
        return None
    neighbours = MIN_SAMPLES if settings.min_samples is None else (settings.min_samples,)
    grid = default_sizes(len(x)), neighbours
    return choose_density(x, target_noise=settings.target_noise, grid=grid, device=device, drawn=drawn)


def fit_agglomerative(x: NDArray[np.float32], settings: Settings, seed: int, on_step: OnStep) -> Clusters:
    """Cluster `x` (n, d) by `Agglomerative`, which has no randomness: `seed` changes nothing."""
    del seed
    estimator = Agglomerative(_k(settings), linkage=settings.linkage or "ward").fit(x)
    on_step()
    return _clusters(
        Model(estimator, estimator.cluster_centers_),
        x,
        estimator.labels_,
        settings={"linkage": estimator.linkage},
        backend="scikit-learn",
    )


def fit_gmm(x: NDArray[np.float32], settings: Settings, seed: int, on_step: OnStep) -> Clusters:
    """Cluster `x` (n, d) by `GMM`."""
    estimator = GMM(
        _k(settings),
        covariance_type=settings.covariance or "full",
        n_init=settings.n_init or N_INIT_GMM,
        random_state=seed,
    ).fit(x)
    on_step()
    converged = None if estimator.converged_ else f"not converged in {estimator.max_iter} iterations"
    return _clusters(
        Model(estimator, estimator.means_),
        x,
        estimator.labels_,
        settings={
            "n_init": estimator.n_init,
            "max_iter": estimator.max_iter,
            "covariance": estimator.covariance_type,
        },
        metrics={"bic_loss": Metric(estimator.bic_, note=converged)},
        backend="scikit-learn",
    )


def fit_temi(x: NDArray[np.float32], settings: Settings, seed: int, on_step: OnStep) -> Clusters:
    """Cluster `x` (n, d) by `TEMI`."""
    asked = {name: getattr(settings, name) for name in ("n_heads", "beta", "epochs")}
    estimator = TEMI(
        _k(settings),
        **{name: value for name, value in asked.items() if value is not None},
        random_state=seed,
        device=settings.device or "auto",
    ).fit(x, on_epoch=on_step)
    names = ("n_heads", "n_neighbors_", "beta", "momentum", "n_steps_")
    return _clusters(
        Model(estimator, _weighted_means(x, estimator.predict_proba(x))),
        x,
        estimator.labels_,
        settings={name.rstrip("_"): getattr(estimator, name) for name in names},
        metrics={
            "head_loss": Metric(
                float(estimator.head_losses_.min()), note="of the head with the lowest, which is taken"
            )
        },
        backend=estimator.backend_,
    )


def after_umap(
    fit: Callable[[NDArray[np.float32], Settings, int, OnStep], Clusters],
) -> Callable[[NDArray[np.float32], Settings, int, OnStep], Clusters]:
    """Return a method that reduces by `UMAP` first and has distances in its space."""

    def fit_after_umap(x: NDArray[np.float32], settings: Settings, seed: int, on_step: OnStep) -> Clusters:
        if isinstance(settings.k, int) and settings.k > len(x):
            # Before UMAP, which takes its time.
            raise too_many_clusters(len(x), settings.k)
        if len(x) < MIN_ROWS:
            raise DataError(
                f"{len(x)} rows are too few for UMAP, which needs {MIN_ROWS}. Take a method without it, such "
                "as --method kmeans."
            )
        reducer = UMAP(
            settings.n_components or UMAP().n_components,
            n_neighbors=settings.n_neighbors or UMAP().n_neighbors,
            random_state=seed,
        )
        places = reducer.fit_transform(x)
        on_step()
        clusters = fit(places, settings, seed, on_step)
        own = {
            "n_components": places.shape[1],
            "n_neighbors": reducer.n_neighbors_,
            "min_dist": reducer.min_dist,
        }
        return replace(
            clusters,
            settings={**clusters.settings, "umap": own},
            backend=f"umap-learn, {clusters.backend}",
            model=replace(clusters.model, reducer=reducer),
        )

    return fit_after_umap


def _k(settings: Settings) -> int:
    if not isinstance(settings.k, int):
        raise DataError("the method needs the number of clusters, k.")
    return settings.k


def _weighted_means(x: NDArray[Any], soft: NDArray[np.float64]) -> NDArray[np.float64]:
    weight = soft.sum(axis=0)[:, np.newaxis]
    return np.asarray((soft.T @ x) / np.where(weight > 0, weight, 1))


def _clusters(
    model: Model,
    x: NDArray[np.float32],
    labels: NDArray[np.int64],
    strength: NDArray[np.float64] | None = None,
    *,
    settings: Mapping[str, Any],
    metrics: Mapping[str, Metric] | None = None,
    backend: str,
) -> Clusters:
    assigned = model._assigned(x, labels, strength)
    given_k = not isinstance(model.estimator, HDBSCAN)
    return Clusters(
        **vars(assigned),
        settings={"k": len(model.centers), **settings} if given_k else settings,
        metrics=metrics or {},
        noise=not given_k,
        backend=backend,
        model=model,
    )


METHODS = {
    "kmeans": Method(fit_kmeans, lambda settings, _: n_restarts(_k(settings), settings.n_init)),
    "hdbscan": Method(fit_hdbscan, random=False),
    "agglomerative": Method(fit_agglomerative, random=False),
    "gmm": Method(fit_gmm),
    "umap+kmeans": Method(
        after_umap(fit_kmeans), lambda settings, _: 1 + n_restarts(_k(settings), settings.n_init)
    ),
    "umap+hdbscan": Method(after_umap(fit_hdbscan), lambda *_: 2),
    "temi": Method(fit_temi, lambda settings, n: settings.epochs or default_epochs(n)),
}
