"""Features to a map of two dimensions: UMAP, PCA or t-SNE."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.console import progress, waiting
from embedkit.errors import DataError, UsageError
from embedkit.files.schema import unusable, usable
from embedkit.preparing.fitted import unit_rows
from reports.map.neighbours import LARGE, nearest_neighbours
from reports.report_options import PROJECTIONS, UMAP_METRICS

KEPT_VARIANCE = 0.95
MAX_DIMENSIONS = 50
# Euclidean distances between such rows are in the order of these measures, and PCA leaves distances alone,
# while it would change an angle: after it, rows are measured from their mean.
ROWS_OF = {
    "cosine": "Rows of length 1, ",
    "correlation": "Rows of mean 0 and length 1, ",
    "euclidean": "",
    "manhattan": "",
}
# Of t-SNE, where there are rows enough: a third of them at most.
PERPLEXITY = 30.0
# Below this UMAP has no neighbourhoods to keep: PCA places so few points as well.
MIN_ROWS = 5
# Fewer rows UMAP compares itself, all with all. For more it would ask pynndescent, which compiles for most of
# a minute in each process.
SMALL = 4096


@dataclass(frozen=True)
class Plan:
    """How a map is made.

    Parameters
    ----------
    projection
        ``umap``, ``pca`` or ``tsne``.
    seed
        Seed of PCA, UMAP and t-SNE.
    n_neighbors
        Size of the neighbourhoods that UMAP keeps, from 2; at most n - 1 are used.
    min_dist
        How tightly UMAP may pack points, in [0, 1].
    metric
        ``cosine``, ``euclidean``, ``correlation`` or ``manhattan``.
    prepared
        Whether the rows are as they shall be compared; else PCA reduces them first.
    """

    projection: str = "umap"
    seed: int = 0
    n_neighbors: int = 15
    min_dist: float = 0.1
    metric: str = "cosine"
    prepared: bool = False

    def __post_init__(self) -> None:
        if self.projection not in PROJECTIONS:
            raise UsageError(f"--projection {self.projection}: not one of {', '.join(PROJECTIONS)}.")
        if self.n_neighbors < 2:
            raise UsageError(f"--n-neighbors {self.n_neighbors}: a neighbourhood needs at least 2.")
        if not 0 <= self.min_dist <= 1:
            raise UsageError(f"--min-dist {self.min_dist:g}: give a number from 0 to 1.")
        if self.metric not in UMAP_METRICS:
            raise UsageError(f"--umap-metric {self.metric}: not one of {', '.join(UMAP_METRICS)}.")


@dataclass(frozen=True)
class Map:
    """Where every image lies on the map.

    Parameters
    ----------
    xy : (n, 2) float32
        Coordinates; only neighbourhoods carry meaning.
    reduced : (n, r) float32
        The features that were laid out: after PCA, r at most 50, or as they were prepared.
    kept_variance
        Share of the variance that the r directions hold, in [0, 1].
    method
        ``umap``, ``tsne`` or ``pca``, which is what fewer than 5 rows get.
    settings
        Every setting that the coordinates depend on.
    reduction
        What made `reduced` of the rows that are compared, a fitted PCA; None where nothing had to.
    unplaced : (m,) int64
        Rows that UMAP gave no place, because nothing is near them: they lie in a line below the map.
    """

    xy: NDArray[np.float32]
    reduced: NDArray[np.float32]
    kept_variance: float
    method: str
    settings: dict[str, Any]
    reduction: Any = field(default=None, repr=False)
    unplaced: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def describe(self) -> str:
        """Say in a sentence or two how the map was made."""
        s = self.settings
        if self.method == "pca":
            few = f": fewer than {MIN_ROWS} images are too few for UMAP" if len(self.xy) < MIN_ROWS else ""
            return f"The first two principal components ({s['of_two']:.0%} of the variance){few}."
        means = "Neighbourhoods carry meaning; distances between far groups and the axes do not."
        made = f"seed {s['seed']}. {means}"
        if self.method == "tsne":
            return f"{self._rows()}t-SNE with perplexity {s['perplexity']:g}, {made}"
        found = "neighbours" if len(self.xy) <= LARGE else "neighbours found approximately"
        return (
            f"{self._rows()}UMAP with {s['n_neighbors']} {found}, minimum distance {s['min_dist']:g}, "
            f"{s['metric']} metric, {made}"
        )

    @property
    def axes(self) -> tuple[str, str]:
        """What the two directions are called."""
        name = {"umap": "UMAP", "tsne": "t-SNE", "pca": "PC"}[self.method]
        return f"{name} 1", f"{name} 2"

    def _rows(self) -> str:
        r = self.settings["pca_dimensions"]
        if r is None:
            return ""
        rows = ROWS_OF[self.settings["metric"]]
        return f"{rows}PCA to {r} dimension{'s' * (r != 1)} ({self.kept_variance:.0%} of the variance), then "


def lay_out(
    x: NDArray[np.floating[Any]],
    plan: Plan | None = None,
    *,
    known: NDArray[np.float32] | None = None,
    show_progress: bool = False,
) -> Map:
    """Lay features out in two dimensions.

    Rows are made such that Euclidean distances between them say what the metric says (see `comparable`),
    and, unless they are prepared already, reduced by PCA to the fewest directions that hold 95 % of the
    variance, 50 at most. UMAP takes Euclidean distances there, of exact neighbours up to 50,000 rows and of
    nearly all of these beyond; Manhattan ones are not those of rotated rows, and taken before the PCA. UMAP
    and t-SNE start from the first two principal components instead of their own starts: that keeps the coarse
    arrangement [2]_ and cannot fail on a graph of several pieces. The same seed on the same machine gives the
    same coordinates.

    Parameters
    ----------
    x : (n, d) float
        Finite features.
    plan
        How; by default `Plan()`.
    known : (n, 2) float32, optional
        The places that this plan gave these rows before, which are taken.
    show_progress
        Draw a bar on stderr.

    Raises
    ------
    DataError
        No rows, NaN or infinite features, or the same features for every image.
    UsageError
        t-SNE without the package openTSNE.

    References
    ----------
    .. [1] McInnes, Healy & Melville 2018, UMAP, arXiv 1802.03426.
    .. [2] Kobak & Linderman 2021, Nature Biotechnology 39, 156.
    """
    plan = plan or Plan()
    x = np.asarray(x, dtype=np.float32)
    n = len(x)
    if n == 0:
        raise DataError("no rows to lay out.")
    bad = ~usable(x)
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {n} rows hold {unusable(x[bad])}. Extract again with --precision fp32."
        )
    rows = comparable(x, plan.metric)
    _check_varies(rows)
    reduced, shares, pca = _reduce(rows, seed=plan.seed)
    first_two = np.zeros((n, 2), np.float32)
    first_two[:, : min(2, reduced.shape[1])] = reduced[:, :2]
    kept = float(min(shares.sum(), 1.0))
    if plan.prepared:
        reduced, kept = rows, 1.0
    settings = {
        "seed": plan.seed,
        "n_neighbors": min(plan.n_neighbors, n - 1),
        "min_dist": plan.min_dist,
        "metric": plan.metric,
        "pca_dimensions": None if plan.prepared else reduced.shape[1],
    }
    if n < MIN_ROWS or plan.projection == "pca":
        settings["of_two"] = float(min(shares[:2].sum(), 1.0))
        return Map(first_two, reduced, kept, "pca", settings, pca)
    perplexity = min(PERPLEXITY, (n - 1) / 3)
    settings["perplexity"] = perplexity
    if known is not None:
        return Map(known, reduced, kept, plan.projection, settings, pca)
    if plan.projection == "tsne":
        from reports.map.tsne import tsne

        xy = tsne(reduced, first_two, perplexity=perplexity, seed=plan.seed)
        return Map(xy, reduced, kept, "tsne", settings, pca)
    xy = _umap(rows if plan.metric == "manhattan" else reduced, first_two, settings, show_progress)
    xy, unplaced = _aside(xy)
    return Map(xy, reduced, kept, "umap", settings, pca, unplaced)


def comparable(x: NDArray[np.floating[Any]], metric: str) -> NDArray[np.float32]:
    """Return rows (n, d) whose Euclidean distances are in the order of `metric`, where there are such.

    Rows of length 1 for ``cosine``; of mean 0 and length 1 for ``correlation``; else the rows as they are.
    The rows themselves are scaled, not what is left of them after their mean was taken out.
    """
    if metric not in ("cosine", "correlation"):
        return np.asarray(x, dtype=np.float32)
    rows = x - x.mean(axis=1, keepdims=True, dtype=np.float64) if metric == "correlation" else x
    return unit_rows(np.asarray(rows))


def _check_varies(x: NDArray[np.float32]) -> None:
    spread = x.std(axis=0, dtype=np.float64).max()
    if len(x) > 1 and spread <= 1e-6 * max(float(np.abs(x).max()), 1e-30):
        raise DataError(
            f"all {len(x)} images have the same features, so there is nothing to lay out. Check the weights "
            "and the images with `embedkit verify`."
        )


def _aside(xy: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Lay rows without a place in a line below all others; return the coordinates, and which rows."""
    placed = np.isfinite(xy).all(axis=1)
    unplaced = np.flatnonzero(~placed)
    if not len(unplaced):
        return xy, unplaced
    known = xy[placed] if placed.any() else np.zeros((1, 2), np.float32)
    low, high = known.min(axis=0), known.max(axis=0)
    extent = np.maximum(high - low, 1)
    xy = xy.copy()
    xy[unplaced, 0] = low[0] + extent[0] * (np.arange(len(unplaced)) + 0.5) / len(unplaced)
    xy[unplaced, 1] = low[1] - 0.1 * extent[1]
    return xy, unplaced


