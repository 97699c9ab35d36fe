"""The clustering methods by name, behind one interface: a matrix and settings in, `Clusters` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clustering.density import HDBSCAN
from clustering.kmeans import KMeans
from embedkit.errors import DataError
from embedkit.results import Metric

N_INIT = 10


@dataclass(frozen=True)
class Clusters:
    """What a method made of n rows.

    Parameters
    ----------
    labels : (n,) int64
        Cluster of each row, -1 for noise.
    distance : (n,) float64
        To the centre of the own cluster; NaN for noise.
    probability : (n,) float64, optional
        Strength of membership in the own cluster, where the method has one.
    soft : (n, k) float64
        How much each row belongs to each cluster.
    settings
        Every setting that was used, the defaults included.
    metrics
        What the method itself measures, such as ``inertia``.
    noise
        Whether the method may leave rows out.
    backend
        What computed it.
    """

    labels: NDArray[np.int64]
    distance: NDArray[np.float64]
    probability: NDArray[np.float64] | None
    soft: NDArray[np.float64]
    settings: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    noise: bool
    backend: str

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows in each cluster (k,), noise left out."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.soft.shape[1])


@dataclass(frozen=True)
class Settings:
    """What a method is asked for; None leaves it to the method.

    Parameters
    ----------
    k
        Clusters, for methods that are given their number.
    n_init, spherical
        See `KMeans`.
    min_cluster_size, min_samples
        See `HDBSCAN`.
    device
        Where it computes.
    """

    k: int | None = None
    n_init: int | None = None
    spherical: bool | None = None
    device: str | None = None
    min_cluster_size: int | None = None
    min_samples: int | None = None


@dataclass(frozen=True)
class Method:
    """A method and the settings that mean something to it.

    Parameters
    ----------
    fit
        ``fit(x, settings, seed, on_step)``: `on_step` is called `n_steps(settings)` times.
    settings
        Names of the fields of `Settings` that apply.
    n_steps
        Steps of a progress bar.
    """

    fit: Callable[[NDArray[np.float32], Settings, int, Callable[[], Any]], Clusters]
    settings: tuple[str, ...]
    n_steps: Callable[[Settings], int]


def fit_kmeans(x: NDArray[np.float32], settings: Settings, seed: int, on_step: Callable[[], Any]) -> Clusters:
    """Cluster `x` (n, d) by `KMeans`."""
    if settings.k is None:
        raise DataError("k-means needs the number of clusters, k.")
    model = KMeans(
        settings.k,
        n_init=N_INIT if settings.n_init is None else settings.n_init,
        spherical=bool(settings.spherical),
        device=settings.device or "auto",
        random_state=seed,
    ).fit(x, on_restart=on_step)
    distances = model.transform(x)
    return Clusters(
        labels=model.labels_,
        distance=distances[np.arange(len(x)), model.labels_].astype(np.float64),
        probability=None,
        soft=model.predict_proba(x),
        settings={
            "k": model.n_clusters,
            "n_init": model.n_init,
            "max_iter": model.max_iter,
            "spherical": model.spherical,
        },
        metrics={"inertia": Metric(model.inertia_)},
        noise=False,
        backend=model.backend_,
    )


def fit_hdbscan(
    x: NDArray[np.float32], settings: Settings, seed: int, on_step: Callable[[], Any]
) -> Clusters:
    """Cluster `x` (n, d) by `HDBSCAN`, which has no randomness: `seed` changes nothing."""
    del seed
    model = HDBSCAN(
        settings.min_cluster_size, min_samples=settings.min_samples, device=settings.device or "auto"
    ).fit(x)
    on_step()
    labels, k = model.labels_, model.n_clusters_
    soft = np.zeros((len(x), k))
    inside = np.flatnonzero(labels >= 0)
    soft[inside, labels[inside]] = model.probabilities_[inside]
    # The centre is the mean weighted by strength, the package's own notion of a centroid.
    weight = soft.sum(axis=0)[:, np.newaxis]
    centers = (soft.T @ x) / np.where(weight > 0, weight, 1)
    distance = np.full(len(x), np.nan)
    distance[inside] = np.linalg.norm(x[inside] - centers[labels[inside]], axis=1)
    return Clusters(
        labels=labels,
        distance=distance,
        probability=model.probabilities_,
        soft=soft,
        settings={
            "min_cluster_size": model.min_cluster_size_,
            "min_samples": model.min_samples_,
            "cluster_selection_method": model.cluster_selection_method,
        },
        metrics={},
        noise=True,
        backend=f"hdbscan ({model.backend_})",
    )


METHODS = {
    "kmeans": Method(
        fit_kmeans, ("k", "n_init", "spherical", "device"), lambda settings: settings.n_init or N_INIT
    ),
    "hdbscan": Method(fit_hdbscan, ("min_cluster_size", "min_samples", "device"), lambda _: 1),
}
