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
from embedkit.preparing.matrix import NO_COVARIANCE, check_finite

F64 = NDArray[np.float64]

N_UNIFORMITY = 5000
# The first components hold a few gross directions and the last ones noise: the power law lies between.
FIRST, LAST = 5, 100
LIDAR_RIDGE = 1e-4
UMAP_DIMENSIONS, UMAP_NEIGHBOURS, UMAP_CLUSTERS = 50, 30, 10


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
    umap_silhouette
        See `umap_silhouette`; higher is better. None where it was not asked for.
    """

    n: int
    d: int
    rank_me: float
    effective_rank: float
    alpha_req: float | None
    uniformity: float | None
    lidar: float | None
    umap_silhouette: float | None = None


def quality(
    x: NDArray[Any],
    *,
    view_mean: NDArray[Any] | None = None,
    within_covariance: F64 | None = None,
    seed: int = 0,
    with_umap: bool = False,
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
        Of the rows that `uniformity` draws, and of UMAP and its k-means.
    with_umap
        Compute `umap_silhouette` too, which takes longer than all others together.

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
        umap_silhouette=umap_silhouette(x, seed=seed) if with_umap else None,
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
    return rank_me_of(np.linalg.svd(np.asarray(x, dtype=np.float64), compute_uv=False))


def rank_me_of(singular: F64) -> float:
    """Return RankMe of singular values (r,), wherever they were computed; 1 where all are 0."""
    total = singular.sum()
    return 1.0 if total <= 0 else _exp_entropy(singular / total + 1e-7)


def _exp_entropy(p: F64) -> float:
    return float(np.exp(-xlogy(p, p).sum()))


def effective_rank(variances: F64) -> float:
    """Return the exponential of the entropy of the shares of variance (r,): 1 where one holds all."""
    total = variances.sum()
    return 1.0 if total <= 0 else _exp_entropy(variances / total)


def alpha_req(variances: F64) -> float | None:
    """Return the decay alpha of the variances (r,), falling: ``variance_i ~ i ** -alpha`` [1]_.

    The slope of ``log variance`` over ``log i`` by least squares with weights ``1 / i``, over components 5 to
    100, or as many as are above the rounding error. None with fewer than ten of them. The weights are those
    of the authors' code, which took them from Stringer et al. 2019; its range changes from use to use (6 to
    50, 12 to 100), and alpha with it.

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
    where the views don't differ. The paper draws some 50 views of 1,000 images; with few views W is
    estimated from fewer differences, which are pooled over all images.

    References
    ----------
    .. [1] V. Thilak et al., LiDAR: sensing linear probing performance in joint embedding SSL architectures
       (2023), arXiv:2312.04000.
    """
    d = within_covariance.shape[0]
    mean_variance = float(np.trace(within_covariance)) / d
    check_finite(view_mean)
    if not np.isfinite(within_covariance).all():
        raise DataError(NO_COVARIANCE)
    if mean_variance <= 0:
        return None
    between = np.cov(np.asarray(view_mean, dtype=np.float64), rowvar=False).reshape(d, d)
    within = within_covariance + LIDAR_RIDGE * mean_variance * np.eye(d)
    try:
        values = np.maximum(linalg.eigh(between, within, eigvals_only=True), 0)
    except linalg.LinAlgError as error:
        raise DataError(NO_COVARIANCE) from error
    return rank_me_of(values)


def umap_silhouette(x: NDArray[Any], *, seed: int = 0) -> float | None:
    """Return the mean silhouette of ten k-means clusters in a UMAP of `x` (n, d).

    UMAP to 50 dimensions (fewer of few rows) with 30 neighbours and a minimum distance of 0, on Euclidean
    distances; after the finding that the silhouette in such a space goes along with how well clusters match
    classes [1]_. The number of clusters is fixed, so that files can be compared. From -1 to 1. None with
    fewer than 50 rows.

    References
    ----------
    .. [1] S. C. Lowe et al., An empirical study into clustering of unseen datasets with self-supervised
       encoders (2024), arXiv:2406.02465.
    """
    import warnings

    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    if len(x) < 50:
        return None
    with warnings.catch_warnings():
        # Importing umap-learn says that its neural variant, which is not used here, lacks TensorFlow.
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        from umap import UMAP
    model = UMAP(
        n_components=min(UMAP_DIMENSIONS, len(x) // 4, x.shape[1]),
        n_neighbors=UMAP_NEIGHBOURS,
        min_dist=0.0,
        init="pca",
        random_state=seed,
        n_jobs=1,  # what a seed implies; any other value makes UMAP warn that it is overridden
        tqdm_kwds={"disable": True},
    )
    y = model.fit_transform(np.asarray(x, dtype=np.float32))
    clusters = KMeans(UMAP_CLUSTERS, n_init=10, random_state=seed).fit_predict(y)
    return float(silhouette_score(y, clusters)) if len(np.unique(clusters)) > 1 else None
