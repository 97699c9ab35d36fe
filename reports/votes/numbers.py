"""What shares of votes say by themselves: their split, their correlations, and the noise in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.files.vote_tree import VoteTree
from embedkit.scoring.paired import holm

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Division:
    """Rows of two sides, and how far apart the targets are on them.

    Parameters
    ----------
    train, validation : (n,) int64
        Rows.
    distance, p, p_holm : (t,) float64
        Of the two-sample Kolmogorov-Smirnov test of each target, and the p value adjusted over the targets.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    distance: F64
    p: F64
    p_holm: F64


def divided(shares: F64, *, validation: float, seed: int) -> Division:
    """Draw a split of (n, t) shares, and test whether each target is distributed alike on both sides [1]_.

    References
    ----------
    .. [1] Hodges 1958, Arkiv foer Matematik 3, 469. Shares of few votes have ties, which make it cautious.
    """
    from scipy.stats import ks_2samp

    n = len(shares)
    n_validation = min(max(round(validation * n), 1), n - 1)
    order = np.random.default_rng(seed).permutation(n)
    held, train = np.sort(order[:n_validation]), np.sort(order[n_validation:])
    found = []
    for column in shares.T:
        a, b = column[train], column[held]
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        if len(a) and len(b):
            tested = ks_2samp(a, b)
            found.append((float(tested.statistic), float(tested.pvalue)))
        else:
            found.append((0.0, 1.0))
    distance, p = np.array(found).T
    return Division(train, held, distance, p, holm(np.clip(p, 0, 1)))


def correlations(shares: F64) -> F64:
    """(n, t) -> (t, t) Pearson correlations over the rows that have both; NaN of what never varies."""
    t = shares.shape[1]
    found = np.full((t, t), np.nan)
    if not np.isnan(shares).any():
        varies = np.flatnonzero(shares.max(axis=0) > shares.min(axis=0))
        if len(varies):
            found[np.ix_(varies, varies)] = np.corrcoef(shares[:, varies].T)
        return found
    for i in range(t):
        for j in range(i, t):
            both = ~(np.isnan(shares[:, i]) | np.isnan(shares[:, j]))
            x, y = shares[both, i], shares[both, j]
            if len(x) > 1 and x.std() > 0 and y.std() > 0:
                found[i, j] = found[j, i] = np.corrcoef(x, y)[0, 1]
    return found


def implied(mean: F64, tree: VoteTree) -> F64:
    """Return the (t, t) correlations of answers that exclude or presuppose one another.

    If every image had one answer to each question that it is asked, with the means p over all images, then
    two answers that exclude one another would correlate by -sqrt(p q / ((1 - p) (1 - q))), and an answer with
    the one that leads to it by sqrt(p (1 - q) / (q (1 - p))), where p is the share of the first. Nothing is
    implied of answers that go together in some images and not in others: NaN.

    Parameters
    ----------
    mean : (t,)
        Mean cumulative share of each answer.
    """
    t = len(mean)
    found = np.full((t, t), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        for i in range(t):
            for j in range(t):
                p, q = mean[i], mean[j]
                if i == j:
                    found[i, j] = 1
                elif i in tree.way(j) or j in tree.way(i):
                    p, q = (p, q) if j in tree.way(i) else (q, p)
                    found[i, j] = np.sqrt(p * (1 - q) / (q * (1 - p)))
                elif _exclude(i, j, tree):
                    found[i, j] = -np.sqrt(p * q / ((1 - p) * (1 - q)))
    found[~np.isfinite(found)] = np.nan
    # Rounding and rows with missing answers may carry a value past what a correlation can be.
    clipped: F64 = np.clip(found, -1, 1)
    return clipped


def _exclude(i: int, j: int, tree: VoteTree) -> bool:
    """Whether two answers lie behind different answers to one question."""
    asked = {tree.branch_of(one).question.name: one for one in tree.way(i)}
    return any(asked.get(tree.branch_of(one).question.name, one) != one for one in tree.way(j))


def rmse(a: F64, b: F64) -> float:
    """Root of the mean squared difference over all cells that both have, as in the Kaggle challenge."""
    squared = (a - b) ** 2
    return float("nan") if np.isnan(squared).all() else float(np.sqrt(np.nanmean(squared)))


@dataclass(frozen=True)
class Baseline:
    """Always answering the mean (t,) of the train side: its RMSE on both."""

    mean: F64
    train: float
    validation: float


def mean_baseline(shares: F64, division: Division) -> Baseline:
    """Return the baseline; a target without a value on the train side is answered by its mean on both."""
    train, held = shares[division.train], shares[division.validation]
    columns = [np.nanmean(shares[:, j] if np.isnan(one).all() else one) for j, one in enumerate(train.T)]
    mean = np.array(columns, np.float64)
    return Baseline(mean, rmse(train, mean), rmse(held, mean))


def sampling_variance(shares: F64, volunteers: int | F64) -> F64:
    """Return what drawing that many volunteers adds to each share, squared; unbiased.

    A cumulative share is a count over everybody who looked, so it is binomial at any depth of the tree, and
    multinomial together with the other answers. Of a true share p it has the variance p (1 - p) / N; the
    share f that was seen gives f (1 - f) / (N - 1), whose mean is the same.

    Parameters
    ----------
    volunteers
        N, or that of each share (n, t). One person's vote says nothing of its variance, which is NaN.
    """
    n = np.asarray(volunteers, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: F64 = np.where(n > 1, shares * (1 - shares) / (n - 1), np.nan)
    return found


def noise_floor(shares: F64, volunteers: int | F64) -> float:
    """Return the RMSE against votes of one who knows the true shares of (n, t) voted ones; NaN of none."""
    variance = np.clip(sampling_variance(shares, volunteers), 0, None)
    return float("nan") if np.isnan(variance).all() else float(np.sqrt(np.nanmean(variance)))
