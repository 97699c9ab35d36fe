"""The rows that several checks look at: their components and their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clustering.density.distances import Frame, Points, nearest
from clustering.matching import I64

F64 = NDArray[np.float64]
N_SAMPLE = 5000
N_NEIGHBORS = 20
N_LEADING = 5
N_WHITENED = 30
# Agreement of neighbours, corrected for chance: below CHANCE labels say nothing about the features, below
# WEAK little, above STRONG most. (Cohen's kappa of a row's label and those of its neighbours.)
CHANCE, WEAK, STRONG = 0.05, 0.15, 0.4
# In the leading components neighbours are nearer by this part than with each component shuffled by itself.
STRUCTURE = 0.03


@dataclass(frozen=True)
class Sample:
    """What several checks look at: at most `N_SAMPLE` rows."""

    x: F64  # (m, d)
    rows: I64  # (m,), places in the whole
    labels: I64  # (n,) of the whole, -1 without a label
    neighbours: I64  # (m, 20), places in the whole
    near: float  # distances to them in leading components over those in shuffled ones
    values: F64  # (r,) variances of the components
    scores: F64  # (m, r)
    agreement: float | None  # of labels between neighbours, corrected for chance
    whitened_agreement: float | None


def take_sample(points: NDArray[Any], labels: I64, rng: np.random.Generator) -> Sample:
    """Draw rows with labels where there are enough, and find their components and neighbours."""
    rows = np.flatnonzero(labels >= 0)
    if len(rows) < 3:
        rows = np.arange(len(points))
    if len(rows) > N_SAMPLE:
        rows = np.sort(rng.choice(rows, N_SAMPLE, replace=False))
    x = points[rows].astype(np.float64)
    # A few far rows would make components of their own.
    far = np.linalg.norm(x - np.median(x, axis=0), axis=1)
    core = x[far <= np.quantile(far, 0.99)]
    mean = core.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(core, rowvar=False, ddof=1).reshape(x.shape[1], -1))
    values, axes = values[::-1], axes[:, ::-1]
    r = max(1, int((values > 1e-12 * max(values[0], np.finfo(float).tiny)).sum())) if values[0] > 0 else 1
    values, axes = np.maximum(values[:r], 0), axes[:, :r]
    scores = (x - mean) @ axes
    neighbours, _ = _neighbours(scores)
    # Among all components, noise would hide what the leading ones show.
    leading = scores[:, :N_LEADING]
    shuffled = np.stack([rng.permutation(column) for column in leading.T], axis=1)
    apart = float(_neighbours(shuffled)[1].mean())
    near = float(_neighbours(leading)[1].mean()) / apart if apart > 0 else 1.0
    agreement = whitened = None
    if (labels[rows] >= 0).all() and len(np.unique(labels[rows])) > 1:
        agreement = label_agreement(labels, rows, rows[neighbours])
        if values[0] > 0:
            kept = min(r, N_WHITENED)
            white = scores[:, :kept] / np.sqrt(values[:kept])
            whitened = label_agreement(labels, rows, rows[_neighbours(white)[0]])
    return Sample(x, rows, labels, rows[neighbours], near, values, scores, agreement, whitened)


def _neighbours(x: F64) -> tuple[I64, F64]:
    points = Points(np.ascontiguousarray(x), Frame.of(x))
    distances, index = nearest(points, points, min(N_NEIGHBORS, len(x) - 1))
    return index, distances


def label_agreement(labels: I64, rows: I64, neighbours: I64) -> float:
    """How much more often neighbours share a label than rows at random: 0 for chance, 1 for always."""
    own, theirs = labels[rows][:, np.newaxis], labels[neighbours]
    known = (own >= 0) & (theirs >= 0)
    shares = np.bincount(labels[labels >= 0]) / max(1, int((labels >= 0).sum()))
    expected = float(np.square(shares).sum())
    if not known.any() or expected >= 1:
        return 0.0
    return (float((own == theirs)[known].mean()) - expected) / (1 - expected)


def vote(own: I64, near: I64) -> float:
    """Part of the rows whose class most of their neighbours have."""
    m, c = len(own), int(max(own.max(), near.max())) + 1
    votes = np.bincount((np.arange(m)[:, np.newaxis] * c + near).ravel(), minlength=m * c).reshape(m, c)
    return float((votes.argmax(axis=1) == own).mean())
