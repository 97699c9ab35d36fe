"""Choosing the number of clusters, or how dense they are, from evidence that needs no labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, spearmanr
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_mutual_info_score, silhouette_score
from sklearn.mixture import GaussianMixture

from clustering.exact_hdbscan import exact_hdbscan
from clustering.kmeans import KMeans
from clustering.matching import I64
from clustering.matrix import check_finite
from clustering.stability import cluster_stability
from embedkit.errors import DataError, UsageError
from embedkit.pca import PCA

F64 = NDArray[np.float64]
N_ROWS = 5000
N_REDUCED = 10
N_INIT = 4
# A cliff is a fall between neighbouring settings of at least this part of the whole range of a curve.
CLIFF = 0.25
SIZE_SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)
MIN_SAMPLES = (1, 2, 5, 10, 20, 50)
# Shares of noise that differ by less are equally near a target.
NOISE_TOLERANCE = 0.01


@dataclass(frozen=True)
class Cliff:
    """A sudden fall of one curve of evidence: clusters up to `k` hold, the next ones don't.

    Parameters
    ----------
    evidence
        Name of the curve.
    k, next_k
        Neighbouring values between which it falls.
    share
        The fall as a part of the curve's range.
    """

    evidence: str
    k: int
    next_k: int
    share: float


@dataclass(frozen=True)
class Tracking:
    """How well evidence without labels tracked the agreement with labels.

    Parameters
    ----------
    scores : (m,) float64
        Adjusted mutual information with the labels at each setting. (Unlike accuracy it does not favour
        as many clusters as classes by construction.)
    correlation
        Spearman's rank correlation of each evidence with it; NaN where one of them is constant.
    cost
        Score of the best setting less that of the one chosen.
    """

    scores: F64
    correlation: Mapping[str, float]
    cost: float


@dataclass(frozen=True)
class KChoice:
    """A number of clusters and why.

    Parameters
    ----------
    k
        What the rule picks.
    ks : (m,) int64
        The numbers tried, rising.
    evidence
        Curves (m,) over `ks`, all higher for better: ``silhouette`` of k-means in the reduced space,
        ``bic_gain`` (by how much a Gaussian mixture of k components beats a single Gaussian there, in
        nats a row: half the difference of BIC over n) and ``stability`` (adjusted Rand index between
        k-means and that of bootstrap resamples).
    mean_rank : (m,) float64
        Mean over the curves of the rank of each k, 1 for the best.
    rule
        How `k` was picked, in words.
    cliffs
        Where curves fall.
    clusters : (m, rows) int64
        Clusters at each k, of the rows that were looked at.
    rows : (rows,) int64
        Which these are.
    n_reduced
        Dimensions of the reduced space.
    tracking
        Where labels were given.
    """

    k: int
    ks: I64
    evidence: Mapping[str, F64]
    mean_rank: F64
    rule: str
    cliffs: tuple[Cliff, ...]
    clusters: I64
    rows: I64
    n_reduced: int
    tracking: Tracking | None


@dataclass(frozen=True)
class DensityChoice:
    """Parameters of HDBSCAN and why.

    Parameters
    ----------
    min_cluster_size, min_samples
        What the rule picks.
    min_cluster_sizes : (a,) int64
    min_samples_grid : (b,) int64
        What was tried.
    validity : (a, b) float64
        Relative validity, -1 to 1: the `hdbscan` package's quick form of DBCV [1]_, comparable
        between settings on the same rows; NaN with fewer than two clusters.
    noise_share : (a, b) float64
    n_clusters : (a, b) int64
    clusters : (n,) int64
        Clusters of the setting picked, -1 for noise.
    target_noise
        What was asked for.
    rule
        How it was picked, in words.
    tracking
        Where labels were given; its scores are over the grid, row by row. The correlations are over settings
        with two clusters or more: the others, of no validity and no agreement, would raise them.

    References
    ----------
    .. [1] D. Moulavi et al., Density-based clustering validation, SDM 2014.
    """

    min_cluster_size: int
    min_samples: int
    min_cluster_sizes: I64
    min_samples_grid: I64
    validity: F64
    noise_share: F64
    n_clusters: I64
    clusters: I64
    target_noise: float | None
    rule: str
    tracking: Tracking | None


def choose_k(
    x: ArrayLike,
    ks: Sequence[int],
    *,
    labels: I64 | None = None,
    n_resamples: int = 5,
    on_step: Callable[[], Any] | None = None,
    seed: int = 0,
) -> KChoice:
    """Pick the number of clusters with the best mean rank over silhouette, BIC and bootstrap stability.

    Three kinds of evidence fail in different ways (silhouette and stability like few clusters, BIC likes
    many where clusters are not Gaussian), so none decides alone and their scales don't matter. k-means runs
    in the space of `x`; silhouette and mixture look at its first 10 principal components. At most 5,000 rows
    are looked at. A tie goes to the smaller k.

    Parameters
    ----------
    x : (n, d)
        What is clustered, prepared.
    ks
        Numbers to try, at least 2 each.
    labels : (n,) int64, optional
        To say afterwards how well the evidence tracked them; -1 for none. They change no choice.
    n_resamples
        Bootstrap resamples for the stability of each k.
    on_step
        Called after each k.
    seed
        Of the sample, k-means, mixtures and resamples.

    Raises
    ------
    UsageError
        No number to try, or one below 2.
    DataError
        NaN, or fewer (distinct) rows than clusters.
    """
    grid = sorted({int(k) for k in ks})
    if not grid or grid[0] < 2:
        raise UsageError(f"numbers of clusters {grid}: give some, each at least 2.")
    points = np.asarray(x)
    if points.ndim != 2 or grid[-1] >= len(points):
        raise DataError(
            f"features of shape {points.shape} can't make {grid[-1]} clusters: fewer, or more rows."
        )
    check_finite(points)
    if labels is not None and np.shape(labels) != (len(points),):
        raise DataError(f"labels of shape {np.shape(labels)} don't fit {len(points)} rows.")
    rng = np.random.default_rng(seed)
    rows = np.arange(len(points))
    if len(rows) > N_ROWS:
        rows = np.sort(rng.choice(rows, N_ROWS, replace=False))
    z = np.ascontiguousarray(points[rows], dtype=np.float32)
    reduced = PCA(min(N_REDUCED, *z.shape)).fit_transform(z).astype(np.float64)
    single = _bic(reduced, 1, None, seed)

    clusters = np.empty((len(grid), len(rows)), dtype=np.int64)
    curves: dict[str, list[float]] = {"silhouette": [], "bic_gain": [], "stability": []}
    for i, k in enumerate(grid):
        clusters[i] = _kmeans(z, k, seed)
        curves["silhouette"].append(float(silhouette_score(reduced, clusters[i])))
        curves["bic_gain"].append((single - _bic(reduced, k, clusters[i], seed)) / (2 * len(rows)))
        stability = cluster_stability(
            z,
            lambda sample, number, k=k: _kmeans(sample, k, number),  # type: ignore[misc]
            clusters=clusters[i],
            n_resamples=n_resamples,
            seed=seed,
        )
        curves["stability"].append(stability.ari)
        if on_step is not None:
            on_step()
    evidence = {name: np.array(curve) for name, curve in curves.items()}
    mean_rank = np.mean([rankdata(-np.round(curve, 12)) for curve in evidence.values()], axis=0)
    best = int(np.argmin(np.round(mean_rank, 9)))
    rule = (
        f"best mean rank ({mean_rank[best]:.2f} of {len(grid)}) over silhouette, BIC of a Gaussian mixture "
        "and bootstrap stability; ties to the smaller k"
    )
    if (evidence["bic_gain"] <= 0).all():
        rule += ". A single Gaussian has the better BIC than any of them: there may be no clusters"
    tracking = None
    if labels is not None:
        scores = np.array([_agreement(labels[rows], own) for own in clusters])
        tracking = _tracking(scores, {**evidence, "mean_rank": -mean_rank}, best)
    cliffs = tuple(cliff for name, curve in evidence.items() for cliff in find_cliffs(name, grid, curve))
    return KChoice(
        k=grid[best],
        ks=np.array(grid),
        evidence=evidence,
        mean_rank=mean_rank,
        rule=rule,
        cliffs=cliffs,
        clusters=clusters,
        rows=rows,
        n_reduced=reduced.shape[1],
        tracking=tracking,
    )


def find_cliffs(name: str, ks: Sequence[int], curve: F64) -> tuple[Cliff, ...]:
    """Return where a curve (m,) over rising `ks` falls by a quarter of its range or more at one step."""
    extent = float(np.ptp(curve))
    if extent <= 0:
        return ()
    falls = -np.diff(curve) / extent
    return tuple(
        Cliff(name, int(ks[i]), int(ks[i + 1]), float(fall)) for i, fall in enumerate(falls) if fall >= CLIFF
    )


def choose_density(
    x: ArrayLike,
    *,
    target_noise: float | None = None,
    labels: I64 | None = None,
    grid: tuple[Sequence[int], Sequence[int]] | None = None,
    device: str = "auto",
    on_step: Callable[[], Any] | None = None,
) -> DensityChoice:
    """Pick HDBSCAN's parameters by relative validity, or so that a share of the rows is noise.

    Without a target, the setting of highest relative validity. With one, that whose share of noise is nearest
    to it, and among those within 0.01 of the nearest the one of highest validity. Only settings that find at
    least two clusters count, as long as there is one. One spanning tree serves all `min_cluster_size`.
    Nothing here is random.

    Parameters
    ----------
    x : (n, d)
        What is clustered, prepared.
    target_noise
        Share of the rows that should be noise, from 0 up to but not 1.
    labels : (n,) int64, optional
        To say afterwards how well validity tracked them; -1 for none. They change no choice.
    grid
        ``(min_cluster_sizes, min_samples)``; by default 0.5, 1, 2, 5 and 10 % of the rows (at least 5) and 1
        to 50 neighbours.
    device
        See `HDBSCAN`.
    on_step
        Called after each value of `min_samples`.

    Raises
    ------
    UsageError
        A target or a grid out of range.
    DataError
        NaN, fewer than ten rows, or all rows equal.
    """
    points = np.asarray(x)
    if points.ndim != 2 or len(points) < 10:
        raise DataError(
            f"features of shape {points.shape}; a choice of density needs at least 10 rows of (n, d)."
        )
    check_finite(points)
    n = len(points)
    if (points == points[0]).all():
        raise DataError(f"all {n} rows are equal: there is no density to choose.")
    if labels is not None and np.shape(labels) != (n,):
        raise DataError(f"labels of shape {np.shape(labels)} don't fit {n} rows.")
    if target_noise is not None and not 0 <= target_noise < 1:
        raise UsageError(f"--target-noise {target_noise}: give a share from 0 to less than 1, as in 0.2.")
    sizes, neighbors = grid or ([max(5, round(share * n)) for share in SIZE_SHARES], MIN_SAMPLES)
    sizes = sorted({min(int(size), n) for size in sizes})
    neighbors = sorted({min(int(k), n - 1) for k in neighbors})
    if not sizes or not neighbors or sizes[0] < 2 or neighbors[0] < 1:
        raise UsageError(
            f"grid {sizes} x {neighbors}: give minimum cluster sizes of at least 2 and at least 1 neighbour."
        )
    shape = (len(sizes), len(neighbors))
    validity, noise = np.full(shape, np.nan), np.ones(shape)
    counts = np.zeros(shape, dtype=np.int64)
    clusters = np.empty((*shape, n), dtype=np.int64)
    for j, k in enumerate(neighbors):
        tree = None
        for i, size in enumerate(sizes):
            model = exact_hdbscan(points, min_cluster_size=size, min_samples=k, device=device, tree=tree)
            tree = model.spanning_tree_
            clusters[i, j] = model.labels_
            noise[i, j] = float((model.labels_ < 0).mean())
            counts[i, j] = int(model.labels_.max()) + 1
            if counts[i, j] >= 2:
                validity[i, j] = _validity(model)
        if on_step is not None:
            on_step()

    several = counts >= 2
    candidates = np.flatnonzero((several if several.any() else np.ones_like(several)).ravel())
    value = np.nan_to_num(validity.ravel(), nan=-1.0)
    share = noise.ravel()
    if target_noise is None:
        # Ties, as between settings that find the same clusters, go to less noise and the first of the grid.
        best = int(min(candidates, key=lambda c: (-round(value[c], 12), share[c])))
        rule = f"highest relative validity ({value[best]:.3f})"
    else:
        away = np.abs(share - target_noise)
        nearest = candidates[away[candidates] <= away[candidates].min() + NOISE_TOLERANCE]
        best = int(min(nearest, key=lambda c: (-round(value[c], 12), away[c])))
        rule = f"noise nearest to {target_noise:g} ({share[best]:.3f}), then highest relative validity"
    i, j = divmod(best, len(neighbors))
    if not several.any():
        rule += "; no setting finds two clusters"
    tracking = None
    if labels is not None:
        scores = np.array([_agreement(labels, own) for own in clusters.reshape(-1, n)])
        tracking = _tracking(scores, {"validity": value, "coverage": 1 - share}, best, several.ravel())
    return DensityChoice(
        min_cluster_size=sizes[i],
        min_samples=neighbors[j],
        min_cluster_sizes=np.array(sizes),
        min_samples_grid=np.array(neighbors),
        validity=validity,
        noise_share=noise,
        n_clusters=counts,
        clusters=clusters[i, j].copy(),
        target_noise=target_noise,
        rule=rule,
        tracking=tracking,
    )


def _kmeans(x: NDArray[Any], k: int, seed: int) -> I64:
    model = KMeans(k, n_init=N_INIT, random_state=seed, device="cpu").fit(x)
    labels: I64 = model.labels_
    return labels


def _bic(x: F64, k: int, clusters: I64 | None, seed: int) -> float:
    """BIC, lower is better, of a mixture of full covariances that starts at the clusters."""
    start = None if clusters is None else np.stack([x[clusters == c].mean(axis=0) for c in range(k)])
    # Without a floor in the features' own units, a few equal rows make a component of infinite density.
    floor = 1e-4 * float(x.var(axis=0).mean())
    model = GaussianMixture(k, means_init=start, reg_covar=floor, random_state=seed, max_iter=50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float(model.fit(x).bic(x))


def _validity(model: Any) -> float:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        value = float(model.relative_validity_)
    return value if np.isfinite(value) else np.nan


def _agreement(labels: I64, clusters: I64) -> float:
    known = labels >= 0
    return float(adjusted_mutual_info_score(labels[known], clusters[known])) if known.any() else np.nan


def _tracking(
    scores: F64, evidence: Mapping[str, F64], chosen: int, counted: NDArray[np.bool_] | None = None
) -> Tracking:
    def correlation(values: F64) -> float:
        own, others = (values, scores) if counted is None else (values[counted], scores[counted])
        if len(own) < 2 or np.ptp(own) <= 0 or not np.ptp(others) > 0:
            return np.nan
        return float(spearmanr(own, others).statistic)

    found = {name: correlation(values) for name, values in evidence.items()}
    return Tracking(scores, found, float(scores.max() - scores[chosen]))
