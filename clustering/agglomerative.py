"""Agglomerative clustering: rows merged pair by pair, the tree cut at k clusters."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.cluster import AgglomerativeClustering
from sklearn.utils.validation import check_is_fitted

from clustering.kmeans.memberships import distances_to, memberships
from embedkit.errors import DataError
from embedkit.preparing.matrix import CONSTANT, as_matrix, too_many_clusters

LINKAGES = ("ward", "average", "complete", "single")
# All pairs of rows are held in float64: 3.4 GiB at this many.
MAX_ROWS = 30_000


class Agglomerative(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """scikit-learn's agglomerative clustering, with assignment of new rows.

    The tree itself knows no new rows: `predict` gives each to the cluster with the **nearest mean**, which
    for rows that were fitted is not always the cluster that the tree put them in.

    Parameters
    ----------
    n_clusters
        k, at least 1.
    linkage
        ``ward`` (least growth of the variance within clusters), ``average``, ``complete`` or ``single``.

    Attributes
    ----------
    labels_ : (n,) int64
        By falling cluster size.
    cluster_centers_ : (k, d) float64
        Mean of each cluster.

    References
    ----------
    .. [1] J. H. Ward, Hierarchical grouping to optimize an objective function, JASA 58 (1963).
    """

    def __init__(self, n_clusters: int = 8, *, linkage: str = "ward") -> None:
        self.n_clusters = n_clusters
        self.linkage = linkage

    def fit(self, x: Any, y: object = None) -> Self:  # noqa: ARG002
        """Cluster `x` (n, d).

        Raises
        ------
        DataError
            NaN or infinite values, fewer rows than clusters, more than 30,000 rows (all pairs are held in
            memory), or a parameter out of range.
        """
        k = self.n_clusters
        if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
            raise DataError(f"n_clusters={k!r}: give an integer of at least 1.")
        if self.linkage not in LINKAGES:
            raise DataError(f"linkage={self.linkage!r}: give one of {', '.join(LINKAGES)}.")
        x = as_matrix(self, x, dtype=np.float64, min_rows=2)
        n = len(x)
        if k > n:
            raise too_many_clusters(n, k)
        if n > MAX_ROWS:
            raise DataError(
                f"{n:,} rows: agglomerative clustering holds all {n * (n - 1) // 2:,} pairs "
                f"({n * (n - 1) * 4 / 2**30:.1f} GiB) and is offered up to {MAX_ROWS:,} rows. k-means and "
                "HDBSCAN take more."
            )
        if k > 1 and (x == x[0]).all():
            raise DataError(CONSTANT.format(n=n))
        _, labels = np.unique(
            AgglomerativeClustering(n_clusters=int(k), linkage=self.linkage).fit(x).labels_,
            return_inverse=True,
        )
        order = np.argsort(-np.bincount(labels), kind="stable")
        self.labels_: NDArray[np.int64] = np.argsort(order)[labels]
        self.cluster_centers_: NDArray[np.float64] = np.stack(
            [x[self.labels_ == c].mean(axis=0) for c in range(int(k))]
        )
        return self

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return the cluster (n,) with the nearest mean for each row of `x` (n, d)."""
        return np.asarray(self.transform(x).argmin(axis=1))

    def predict_proba(self, x: Any) -> NDArray[np.float64]:
        """Return soft assignments (n, k) of `x` (n, d) by distance to the means; see `memberships`."""
        return memberships(self.transform(x))

    def transform(self, x: Any) -> NDArray[np.float64]:
        """Return the Euclidean distances (n, k) of `x` (n, d) to the means of the clusters."""
        check_is_fitted(self)
        return distances_to(as_matrix(self, x, dtype=np.float64, reset=False), self.cluster_centers_)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `predict` needs as named arrays, for a file without pickled objects."""
        check_is_fitted(self)
        return {"centers": self.cluster_centers_}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Return an estimator that predicts what the one predicts whose `state` this is; it has no labels."""
        model = cls(len(state["centers"]))
        model.cluster_centers_, model.n_features_in_ = state["centers"], state["centers"].shape[1]
        return model

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)
