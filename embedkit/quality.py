"""What features alone say of their worth, without labels: how even, how spread, how steady under views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.spatial.distance import pdist
from scipy.special import logsumexp, xlogy

from embedkit.errors import DataError
from embedkit.matrix import check_finite

F64 = NDArray[np.float64]

N_UNIFORMITY = 5000
# The first components hold a few gross directions and the last ones noise: the power law lies between.
FIRST, LAST = 5, 100
LIDAR_RIDGE = 1e-4


@dataclass(frozen=True)
class Quality:
    """Label-free criteria of one feature matrix. All depend on n: compare at one n.

    Parameters
    ----------
    n, d
        Of the matrix.
    rank_me
        See `rank_me`; higher is better.
    effective_rank
        Of the centred covariance; see `effective_rank`; higher is better.
    alpha_req
        See `alpha_req`; best at 1. None where there are fewer than ten components.
    uniformity
        See `uniformity`; lower is better. None where a row is zero.
    lidar
        See `lidar`; higher is better. None without views.
    """

    n: int
    d: int
    rank_me: float
    effective_rank: float
    alpha_req: float | None
    uniformity: float | None
    lidar: float | None


def quality(
    x: NDArray[Any],
    *,
    view_mean: NDArray[Any] | None = None,
    within_covariance: F64 | None = None,
    seed: int = 0,
) -> Quality:
    """Compute every criterion that the arrays allow.

    Parameters
    ----------
    x : (n, d)
        Features.
    view_mean : (n, d), optional
        Per image, the mean of its L2-normalised view features.
    within_covariance : (d, d), optional
        Of those view features around their image's mean, pooled.
    seed
        Of the rows that `uniformity` draws.

    Raises
    ------
    DataError
        NaN, or fewer than three rows.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 3:
        raise DataError(f"features of shape {x.shape}; label-free quality needs at least 3 rows of (n, d).")
    check_finite(x)
    n, d = x.shape
    centred = linalg.svdvals(x - x.mean(axis=0))
    variances = centred**2 / (n - 1)
    with_views = view_mean is not None and within_covariance is not None
    return Quality(
        n=n,
        d=d,
        rank_me=rank_me(x),
        effective_rank=effective_rank(variances),
        alpha_req=alpha_req(variances),
        uniformity=uniformity(x, seed=seed),
        lidar=lidar(view_mean, within_covariance) if with_views else None,  # type: ignore[arg-type]
    )


def rank_me(x: NDArray[Any]) -> float:
    """Return RankMe [1]_ of `x` (n, d): the exponential of the entropy of its singular values.

    ``p_i = s_i / sum(s) + 1e-7`` over the min(n, d) singular values of the matrix as it is, not centred.
    From 1 to min(n, d). It depends on n: compare only matrices of one n.

    References
    ----------
    .. [1] Q. Garrido, R. Balestriero, L. Najman, Y. LeCun, RankMe: assessing the downstream performance of
       pretrained self-supervised representations by their rank (2023), arXiv:2210.02885.
    """
    singular = np.linalg.svd(np.asarray(x, dtype=np.float64), compute_uv=False)
    total = singular.sum()
    if total <= 0:
        return 1.0
    p = singular / total + 1e-7
    return float(np.exp(-xlogy(p, p).sum()))


def effective_rank(variances: F64) -> float:
    """Return the exponential of the entropy of the shares of variance (r,): 1 where one holds all."""
    total = variances.sum()
    if total <= 0:
        return 1.0
    p = variances / total
    return float(np.exp(-xlogy(p, p).sum()))


def alpha_req(variances: F64) -> float | None:
    """Return the decay alpha of the variances (r,), falling: ``variance_i ~ i ** -alpha`` [1]_.

    The slope of ``log variance`` over ``log i`` by least squares with weights ``1 / i``, over components 5 to
    100, or as many as are above the rounding error. None with fewer than ten of them.

    References
    ----------
    .. [1] K. K. Agrawal, A. K. Mondal, A. Ghosh, B. Richards, alpha-ReQ: assessing representation quality in
       self-supervised learning by measuring eigenspectrum decay (2022), NeurIPS.
    """
    real = variances > variances.max(initial=0.0) * 1e-12
    last = min(LAST, int(real.sum()))
    if last - FIRST + 1 < 10:
        return None
    i = np.arange(FIRST, last + 1)
    slope, _ = np.polyfit(np.log(i), np.log(variances[FIRST - 1 : last]), 1, w=np.sqrt(1 / i))
    return float(-slope)


def uniformity(x: NDArray[Any], *, t: float = 2.0, seed: int = 0) -> float | None:
    """Return the log of the mean over pairs of ``exp(-t |a - b|^2)`` of L2-normalised rows [1]_.

    From -4 t (never reached by many rows) to 0, where all rows are one; lower is more uniform. Over at most
    5,000 rows, drawn with `seed`. None where a row is zero, which has no direction.

    References
    ----------
    .. [1] T. Wang, P. Isola, Understanding contrastive representation learning through alignment and
       uniformity on the hypersphere (2020), arXiv:2005.10242.
    """
    rows = np.asarray(x, dtype=np.float64)
    if len(rows) > N_UNIFORMITY:
        rows = rows[np.random.default_rng(seed).choice(len(rows), N_UNIFORMITY, replace=False)]
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if (lengths == 0).any():
        return None
    squared = pdist(rows / lengths, "sqeuclidean")
    return float(logsumexp(-t * squared) - np.log(len(squared)))


def lidar(view_mean: NDArray[Any], within_covariance: F64) -> float | None:
    """Return LiDAR [1]_: the effective rank of what tells images apart, in units of how views differ.

    The exponential of the entropy of the eigenvalues of ``W^-1/2 B W^-1/2``, where B is the covariance of
    the image means (n, d) and W the pooled covariance of views (d, d) with ``1e-4`` of its mean
    variance added to the diagonal; the paper adds 1e-4 itself, which is not free of the features' unit. None
    where the views don't differ.

    References
    ----------
    .. [1] V. Thilak et al., LiDAR: sensing linear probing performance in joint embedding SSL architectures
       (2023), arXiv:2312.04000.
    """
    d = within_covariance.shape[0]
    mean_variance = float(np.trace(within_covariance)) / d
    if mean_variance <= 0:
        return None
    between = np.cov(np.asarray(view_mean, dtype=np.float64), rowvar=False).reshape(d, d)
    within = within_covariance + LIDAR_RIDGE * mean_variance * np.eye(d)
    values = np.maximum(linalg.eigh(between, within, eigvals_only=True), 0)
    if values.sum() <= 0:
        return 1.0
    p = values / values.sum() + 1e-7
    return float(np.exp(-xlogy(p, p).sum()))
