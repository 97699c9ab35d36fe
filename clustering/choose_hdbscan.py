"""Choosing HDBSCAN's two sizes from its relative validity, or for a share of noise, without labels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clustering.density.exact_hdbscan import exact_hdbscan
from clustering.matching import I64
from clustering.tracking import F64, Tracking, agreement, track
from embedkit.errors import DataError, UsageError
from embedkit.preparing.matrix import check_finite

SIZE_SHARES = (0.005, 0.01, 0.02, 0.05, 0.1)
MIN_SAMPLES = (1, 2, 5, 10, 20, 50)
# Shares of noise that differ by less are equally near a target.
NOISE_TOLERANCE = 0.01


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
    clusters : (a, b, n) int64
        Clusters of each setting, -1 for noise.
    target_noise
        What was asked for.
    rule
        How it was picked, in words.

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

    @property
    def place(self) -> tuple[int, int]:
        """Where the setting picked stands in the grid."""
        i = int(np.searchsorted(self.min_cluster_sizes, self.min_cluster_size))
        return i, int(np.searchsorted(self.min_samples_grid, self.min_samples))

    def tracking(self, labels: I64) -> Tracking:
        """Say how well validity tracked labels (n,), -1 for none; its scores are over the grid, row by row.

        The correlations are over settings with two clusters or more: the others, of no validity and no
        agreement, would raise them.
        """
        if np.shape(labels) != self.clusters.shape[2:]:
            raise DataError(f"labels of shape {np.shape(labels)} don't fit {self.clusters.shape[2]} rows.")
        scores = np.array([agreement(labels, own) for own in self.clusters.reshape(-1, len(labels))])
        evidence = {"validity": _value(self.validity), "coverage": 1 - self.noise_share.ravel()}
        i, j = self.place
        return track(scores, evidence, i * len(self.min_samples_grid) + j, self.n_clusters.ravel() >= 2)

    def record(self) -> dict[str, Any]:
        """Return what a result keeps: all but the clusters."""
        names = ("min_cluster_sizes", "min_samples_grid", "validity", "noise_share", "n_clusters")
        return {"rule": self.rule, **{name: getattr(self, name).tolist() for name in names}}


def choose_density(
    x: ArrayLike,
    *,
    target_noise: float | None = None,
    grid: tuple[Sequence[int], Sequence[int]] | None = None,
    device: str = "auto",
    on_step: Callable[[], Any] | None = None,
    drawn: Mapping[str, Any] | None = None,
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
    grid
        ``(min_cluster_sizes, min_samples)``; by default 0.5, 1, 2, 5 and 10 % of the rows (at least 5) and 1
        to 50 neighbours.
    device
        See `HDBSCAN`.
    on_step
        Called after each value of `min_samples`.
    drawn
        How clusters are drawn from the tree, as `exact_hdbscan` takes it.

    Raises
    ------
    UsageError
        A target or a grid out of range.
    DataError
        NaN, fewer than ten rows, or all rows equal.
    """
    points = np.asarray(x)
    _check(points, target_noise)
    sizes, neighbours = _grid(len(points), grid)
    validity, noise, counts, clusters = _try_all(
        points, sizes, neighbours, device=device, on_step=on_step, drawn=drawn or {}
    )
    several = counts >= 2
    candidates = np.flatnonzero((several if several.any() else np.ones_like(several)).ravel())
    value = _value(validity)
    share = noise.ravel()
    if target_noise is None:
        # Ties, as between settings that find the same clusters, go to less noise and the first of the grid.
        best = int(min(candidates, key=lambda c: (-round(float(value[c]), 12), share[c])))
        rule = f"highest relative validity ({value[best]:.3f})"
    else:
        away = np.abs(share - target_noise)
        nearest = candidates[away[candidates] <= away[candidates].min() + NOISE_TOLERANCE]
        best = int(min(nearest, key=lambda c: (-round(float(value[c]), 12), away[c])))
        rule = f"noise nearest to {target_noise:g} ({share[best]:.3f}), then highest relative validity"
    i, j = divmod(best, len(neighbours))
    if not several.any():
        rule += "; no setting finds two clusters"
    return DensityChoice(
        min_cluster_size=sizes[i],
        min_samples=neighbours[j],
        min_cluster_sizes=np.array(sizes),
        min_samples_grid=np.array(neighbours),
        validity=validity,
        noise_share=noise,
        n_clusters=counts,
        clusters=clusters,
        target_noise=target_noise,
        rule=rule,
    )


def _check(points: NDArray[Any], target_noise: float | None) -> None:
    if points.ndim != 2 or len(points) < 10:
        raise DataError(
            f"features of shape {points.shape}; a choice of density needs at least 10 rows of (n, d)."
        )
    check_finite(points)
    if (points == points[0]).all():
        raise DataError(f"all {len(points)} rows are equal: there is no density to choose.")
    if target_noise is not None and not 0 <= target_noise < 1:
        raise UsageError(f"--target-noise {target_noise}: give a share from 0 to less than 1, as in 0.2.")


def _grid(n: int, grid: tuple[Sequence[int], Sequence[int]] | None) -> tuple[list[int], list[int]]:
    """Return the minimum cluster sizes and the numbers of neighbours to try, rising."""
    given_sizes, given_neighbours = grid or (default_sizes(n), MIN_SAMPLES)
    sizes = sorted({min(int(size), n) for size in given_sizes})
    neighbours = sorted({min(int(k), n - 1) for k in given_neighbours})
    if not sizes or not neighbours or sizes[0] < 2 or neighbours[0] < 1:
        raise UsageError(
            f"grid {sizes} x {neighbours}: give minimum cluster sizes of at least 2 and at least 1 neighbour."
        )
    return sizes, neighbours


def _try_all(
    points: NDArray[Any],
    sizes: Sequence[int],
    neighbours: Sequence[int],
    *,
    device: str,
    on_step: Callable[[], Any] | None,
    drawn: Mapping[str, Any],
) -> tuple[F64, F64, I64, I64]:
    """Return validity, share of noise, number of clusters (sizes, neighbours) and the clusters (.., n)."""
    shape = (len(sizes), len(neighbours))
    validity, noise = np.full(shape, np.nan), np.ones(shape)
    counts = np.zeros(shape, dtype=np.int64)
    clusters = np.empty((*shape, len(points)), dtype=np.int64)
    for j, k in enumerate(neighbours):
        tree = None
        for i, size in enumerate(sizes):
            model = exact_hdbscan(
                points, min_cluster_size=size, min_samples=k, device=device, tree=tree, **drawn
            )
            tree = model.spanning_tree_
            clusters[i, j] = model.labels_
            noise[i, j] = float((model.labels_ < 0).mean())
            counts[i, j] = int(model.labels_.max()) + 1
            if counts[i, j] >= 2:
                validity[i, j] = _validity(model)
        if on_step is not None:
            on_step()
    return validity, noise, counts, clusters


def default_sizes(n: int) -> list[int]:
    """Return the minimum cluster sizes to try for n rows: 0.5 to 10 % of them, at least 5."""
    return [max(5, round(share * n)) for share in SIZE_SHARES]


def _value(validity: F64) -> F64:
    value: F64 = np.nan_to_num(validity.ravel(), nan=-1.0)
    return value


def _validity(model: Any) -> float:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        value = float(model.relative_validity_)
    return value if np.isfinite(value) else np.nan
