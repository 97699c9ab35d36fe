"""How tight clusters are for their distances from one another: two scores, over blocks of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

# In float64 a block of 384 dimensions takes 200 MB.
BLOCK = 1 << 16


def compactness(x: NDArray[np.floating[Any]], clusters: NDArray[np.int64]) -> tuple[float, float]:
    """Return Calinski-Harabasz [1]_ (higher is better) and Davies-Bouldin [2]_ (lower is better).

    They are scikit-learn's ``calinski_harabasz_score`` and ``davies_bouldin_score``, which hold all rows in
    float64 at once; here only a block is.

    Parameters
    ----------
    x : (n, d) float
        Rows.
    clusters : (n,) int64
        From 2 to n - 1 different numbers.

    References
    ----------
    .. [1] Calinski & Harabasz 1974, Communications in Statistics 3, 1.
    .. [2] Davies & Bouldin 1979, IEEE TPAMI 1, 224.
    """
    names, cluster, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    n, k = len(x), len(names)
    sums = np.zeros((k, x.shape[1]))
    blocks = [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]
    for some in blocks:
        rows = cluster[some]
        belongs = csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(k, len(rows)))
        sums += belongs @ x[some].astype(np.float64)
    means = sums / sizes[:, np.newaxis]
    within, distances = 0.0, np.zeros(k)
    for some in blocks:
        square = ((x[some] - means[cluster[some]]) ** 2).sum(axis=1)
        within += float(square.sum())
        distances += np.bincount(cluster[some], np.sqrt(square), k)
    between = float(sizes @ ((means - sums.sum(axis=0) / n) ** 2).sum(axis=1))
    calinski = 1.0 if within == 0 else between * (n - k) / (within * (k - 1))
    return calinski, _davies_bouldin(means, distances / sizes)


def _davies_bouldin(means: NDArray[np.float64], radius: NDArray[np.float64]) -> float:
    from sklearn.metrics import pairwise_distances

    apart = pairwise_distances(means)
    if np.allclose(radius, 0) or np.allclose(apart, 0):
        return 0.0
    apart[apart == 0] = np.inf
    return float(((radius[:, np.newaxis] + radius) / apart).max(axis=1).mean())
