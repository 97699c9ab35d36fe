"""Whether two sets of scores of the same images differ: tests, intervals, corrections and tied ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.scoring.metrics import Z95

F64 = NDArray[np.float64]
ALPHA = 0.05
MCNEMAR, BOOTSTRAP = "McNemar, exact", "paired bootstrap"
N_RESAMPLES = 2000
# Resamples drawn at a time: their indices are (block, n).
_BLOCK_CELLS = 2_000_000


@dataclass(frozen=True)
class Difference:
    """How much the mean score of B lies above that of A on the same images.

    Parameters
    ----------
    value
        Mean of B minus mean of A.
    low, high
        95 % interval: percentiles of paired bootstrap resamples of the images.
    p
        Two-sided, not corrected for other comparisons.
    test
        What gave p: ``McNemar, exact`` or ``paired bootstrap``.
    n
        Images.
    """

    value: float
    low: float
    high: float
    p: float
    test: str
    n: int


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p that A and B are right equally often [1]_.

    Given the images of which one alone is right, each falls to either with chance 1/2: a binomial test. It
    holds for few such images as for many, so no approximation is needed for either.

    Parameters
    ----------
    only_a, only_b
        Images that only A, and only B, gets right.

    References
    ----------
    .. [1] McNemar 1947, Psychometrika 12, 153.
    """
    if only_a < 0 or only_b < 0:
        raise DataError(f"{only_a} and {only_b} images: counts can't be negative.")
    n = only_a + only_b
    from scipy.stats import binom  # on use: `embedkit leaderboard --help` waits for no SciPy

    return min(1.0, 2 * float(binom.cdf(min(only_a, only_b), n, 0.5))) if n else 1.0


def paired_difference(
    a: F64, b: F64, *, error: float | None = None, n_resamples: int = N_RESAMPLES, seed: int = 0
) -> Difference:
    """Compare the scores of the same images under A and B.

    Parameters
    ----------
    a, b : (n,) float
        Score of each image, in the same order: 1 or 0 for right and wrong, or the mean of that over seeds.
    error
        Standard error of the difference that the images don't hold, such as that of a mean over seeds; the
        interval and p hold it beside theirs. None where there is no other.
    n_resamples
        Paired bootstrap resamples of the images, each with the scores that it has under both.
    seed
        Of the resamples.

    Returns
    -------
    Difference
        p is McNemar's where all scores are 0 or 1 and there is no other `error`. Else it is that of a normal
        variable with the standard deviation of the resampled differences, which, unlike a count of resamples,
        can fall below one in `n_resamples`: corrections for many pairs need that. Where the interval reaches
        farther towards 0 than such a variable's, it has the deviation of that side: so p is never below 0.05
        where the interval holds 0.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise DataError(f"scores of shapes {a.shape} and {b.shape} are not of the same images.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise DataError("scores hold NaN or infinity. Leave those images out on both sides.")
    difference = b - a
    value = float(difference.mean())
    draws = resampled_means(difference, n_resamples=n_resamples, seed=seed)
    low, high = (float(limit) for limit in np.quantile(draws, [ALPHA / 2, 1 - ALPHA / 2]))
    if error is not None:
        low = value - float(np.hypot(value - low, Z95 * error))
        high = value + float(np.hypot(high - value, Z95 * error))
    elif np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all():
        p = mcnemar(int((difference < 0).sum()), int((difference > 0).sum()))
        return Difference(value, low, high, p, MCNEMAR, len(a))
    spread = float(np.hypot(draws.std(ddof=1), error or 0.0))
    spread = max(spread, (value - low if value > 0 else high - value) / Z95)
    if spread <= 1e-12:  # the same difference on every image
        p = 1.0 if abs(value) <= 1e-12 else 0.0
    else:
        from scipy.stats import norm

        p = float(2 * norm.sf(abs(value) / spread))
    return Difference(value, low, high, p, BOOTSTRAP, len(a))


def resampled_means(x: F64, *, n_resamples: int = N_RESAMPLES, seed: int = 0) -> F64:
    """Return the means (n_resamples,) of bootstrap resamples of `x` (n,)."""
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK_CELLS // len(x))
    means = [
        x[rng.integers(len(x), size=(min(block, n_resamples - start), len(x)))].mean(axis=1)
        for start in range(0, n_resamples, block)
    ]
    return np.concatenate(means)


def holm(p: F64) -> F64:
    """Return Holm's adjusted p values [1]_: those up to alpha are significant, all together, at level alpha.

    Parameters
    ----------
    p : (m,) float
        In [0, 1]; one for each comparison of the family.

    References
    ----------
    .. [1] Holm 1979, Scandinavian Journal of Statistics 6, 65.
    """
    p = np.asarray(p, np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise DataError("p values must lie between 0 and 1.")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def rank_ranges(better: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the ranks (m, 2), from 1, that each of m entries may have; entries that tie share some.

    From one more than the number of entries that are significantly better, to m less the number that are
    significantly worse.

    Parameters
    ----------
    better : (m, m) bool
        ``better[i, j]``: i is significantly better than j.
    """
    m = len(better)
    return np.column_stack([1 + better.sum(axis=0), m - better.sum(axis=1)]).astype(np.int64)