def _reduce(x: NDArray[np.float32], *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float64], Any]:
    """Return the scores (n, r) that hold 95 % of the variance, the share of each direction, and the PCA."""
    from sklearn.decomposition import PCA

    n, d = x.shape
    if n == 1:
        return np.zeros((1, 1), np.float32), np.ones(1), None
    pca = PCA(n_components=min(MAX_DIMENSIONS, n - 1, d), random_state=seed)
    scores = pca.fit_transform(x)
    share = np.cumsum(pca.explained_variance_ratio_)
    r = min(int(np.searchsorted(share, KEPT_VARIANCE)) + 1, len(share))
    return np.ascontiguousarray(scores[:, :r], dtype=np.float32), pca.explained_variance_ratio_[:r], pca


def _umap(
    reduced: NDArray[np.float32], start: NDArray[np.float32], settings: dict[str, Any], show_progress: bool
) -> NDArray[np.float32]:
    rng = np.random.default_rng(settings["seed"])
    euclidean = settings["metric"] != "manhattan"
    # UMAP's forces need a start of about this extent, and equal starts would never part.
    near_pca = start / (np.abs(start).max() or 1) * 10 + rng.normal(scale=1e-3, size=start.shape)
    with _Epochs() as epochs:
        if show_progress:
            epochs.wait()
        with warnings.catch_warnings():
            # Importing umap-learn says that its neural variant, which is not used here, lacks TensorFlow.
            warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
            from umap import UMAP

        known = {}
        if euclidean and len(reduced) >= SMALL:
            known = {"precomputed_knn": _neighbours(reduced, settings["n_neighbors"])}
        model = UMAP(
            n_components=2,
            n_neighbors=settings["n_neighbors"],
            min_dist=settings["min_dist"],
            metric="euclidean" if euclidean else "manhattan",
            init=near_pca.astype(np.float32),
            random_state=settings["seed"],
            n_jobs=1,  # what a seed implies; any other value makes UMAP warn that it is overridden
            tqdm_kwds={"disable": not show_progress, "file": epochs, "bar_format": "{n} {total}"},
            **known,
        )
        with warnings.catch_warnings():
            # With given neighbours it could not place new rows, which nothing asks of it.
            warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)
            return np.asarray(model.fit_transform(reduced), dtype=np.float32)


