"""HDBSCAN: clusters of any shape where rows are dense, and noise in between."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral
from typing import Any, Self

import hdbscan
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted

from clustering.density.copies import finite_tree, resolution, strengths
from clustering.density.exact_hdbscan import ExactHDBSCAN, exact_hdbscan
from embedkit.errors import DataError
from embedkit.preparing.matrix import CONSTANT, as_matrix

METHODS = ("eom", "leaf")
ALGORITHMS = ("exact", "hdbscan")


class HDBSCAN(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """HDBSCAN* [1]_ with Euclidean distances.

    The spanning tree is exact and computed by matrix products; clusters are drawn from it by the `hdbscan`
    package.

    Parameters
    ----------
    min_cluster_size
        Fewest rows of a cluster; None takes 1 % of the rows, and at least 5. (The package's own
        default is 5 whatever n, which on thousands of rows finds dozens of tiny clusters.)
    min_samples
        Neighbours that make a core point; more make more noise. None takes `min_cluster_size`, or n - 1
        where that is less.
    cluster_selection_method
        ``eom`` (excess of mass) or ``leaf`` (many small clusters).
    cluster_selection_epsilon
        Clusters that part at less than this distance stay one.
    allow_single_cluster
        Whether all rows may be one cluster.
    algorithm
        ``exact``, or ``hdbscan`` for the package's own trees: faster in a few dimensions, slower in tens, and
        up to 60 of them allowed to be approximate.
    device
        Where ``exact`` computes distances: ``auto`` (a CUDA GPU where there is one), ``cpu``, ``cuda`` or
        ``cuda:N``.

    Attributes
    ----------
    labels_ : (n,) int64
        -1 for noise. All rows can be noise.
    probabilities_ : (n,) float64
        Strength of membership in the own cluster; 0 for noise. More than `min_samples` copies of one row have
        1, and count as no denser than the densest other row: else they would leave the others none.
    outlier_scores_ : (n,) float64
        GLOSH, higher is farther out.
    n_clusters_ : int
    resolution_ : float
        Distance up to which two rows are copies.
    min_cluster_size_, min_samples_ : int
        What was used.
    backend_ : str
        What computed the tree, such as ``prim cpu float32``; ``hdbscan`` for the package.
    model_ : hdbscan.HDBSCAN
        The package's fitted estimator, with ``condensed_tree_`` and ``relative_validity_``.

    References
    ----------
    .. [1] R. Campello, D. Moulavi, J. Sander, Density-based clustering based on hierarchical density
       estimates (2013).
    """

    def __init__(
        self,
        min_cluster_size: int | None = None,
        *,
        min_samples: int | None = None,
        cluster_selection_method: str = "eom",
        cluster_selection_epsilon: float = 0.0,
        allow_single_cluster: bool = False,
        algorithm: str = "exact",
        device: str = "auto",
    ) -> None:
        self.min_cluster_size = min_cluster_size
        self.min_samples = min_samples
        self.cluster_selection_method = cluster_selection_method
        self.cluster_selection_epsilon = cluster_selection_epsilon
        self.allow_single_cluster = allow_single_cluster
        self.algorithm = algorithm
        self.device = device

    def fit(self, x: Any, y: object = None) -> Self:  # noqa: ARG002
        """Cluster `x` (n, d).

        Raises
        ------
        DataError
            NaN or infinite values, fewer than two rows, all rows equal, or a parameter out of range.
        """
        self._check_parameters()
        x = as_matrix(self, x, dtype=np.float64, min_rows=2)
        n = len(x)
        self.min_cluster_size_ = _within(
            "min_cluster_size", self.min_cluster_size, min(max(5, n // 100), n), 2, n
        )
        self.min_samples_ = _within(
            "min_samples", self.min_samples, min(self.min_cluster_size_, n - 1), 1, n - 1
        )
        if (x == x[0]).all():
            raise DataError(CONSTANT.format(n=n))
        options: dict[str, Any] = {
            "min_cluster_size": self.min_cluster_size_,
            "min_samples": self.min_samples_,
            "cluster_selection_method": self.cluster_selection_method,
            "cluster_selection_epsilon": float(self.cluster_selection_epsilon),
            "allow_single_cluster": self.allow_single_cluster,
        }
        if self.algorithm == "exact":
            self.model_ = exact_hdbscan(x, device=self.device, **options)
            self.backend_: str = self.model_.spanning_tree_.backend
        else:
            if not x.flags.writeable:  # the package's trees want a buffer that they could write to
                x = x.copy()
            self.model_ = hdbscan.HDBSCAN(gen_min_span_tree=True, **options).fit(x)
            self.backend_ = "hdbscan"
        self.labels_: NDArray[np.int64] = self.model_.labels_.astype(np.int64)
        self._measure_copies(x)
        self.probabilities_: NDArray[np.float64] = self.model_.probabilities_
        self.outlier_scores_: NDArray[np.float64] = self.model_.outlier_scores_
        self.n_clusters_ = int(self.labels_.max()) + 1
        return self

    def _measure_copies(self, x: NDArray[np.float64]) -> None:
        """Measure strengths and outliers by rows that are no copies; see `finite_tree`."""
        self.resolution_ = resolution(x)
        tree = self.model_._condensed_tree
        finite = finite_tree(tree, self.resolution_)
        if finite is tree:
            return
        self.model_._condensed_tree = finite
        self.model_._outlier_scores = None  # made of the tree when they are asked for
        if (self.labels_ >= 0).any():
            selected = self.model_.condensed_tree_._select_clusters()
            self.model_.probabilities_ = strengths(finite, self.labels_, selected)

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return the cluster (m,) of each row of `x` (m, d), -1 for noise; see `approximate_predict`."""
        return self.approximate_predict(x)[0]

    def approximate_predict(self, x: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Assign new rows to the clusters found, without finding clusters anew.

        A row that was fitted, or a copy of one, gets the label and the strength that the fit gave it.

        Parameters
        ----------
        x : (m, d)

        Returns
        -------
        labels : (m,) int64
            -1 for noise.
        probabilities : (m,) float64
            Strength of membership; 0 for noise.

        Raises
        ------
        DataError
            NaN or infinite values, or another d than fitted.
        """
        check_is_fitted(self)
        x = as_matrix(self, x, dtype=np.float64, reset=False)
        if self.n_clusters_ == 0:
            return np.full(len(x), -1), np.zeros(len(x))
        if self.model_._prediction_data is None:
            self.model_.generate_prediction_data()
        labels, probabilities = hdbscan.approximate_predict(self.model_, x)
        # The package counts a fitted row's distance of zero to itself among those to its neighbours.
        distance, own = (found[:, 0] for found in self.model_._prediction_data.tree.query(x, k=1))
        fitted = distance <= self.resolution_
        labels, probabilities = labels.astype(np.int64), probabilities.astype(np.float64)
        labels[fitted], probabilities[fitted] = self.labels_[own[fitted]], self.probabilities_[own[fitted]]
        return labels, probabilities

    def membership_vectors(self, x: Any = None) -> NDArray[np.float64]:
        """Return how much rows belong to each cluster (m, k), by the package's soft clustering.

        A row of a vector adds up to the probability that it is in any cluster, so noise has one too.

        Parameters
        ----------
        x : (m, d), optional
            New rows; those that were fitted by default. A copy of a fitted row is measured anew, among all.
        """
        check_is_fitted(self)
        if x is not None:
            x = as_matrix(self, x, dtype=np.float64, reset=False)
        n = len(self.labels_) if x is None else len(x)
        if self.n_clusters_ == 0:
            return np.zeros((n, 0))
        if self.model_._prediction_data is None:
            self.model_.generate_prediction_data()
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (
                hdbscan.all_points_membership_vectors(self.model_)
                if x is None
                else hdbscan.membership_vector(self.model_, x)
            )
        # A row at an exemplar of two clusters, or in none, is divided by zero there.
        return np.nan_to_num(np.asarray(found, dtype=np.float64).reshape(n, self.n_clusters_))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `approximate_predict` needs as named arrays, for a file without pickled objects.

        They are the fitted rows, their labels and the condensed tree: n x d float64 and about as many
        numbers again as there are rows.
        """
        check_is_fitted(self)
        tree = self.model_._condensed_tree
        return {
            "rows": np.asarray(self.model_._raw_data),
            "labels": self.labels_,
            "probabilities": self.probabilities_,
            "sizes": np.array([self.min_cluster_size_, self.min_samples_]),
            **{name: tree[name] for name in tree.dtype.names},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Return an estimator that predicts what the one predicts whose `state` this is."""
        names = ("parent", "child", "lambda_val", "child_size")
        tree = np.empty(len(state["parent"]), dtype=[(name, state[name].dtype) for name in names])
        for name in names:
            tree[name] = state[name]
        size, samples = (int(value) for value in state["sizes"])
        model = cls(size, min_samples=samples)
        model.min_cluster_size_, model.min_samples_ = size, samples
        model.labels_, model.probabilities_ = state["labels"], state["probabilities"]
        model.n_clusters_ = int(model.labels_.max()) + 1
        model.n_features_in_ = state["rows"].shape[1]
        package = ExactHDBSCAN(min_cluster_size=size, min_samples=samples)
        package._raw_data, package._condensed_tree = state["rows"], tree
        model.resolution_ = resolution(state["rows"])
        package.labels_, package.probabilities_ = model.labels_, model.probabilities_
        model.model_ = package
        return model

    def _check_parameters(self) -> None:
        method = self.cluster_selection_method
        if method not in METHODS:
            raise DataError(f"cluster_selection_method={method!r}: give one of {', '.join(METHODS)}.")
        if self.algorithm not in ALGORITHMS:
            raise DataError(f"algorithm={self.algorithm!r}: give one of {', '.join(ALGORITHMS)}.")


def _within(name: str, value: int | None, default: int, low: int, high: int) -> int:
    if value is None:
        return default
    if not isinstance(value, Integral) or isinstance(value, bool) or not low <= value <= high:
        raise DataError(f"{name}={value!r}: give an integer from {low} to {high} for this many rows.")
    return int(value)
