"""Whitening by nuisance: what differs between the views of one image, or between near neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from embedkit.errors import DataError
from embedkit.preparing.fitted import FittedStep
from embedkit.preparing.matrix import CONSTANT, NO_COVARIANCE
from embedkit.preparing.pca import RANK_TOLERANCE, Moments
from embedkit.preparing.steps import Clip, NeighborWhiten, ViewWhiten

# Rows whose neighbours are looked at: the pairs of 20,000 say all about a covariance of tens of dimensions.
MAX_NEIGHBOR_ROWS = 20_000

Blocks = Callable[[], Iterator[NDArray[np.floating[Any]]]]


@dataclass(frozen=True)
class Within:
    """The within-image covariance and what it was pooled over."""

    covariance: NDArray[np.float64]
    n_views: int
    n_images: int


def fit_view_whiten(step: ViewWhiten, blocks: Blocks, within: Within) -> FittedStep:
    """Fit on the blocks that `blocks` yields, in one pass; see `ViewWhiten`."""
    w = within.covariance
    d = len(w)
    moments = Moments(d)
    for block in blocks():
        moments.add(block)
    if moments.n < 2:
        raise DataError(f"{moments.n} rows; view whitening needs at least 2.")
    mean, total = moments.mean_and_covariance()
    if np.trace(total) <= 1e-28 * float(mean @ mean):
        raise DataError(CONSTANT.format(n=moments.n))
    values, vectors = _directions(total, w, step.shrinkage)
    n_within = within.n_images * (within.n_views - 1)
    keep = step.n_keep(values, n=moments.n, n_within=n_within, n_views=within.n_views)
    values, vectors = values[:keep], vectors[:, :keep]
    settings = {
        "step": "view-whiten",
        "directions": step.directions,
        "n_directions": keep,
        "shrinkage": step.shrinkage,
        "power": step.power,
        "n_views": within.n_views,
        "lambda": [float(values[0]), float(values[-1])],
        "d": d,
    }
    return FittedStep(settings, mean, _scaled(values, vectors, step.power))


def _directions(
    total: NDArray[np.float64], within: NDArray[np.float64], shrinkage: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve ``total v = lambda within v`` with `within` shrunk: lambda (d,) falling, v (d, d) in columns."""
    d = len(within)
    if within.shape != total.shape or not np.isfinite(within).all():
        raise DataError(
            f"the within-image covariance is no finite ({len(total)}, {len(total)}) matrix. Extract again."
        )
    nuisance = float(np.trace(within))
    if nuisance <= 0:
        raise DataError(
            "the views of every image have the same features, so there is nothing to whiten by. Extract with "
            "other --views, such as galaxy:12, or take pca95."
        )
    if shrinkage < 1e-10:
        spread = linalg.eigvalsh(within)
        rank = int((spread > RANK_TOLERANCE * spread[-1]).sum())
        if rank < d:
            raise DataError(
                f"the within-image covariance is singular (rank {rank} of {d}): the views are too few to "
                "whiten by without shrinkage. Give some, as in --prep view-whiten:30,shrinkage=0.01."
            )
    shrunk = (1 - shrinkage) * within + shrinkage * nuisance / d * np.eye(d)
    try:
        values, vectors = linalg.eigh(total, shrunk, check_finite=False)
    except linalg.LinAlgError as error:
        raise DataError(NO_COVARIANCE) from error
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def fit_clip(step: Clip, blocks: Blocks, n: int) -> FittedStep:
    """Fit on the n rows in the blocks that `blocks` yields, in one pass; see `Clip`."""
    rows = _spread_rows(blocks, n)
    middle = np.median(rows, axis=0)
    distance = np.linalg.norm(rows - middle, axis=1)
    radius = float(np.quantile(distance, step.share))
    if radius <= 0:  # more than the share are copies of one row, and all would be drawn to it
        radius = float(distance.max())
    return FittedStep({"step": "clip", "share": step.share, "radius": radius}, middle)


def fit_neighbor_whiten(step: NeighborWhiten, blocks: Blocks, n_clusters: int | None) -> FittedStep:
    """Fit on the blocks that `blocks` yields, in two passes; see `NeighborWhiten`."""
    directions, given = step.directions, step.directions is not None
    if directions is None and n_clusters is not None:
        directions = n_clusters + 1
    if directions is None:
        raise DataError(
            "neighbor-whiten keeps one direction more than there are clusters, whose number is not given. "
            "Give the directions, as in --prep view-whiten+neighbor-whiten:10."
        )
    moments: Moments | None = None
    for block in blocks():
        moments = moments or Moments(block.shape[1])
        moments.add(block)
    if moments is None or moments.n <= step.neighbors:
        n = 0 if moments is None else moments.n
        raise DataError(f"{n} rows; {step.neighbors} neighbours of each need at least {step.neighbors + 1}.")
    mean, total = moments.mean_and_covariance()
    d = len(mean)
    if np.trace(total) <= 1e-28 * float(mean @ mean):
        raise DataError(CONSTANT.format(n=moments.n))
    if not given:
        directions = min(directions, d, moments.n - 1)
    if directions > min(d, moments.n - 1):
        raise DataError(
            f"neighbour whitening to {directions} directions of {d}. Ask for at most "
            f"{min(d, moments.n - 1)}, or keep more before it."
        )
    rows = _spread_rows(blocks, moments.n) - mean
    within = _neighbor_covariance(rows, step.neighbors)
    if float(np.trace(within)) <= 0:
        raise DataError(
            f"the {step.neighbors} nearest neighbours of every row equal it: these are copies of few images. "
            "Leave duplicates out, or take view-whiten alone."
        )
    values, vectors = _directions(total, within, step.shrinkage)
    values, vectors = values[:directions], vectors[:, :directions]
    settings = {
        "step": "neighbor-whiten",
        "n_directions": directions,
        "neighbors": step.neighbors,
        "shrinkage": step.shrinkage,
        "power": step.power,
        "lambda": [float(values[0]), float(values[-1])],
        "n_rows": len(rows),
        "d": d,
    }
    return FittedStep(settings, mean, _scaled(values, vectors, step.power))


def _spread_rows(blocks: Blocks, n: int) -> NDArray[np.float64]:
    """At most `MAX_NEIGHBOR_ROWS` rows, evenly spaced, so that nothing is random."""
    step = -(-n // MAX_NEIGHBOR_ROWS)
    kept, start = [], 0
    for block in blocks():
        # A copy: a view of these rows would keep their whole block in memory.
        kept.append(block[-start % step :: step].astype(np.float64))
        start += len(block)
    return np.concatenate(kept)


def _neighbor_covariance(x: NDArray[np.float64], neighbors: int) -> NDArray[np.float64]:
    """Half the mean outer product of the difference of a row and each of its nearest by cosine; (d, d)."""
    import faiss

    length = np.linalg.norm(x, axis=1, keepdims=True)
    unit = np.ascontiguousarray(x / np.where(length > 0, length, 1), dtype=np.float32)
    _, found = faiss.knn(unit, unit, neighbors + 1, metric=faiss.METRIC_INNER_PRODUCT)
    # A row is its own nearest, save among copies, where any of them may stand for it.
    near = np.where(found[:, :-1] == np.arange(len(x))[:, None], found[:, -1:], found[:, :-1])
    total = np.zeros((x.shape[1],) * 2)
    for column in near.T:
        difference = x - x[column]
        total += difference.T @ difference
    return total / (2 * near.size)


def _scaled(values: NDArray[np.float64], vectors: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """Scale directions (columns) by lambda^-power, each with its largest entry positive."""
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(values))])
    return np.asarray(vectors * signs * values**-power)