def _neighbours(x: NDArray[np.float32], k: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return each row (n, d) with its k - 1 nearest others, and their Euclidean distances."""
    found = nearest_neighbours(x, k - 1, metric="euclidean")
    own = np.arange(len(x))[:, np.newaxis]
    return (
        np.hstack([own, found.index]).astype(np.int32),
        np.hstack([np.zeros(own.shape), found.distance]).astype(np.float32),
    )


class _Epochs(io.StringIO):
    """Where UMAP's own bar writes how many of its epochs are done, for a bar that looks like the others.

    Until the first number comes, UMAP finds neighbours, or numba compiles it: a sign says that this goes on.
    """

    def __enter__(self) -> Self:
        self.shown = ExitStack()
        self.ready: Callable[[], None] = lambda: None
        self.advance: Callable[[int], None] | None = None
        self.done = 0
        return self

    def __exit__(self, *_: object) -> None:
        self.shown.close()

    def wait(self) -> None:
        """Show that the first epoch is still to come."""
        self.ready = self.shown.enter_context(waiting("finding neighbours for the map"))

    def write(self, text: str) -> int:
        """Take ``12 500`` for 12 epochs of 500; what clears tqdm's line is nothing."""
        words = text.split()
        if len(words) == 2 and all(word.isdigit() for word in words):
            done, total = map(int, words)
            if self.advance is None:
                self.ready()
                self.advance = self.shown.enter_context(progress("laying out the map", total, unit="epoch"))
            self.advance(done - self.done)
            self.done = done
        return len(text)
