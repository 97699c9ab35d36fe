"""Choosing the number of clusters from evidence that needs no labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture

from clustering.kmeans.kmeans import KMeans
from clustering.matching import I64
from clustering.stability import cluster_stability
from clustering.tracking import F64, Tracking, agreement, track
from embedkit.errors import DataError, UsageError
from embedkit.preparing.matrix import check_finite
from embedkit.preparing.pca import PCA

N_ROWS = 5000
N_REDUCED = 10
N_INIT = 4
# Of few rows, or few different ones, which vary in fewer directions than that.
ALL_VARIANCE = 0.9999
# A cliff is a fall between neighbouring settings of at least this part of the whole range of a curve.
CLIFF = 0.25


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


def in_words(evidence: str) -> str:
    """Return the name of a curve as people write it: ``bic_gain`` is ``BIC gain``."""
    words = evidence.replace("_", " ").split()
    return " ".join(word.upper() if word in ("bic", "ami") else word for word in words)


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

    def record(self) -> dict[str, Any]:
        """Return what a result keeps: all but the clusters."""
        return {
            "k": self.k,
            "rule": self.rule,
            "ks": self.ks.tolist(),
            "mean_rank": self.mean_rank.tolist(),
            "cliffs": [asdict(cliff) for cliff in self.cliffs],
            **{name: curve.tolist() for name, curve in self.evidence.items()},
            **({} if self.tracking is None else self.tracking.record()),
        }

    def sentences(self) -> list[str]:
        """Say what was chosen, where the evidence falls, and how it tracked labels."""
        said = [f"k = {self.k}: {self.rule}."]
        said += [
            f"A cliff: {in_words(cliff.evidence)} falls by {100 * cliff.share:.0f} % of its range from "
            f"k = {cliff.k} to {cliff.next_k}."
            for cliff in self.cliffs
        ]
        return said + ([] if self.tracking is None else [self.tracking.sentence("k", "mean_rank")])


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
    points, grid = np.asarray(x), sorted({int(k) for k in ks})
    _check(points, grid, labels)
    rng = np.random.default_rng(seed)
    rows = np.arange(len(points))
    if len(rows) > N_ROWS:
        rows = np.sort(rng.choice(rows, N_ROWS, replace=False))
    z = np.ascontiguousarray(points[rows], dtype=np.float32)
    reduced = _reduced(z)
    clusters, evidence = _evidence(z, reduced, grid, n_resamples=n_resamples, on_step=on_step, seed=seed)
    left_out, grid = grid[len(clusters) :], grid[: len(clusters)]
    mean_rank = np.mean([rankdata(-np.round(curve, 12)) for curve in evidence.values()], axis=0)
    best = int(np.argmin(np.round(mean_rank, 9)))
    rule = (
        f"best mean rank ({mean_rank[best]:.2f} of {len(grid)}) over silhouette, BIC of a Gaussian mixture "
        "and bootstrap stability; ties to the smaller k"
    )
    if left_out:
        rule += f". No k above {grid[-1]}: resamples of these rows hold too few distinct ones"
    if (evidence["bic_gain"] <= 0).all():
        rule += ". A single Gaussian has the better BIC than any of them: there may be no clusters"
    tracking = None
    if labels is not None:
        scores = np.array([agreement(labels[rows], own) for own in clusters])
        tracking = track(scores, {**evidence, "mean_rank": -mean_rank}, best)
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


def _reduced(z: NDArray[np.float32]) -> F64:
    """Return the first 10 principal components (rows, r) of rows, or as many as they vary in."""
    try:
        scores = PCA(min(N_REDUCED, *z.shape)).fit_transform(z)
    except DataError:
        scores = PCA(ALL_VARIANCE).fit_transform(z)  # which says so where nothing varies
    return np.asarray(scores, dtype=np.float64)


def _check(points: NDArray[Any], grid: Sequence[int], labels: I64 | None) -> None:
    if not grid or grid[0] < 2:
        raise UsageError(f"numbers of clusters {grid}: give some, each at least 2.")
    if points.ndim != 2 or grid[-1] >= len(points):
        raise DataError(
            f"features of shape {points.shape} can't make {grid[-1]} clusters: fewer, or more rows."
        )
    check_finite(points)
    if labels is not None and np.shape(labels) != (len(points),):
        raise DataError(f"labels of shape {np.shape(labels)} don't fit {len(points)} rows.")


def _evidence(
    z: NDArray[np.float32],
    reduced: F64,
    grid: Sequence[int],
    *,
    n_resamples: int,
    on_step: Callable[[], Any] | None,
    seed: int,
) -> tuple[I64, dict[str, F64]]:
    """Return the clusters (m, rows) at each k, and the curves (m,) of each kind of evidence.

    They end before the first k above the smallest that the rows, or all of their resamples, are too few for.
    """
    single = _bic(reduced, 1, None, seed)
    clusters: list[I64] = []
    curves: dict[str, list[float]] = {"silhouette": [], "bic_gain": [], "stability": []}
    for k in grid:
        try:
            own = _kmeans(z, k, seed)
            stability = cluster_stability(
                z,
                lambda sample, number, k=k: _kmeans(sample, k, number),  # type: ignore[misc]
                clusters=own,
                n_resamples=n_resamples,
                seed=seed,
            )
        except DataError:
            if not clusters:
                raise
            break
        clusters.append(own)
        curves["silhouette"].append(float(silhouette_score(reduced, own)))
        curves["bic_gain"].append((single - _bic(reduced, k, own, seed)) / (2 * len(z)))
        curves["stability"].append(stability.ari)
        if on_step is not None:
            on_step()
    return np.array(clusters), {name: np.array(curve) for name, curve in curves.items()}


def find_cliffs(name: str, ks: Sequence[int], curve: F64) -> tuple[Cliff, ...]:
    """Return where a curve (m,) over rising `ks` falls by a quarter of its range or more at one step."""
    extent = float(np.ptp(curve))
    if extent <= 0:
        return ()
    falls = -np.diff(curve) / extent
    return tuple(
        Cliff(name, int(ks[i]), int(ks[i + 1]), float(fall)) for i, fall in enumerate(falls) if fall >= CLIFF
    )


def _kmeans(x: NDArray[Any], k: int, seed: int) -> I64:
    model = KMeans(k, n_init=N_INIT, search="thorough", random_state=seed, device="cpu").fit(x)
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
