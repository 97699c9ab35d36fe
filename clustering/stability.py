"""Which clusters come back when the images are drawn again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import adjusted_rand_score

from clustering.matching import I64
from embedkit.errors import DataError, EmbedkitError
from embedkit.preparing.matrix import check_finite

F64 = NDArray[np.float64]
# Hennig's reading of the mean similarity: above STABLE a cluster is there, below DISSOLVED it is not.
STABLE, DISSOLVED = 0.75, 0.5


@dataclass(frozen=True)
class Stability:
    """How clusters fare under resampling.

    Parameters
    ----------
    clusters : (n,) int64
        Clusters of all rows, -1 for noise: what is judged.
    similarity : (k,) float64
        Of each cluster, in the order of their numbers: mean over resamples of the Jaccard similarity with the
        cluster of the resample that is most like it. 1: always found again. Small or many clusters reach
        0.5 by chance, so that less says the cluster dissolved.
    spread : (k,) float64
        Standard deviation of it over resamples; NaN with one.
    dissolved : (k,) float64
        Part of the resamples in which it is at most 0.5.
    ari : float
        Mean adjusted Rand index between the clusters and those of a resample, over the rows drawn.
    ari_range : (float, float)
        Its 2.5 and 97.5 % quantiles over resamples.
    n_resamples : int
    n_failed : int
        Resamples that could not be clustered (fewer distinct rows than clusters, say): they count as
        similarity 0, and not in the Rand index.
    """

    clusters: I64
    similarity: F64
    spread: F64
    dissolved: F64
    ari: float
    ari_range: tuple[float, float]
    n_resamples: int
    n_failed: int

    @property
    def verdicts(self) -> tuple[str, ...]:
        """``stable``, ``doubtful`` or ``dissolved`` for each cluster."""
        return tuple(
            "stable" if value >= STABLE else "doubtful" if value > DISSOLVED else "dissolved"
            for value in self.similarity
        )


def cluster_stability(
    x: ArrayLike,
    fit: Callable[[NDArray[Any], int], I64],
    *,
    clusters: I64 | None = None,
    n_resamples: int = 20,
    on_resample: Callable[[], Any] | None = None,
    seed: int = 0,
) -> Stability:
    """Cluster bootstrap resamples and look every cluster up in them [1]_.

    A resample draws n rows with replacement. Its clusters and those of all rows are compared on the rows
    that were drawn, each counted once: a row drawn twice says nothing more of a cluster's place.

    Parameters
    ----------
    x : (n, d)
        What is clustered, prepared.
    fit
        ``fit(rows (m, d), seed) -> clusters (m,)``, -1 for noise.
    clusters : (n,) int64, optional
        Clusters of all rows, if they are known; else ``fit(x, seed)``.
    n_resamples
        Resamples, at least 1.
    on_resample
        Called after each.
    seed
        Of the resamples, and handed on to `fit` with the number of the resample added.

    Raises
    ------
    DataError
        NaN, `clusters` that don't fit, all rows noise, or no resample that could be clustered.

    References
    ----------
    .. [1] C. Hennig, Cluster-wise assessment of cluster stability, Computational Statistics & Data Analysis
       52 (2007), doi:10.1016/j.csda.2006.11.025. His scheme of bootstrapping, with noise as no cluster.
    """
    rows = np.asarray(x)
    if rows.ndim != 2 or len(rows) < 2:
        raise DataError(f"rows of shape {rows.shape}; stability needs at least 2 rows of (n, d).")
    check_finite(rows)
    if n_resamples < 1:
        raise DataError(f"n_resamples={n_resamples}: give at least 1.")
    whole = np.asarray(fit(rows, seed) if clusters is None else clusters)
    if whole.shape != (len(rows),):
        raise DataError(f"clusters of shape {whole.shape} don't fit {len(rows)} rows.")
    numbers = np.unique(whole[whole >= 0])
    if not len(numbers):
        raise DataError("every row is noise: no cluster whose stability could be measured.")
    rng = np.random.default_rng(seed)
    similarity = np.zeros((n_resamples, len(numbers)))
    aris: list[float] = []
    for i in range(n_resamples):
        drawn = np.sort(rng.integers(len(rows), size=len(rows)))
        try:
            again = np.asarray(fit(rows[drawn], seed + 1 + i))
        except EmbedkitError:
            again = None
        if again is not None:
            seen, first = np.unique(drawn, return_index=True)
            similarity[i] = _most_alike(whole[seen], again[first], numbers)
            aris.append(float(adjusted_rand_score(whole[seen], again[first])))
        if on_resample is not None:
            on_resample()
    if not aris:
        raise DataError("no resample could be clustered: too few distinct rows for so many clusters.")
    low, high = np.quantile(aris, [0.025, 0.975])
    return Stability(
        clusters=whole.astype(np.int64),
        similarity=similarity.mean(axis=0),
        spread=similarity.std(axis=0, ddof=1) if n_resamples > 1 else np.full(len(numbers), np.nan),
        dissolved=(similarity <= DISSOLVED).mean(axis=0),
        ari=float(np.mean(aris)),
        ari_range=(float(low), float(high)),
        n_resamples=n_resamples,
        n_failed=n_resamples - len(aris),
    )


def _most_alike(whole: I64, again: I64, numbers: I64) -> F64:
    """Largest Jaccard similarity (k,) of the clusters `numbers` of `whole` with any of `again`."""
    others, index = np.unique(again, return_inverse=True)
    k, m = len(numbers), len(others)
    inside = whole >= 0
    place = np.searchsorted(numbers, whole[inside])
    table = np.bincount(place * m + index[inside], minlength=k * m).reshape(k, m)
    union = table.sum(axis=1)[:, np.newaxis] + np.bincount(index, minlength=m) - table
    jaccard = table / np.where(union > 0, union, 1)
    best: F64 = jaccard[:, others >= 0].max(axis=1, initial=0.0)
    return best
