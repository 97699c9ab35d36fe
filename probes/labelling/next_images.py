"""Which images to label next: those that a probe is unsure of, spread over what there is."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

# Of a batch of n images, the most uncertain 10 n are spread out; all of them at first.
# Decided on simulated galaxies and five sets of other fields: docs/results/label-next.md.
POOL = 10
DIMENSIONS = 32
# More rows than that are thinned before they are clustered where nothing is known of any.
MOST_ROWS = 20_000


def uncertainty(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n,) 1 less the margin between the two most probable of (n, c) classes, 0 to 1."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(1 - (two[:, 1] - two[:, 0]))


def next_images(
    x: NDArray[np.float32],
    unlabelled: NDArray[np.int64],
    n: int,
    *,
    doubt: NDArray[np.float64] | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Choose images to label, those that matter most first.

    Of the most uncertain, as many groups are made as images are asked for, by k-means weighted by the
    uncertainty, and the image nearest to the centre of each is taken [1]_. Where nothing is known yet, all
    images are grouped alike, so that the first labels cover what there is.

    Parameters
    ----------
    x : (m, d)
        Features, of all images.
    unlabelled : (u,) int64
        Rows of `x` to choose from.
    n
        How many to choose; fewer where there are fewer.
    doubt : (u,) float64, optional
        `uncertainty` of each of them; None before there is a probe.
    seed
        Of the groups.

    Returns
    -------
    (min(n, u),) int64
        Rows of `x`: by falling uncertainty, or without it by the size of the group.

    References
    ----------
    .. [1] Zhdanov 2019, Diverse mini-batch active learning, arXiv:1901.05954.
    """
    n = min(n, len(unlabelled))
    if n < 1:
        return np.empty(0, np.int64)
    random = np.random.default_rng(seed)
    if doubt is None:
        pool, weight = unlabelled, None
        if len(pool) > MOST_ROWS:
            pool = np.sort(random.choice(pool, MOST_ROWS, replace=False))
    else:
        order = np.argsort(-doubt, kind="stable")[: POOL * n]
        pool, weight = unlabelled[order], doubt[order]
    if len(pool) <= n:
        return np.asarray(pool)
    chosen, sizes = _spread(_space(x, pool), n, weight, seed)
    first = np.argsort(-(sizes if weight is None else weight[chosen]), kind="stable")
    return np.asarray(pool[chosen[first]])


def _space(x: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return rows of standardised features on their first components, in which distances are taken."""
    some = x[np.linspace(0, len(x) - 1, min(len(x), MOST_ROWS)).astype(np.int64)].astype(np.float64)
    mean, scale = some.mean(axis=0), some.std(axis=0)
    scale[scale == 0] = 1
    z = (x[rows] - mean) / scale
    if z.shape[1] <= DIMENSIONS:
        return np.asarray(z)
    some = (some - mean) / scale
    axes = np.linalg.eigh(some.T @ some)[1][:, ::-1][:, :DIMENSIONS]
    return np.asarray(z @ axes)


def _spread(
    z: NDArray[np.float64], n: int, weight: NDArray[np.float64] | None, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return n different rows of z, each the nearest to a centre of its own, and the sizes of the groups."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if weight is not None and not (weight > 0).sum() > n:
        weight = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # copies: fewer different rows than groups
        found = KMeans(n, n_init=4, random_state=seed).fit(z, sample_weight=weight)
    distance = found.transform(z)
    free = np.ones(len(z), dtype=bool)
    chosen = np.empty(n, np.int64)
    for j in range(n):
        chosen[j] = np.argmin(np.where(free, distance[:, j], np.inf))
        free[chosen[j]] = False
    return chosen, np.bincount(found.labels_, minlength=n)
