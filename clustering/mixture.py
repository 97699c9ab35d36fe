"""A mixture of Gaussians: clusters with a shape and a size of their own, and probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted

from embedkit.errors import DataError
from embedkit.preparing.matrix import CONSTANT, as_matrix, too_many_clusters

COVARIANCES = ("full", "tied", "diag", "spherical")
# Added to every variance, as a part of the mean variance of the columns: scikit-learn's 1e-6 is absolute, and
# features of length 1 have variances about that small.
REGULARISATION = 1e-3
FITTED = ("weights_", "means_", "covariances_", "precisions_cholesky_")


class GMM(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """scikit-learn's Gaussian mixture by expectation maximisation [1]_, each restart from a k-means.

    Parameters
    ----------
    n_clusters
        k, at least 1.
    covariance_type
        ``full`` (each its own), ``tied`` (one for all), ``diag`` or ``spherical``.
    n_init
        Restarts; the likeliest is kept.
    max_iter
        Most iterations of each.
    random_state
        Seed.

    Attributes
    ----------
    labels_ : (n,) int64
        The likeliest component, by falling weight.
    weights_, means_, covariances_, precisions_cholesky_
        As in scikit-learn.
    bic_ : float
        Bayesian information criterion; lower is better.
    converged_ : bool

    References
    ----------
    .. [1] A. Dempster, N. Laird, D. Rubin, Maximum likelihood from incomplete data via the EM algorithm,
       JRSS B 39 (1977).
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        covariance_type: str = "full",
        n_init: int = 3,
        max_iter: int = 200,
        random_state: Any = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.covariance_type = covariance_type
        self.n_init = n_init
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, x: Any, y: object = None) -> Self:  # noqa: ARG002
        """Fit the mixture to `x` (n, d).

        Raises
        ------
        DataError
            NaN or infinite values, all rows equal, fewer distinct rows than components, or a parameter out
            of range.
        """
        for name in ("n_clusters", "n_init", "max_iter"):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise DataError(f"{name}={value!r}: give an integer of at least 1.")
        if self.covariance_type not in COVARIANCES:
            raise DataError(
                f"covariance_type={self.covariance_type!r}: give one of {', '.join(COVARIANCES)}."
            )
        x = as_matrix(self, x, dtype=np.float64, min_rows=2)
        n, k = len(x), int(self.n_clusters)
        if k > n:
            raise too_many_clusters(n, k)
        if (x == x[0]).all():
            raise DataError(CONSTANT.format(n=n))
        n_distinct = len(np.unique(x, axis=0))
        if n_distinct < k:
            raise DataError(
                f"{n} rows, but only {n_distinct} of them distinct, for {k} clusters. Ask for at most "
                f"{n_distinct} clusters, and look at whether the features are constant."
            )
        mixture = GaussianMixture(
            k,
            covariance_type=self.covariance_type,
            n_init=self.n_init,
            max_iter=self.max_iter,
            random_state=self.random_state,
            reg_covar=REGULARISATION * float(x.var(axis=0).mean()),
        )
        with warnings.catch_warnings():
            # `converged_` says it.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(x)
        order = np.argsort(-mixture.weights_, kind="stable")
        self.weights_, self.means_ = mixture.weights_[order], mixture.means_[order]
        own = self.covariance_type != "tied"
        self.covariances_ = mixture.covariances_[order] if own else mixture.covariances_
        self.precisions_cholesky_ = (
            mixture.precisions_cholesky_[order] if own else mixture.precisions_cholesky_
        )
        self.converged_ = bool(mixture.converged_)
        self.n_iter_ = int(mixture.n_iter_)
        self.bic_ = float(mixture.bic(x))
        self.labels_ = self.predict(x)
        return self

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return the likeliest component (n,) of each row of `x` (n, d)."""
        return np.asarray(self.predict_proba(x).argmax(axis=1))

    def predict_proba(self, x: Any) -> NDArray[np.float64]:
        """Return the probability (n, k) of each component for the rows of `x` (n, d)."""
        check_is_fitted(self)
        x = as_matrix(self, x, dtype=np.float64, reset=False)
        mixture = GaussianMixture(len(self.weights_), covariance_type=self.covariance_type)
        for name in FITTED:
            setattr(mixture, name, getattr(self, name))
        return np.asarray(mixture.predict_proba(x))

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `predict` needs as named arrays, for a file without pickled objects."""
        check_is_fitted(self)
        kind = np.array(COVARIANCES.index(self.covariance_type))
        return {"covariance_type": kind} | {name: getattr(self, name) for name in FITTED}

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Return an estimator that predicts what the one predicts whose `state` this is; it has no labels."""
        model = cls(len(state["weights_"]), covariance_type=COVARIANCES[int(state["covariance_type"])])
        for name in FITTED:
            setattr(model, name, state[name])
        model.n_features_in_ = state["means_"].shape[1]
        return model
