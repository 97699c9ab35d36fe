"""UMAP to a few dimensions, as a step before clustering, that takes new rows one by one."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from clustering.density.distances import Frame, Points, nearest
from embedkit.errors import DataError
from embedkit.preparing.matrix import CONSTANT, as_matrix

F32 = NDArray[np.float32]
MIN_ROWS = 5
# Epochs of gradient descent for new rows: umap-learn's number for up to 10,000 of them.
N_EPOCHS_NEW = 100
# umap-learn computes all distances below this many rows, and takes given neighbours from it on.
SMALL = 4096


class UMAP(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """UMAP [1]_ by umap-learn, from exact neighbours and the principal components.

    New rows go through the steps of umap-learn's own ``transform``: the mean of their neighbours' places,
    weighted by membership, then 100 epochs of gradient descent against the fitted places, which stay. Here
    the weights are scaled for each row by itself, so that where a row goes does not depend on the rows that
    come with it, and a row that was fitted gets its own place back. What is needed for that are
    arrays alone: the fitted rows, their places, and the two numbers of the curve.

    Parameters
    ----------
    n_components
        Dimensions to reduce to; no more than the features have, and fewer than n - 1.
    n_neighbors
        Size of the neighbourhoods, from 2; at most n - 1 are used.
    min_dist
        How tightly points may be packed, in [0, 1]; 0 suits clustering.
    random_state
        Seed.

    Attributes
    ----------
    embedding_ : (n, m) float32
        Places of the fitted rows.
    rows_ : (n, d) float32
        The fitted rows.
    n_neighbors_ : int
        What was used.
    curve_ : (2,) float64
        umap-learn's a and b.

    References
    ----------
    .. [1] L. McInnes, J. Healy, J. Melville, UMAP: Uniform Manifold Approximation and Projection for
       dimension reduction, arXiv:1802.03426 (2018).
    """

    def __init__(
        self, n_components: int = 5, *, n_neighbors: int = 15, min_dist: float = 0.0, random_state: Any = 0
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.min_dist = min_dist
        self.random_state = random_state

    def fit(self, x: Any, y: object = None) -> Self:  # noqa: ARG002
        """Place the rows of `x` (n, d).

        Raises
        ------
        DataError
            NaN or infinite values, fewer than five rows, all rows equal, or a parameter out of range.
        """
        for name, least in (("n_components", 1), ("n_neighbors", 2)):
            value = getattr(self, name)
            if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
                raise DataError(f"{name}={value!r}: give an integer of at least {least}.")
        if not isinstance(self.min_dist, Real) or not 0 <= self.min_dist <= 1:
            raise DataError(f"min_dist={self.min_dist!r}: give a number from 0 to 1.")
        x = as_matrix(self, x, min_rows=MIN_ROWS)
        n, d = x.shape
        if (x == x[0]).all():
            raise DataError(CONSTANT.format(n=n))
        umap = _umap()
        self.rows_: F32 = x.copy()
        self.n_neighbors_: int = min(int(self.n_neighbors), n - 1)
        options: dict[str, Any] = {}
        if n >= SMALL:
            exact = x.astype(np.float64)
            points = Points(exact, Frame.of(exact))
            distances, index = nearest(points, points, self.n_neighbors_ - 1)
            own = np.arange(n)[:, np.newaxis]
            options["precomputed_knn"] = (
                np.hstack([own, index]).astype(np.int32),
                np.hstack([np.zeros((n, 1)), distances]).astype(np.float32),
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        model = umap.umap_.UMAP(
            n_components=min(int(self.n_components), d, n - 2),
            n_neighbors=self.n_neighbors_,
            min_dist=float(self.min_dist),
            init="pca",
            random_state=seed,
            n_jobs=1,
            **options,
        )
        with warnings.catch_warnings():
            # That its own transform is unavailable with given neighbours; it is not used.
            warnings.filterwarnings("ignore", category=UserWarning, module="umap")
            self.embedding_: F32 = np.asarray(model.fit_transform(x), dtype=np.float32)
        self.curve_: NDArray[np.float64] = np.array([model._a, model._b])
        return self

    def fit_transform(self, x: Any, y: object = None) -> F32:
        """Place the rows of `x` (n, d) and return their places (n, m)."""
        return self.fit(x, y).embedding_

    def transform(self, x: Any) -> F32:
        """Return places (n, m) of new rows `x` (n, d) among the fitted ones."""
        check_is_fitted(self)
        x = as_matrix(self, x, reset=False)
        exact, fitted = x.astype(np.float64), self.rows_.astype(np.float64)
        frame = Frame.of(fitted).reaching(exact)
        distances, index = nearest(Points(exact, frame), Points(fitted, frame), self.n_neighbors_)
        weights = _strengths(distances.astype(np.float32))
        places = np.einsum("nk,nkm->nm", weights / weights.sum(axis=1, keepdims=True), self.embedding_[index])
        places = np.ascontiguousarray(places, dtype=np.float32)
        relative = weights / weights.max(axis=1, keepdims=True)
        head, column = np.nonzero(relative >= 1 / N_EPOCHS_NEW)
        _umap().layouts.optimize_layout_euclidean(
            places,
            self.embedding_.copy(),
            head.astype(np.int32),
            index[head, column].astype(np.int32),
            N_EPOCHS_NEW,
            len(fitted),
            1 / relative[head, column],
            *self.curve_,
            np.array([17, 42, 1999], dtype=np.int64),
            1.0,
            0.25,
            5.0,
            tqdm_kwds={"disable": True},
        )
        seen = distances[:, 0] == 0
        places[seen] = self.embedding_[index[seen, 0]]
        return places

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `transform` needs as named arrays, for a file without pickled objects."""
        check_is_fitted(self)
        return {
            "rows": self.rows_,
            "embedding": self.embedding_,
            "curve": self.curve_,
            "n_neighbors": np.array(self.n_neighbors_),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, NDArray[Any]]) -> Self:
        """Return an estimator that transforms as the one does whose `state` this is."""
        n_neighbors = int(state["n_neighbors"])
        model = cls(state["embedding"].shape[1], n_neighbors=n_neighbors)
        model.rows_, model.embedding_, model.curve_ = state["rows"], state["embedding"], state["curve"]
        model.n_neighbors_, model.n_features_in_ = n_neighbors, model.rows_.shape[1]
        return model

    @property
    def _n_features_out(self) -> int:
        return int(self.embedding_.shape[1])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _strengths(distances: F32) -> NDArray[np.float64]:
    """Membership of each row in each of its neighbours (n, k), at distances (n, k)."""
    smooth_knn_dist = _umap().umap_.smooth_knn_dist
    widths = np.empty(len(distances))
    for i in range(len(distances)):
        # One row at a time: of many, the least width would depend on the mean distance of all.
        widths[i] = smooth_knn_dist(distances[i : i + 1], float(distances.shape[1]), local_connectivity=0.0)[
            0
        ][0]
    widths = np.where(widths > 0, widths, 1)[:, np.newaxis]
    return np.asarray(np.exp(-distances.astype(np.float64) / widths))


def _umap() -> Any:
    """Return the package, imported on use: it compiles for seconds, and warns that it finds no TensorFlow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)
        import umap
        import umap.layouts
    return umap
