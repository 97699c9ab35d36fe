"""Linear discriminant analysis, whose covariance is drawn towards a sphere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, UsageError
from embedkit.preparing.matrix import features
from embedkit.scoring.probabilities import softmax
from probes.kinds.interface import Classifier, State, Validation
from probes.kinds.selection import check_varies, check_width, choose, class_index

SHRINKAGE = (0.1, 0.3, 0.5, 0.7, 0.9)


class LDAProbe(Classifier):
    """Gaussian classes of one covariance, which is shrunk; how much is chosen on validation rows.

    The covariance within classes is (1 - s) times that of the training rows and s times a sphere of the same
    trace. On features whitened by their views, the sphere is the covariance of an image's own views: what few
    labels can't tell, the views do.

    Parameters
    ----------
    shrinkage
        s, above 0 and at most 1; or several to choose from, ties go to the smallest.
    select
        What the validation rows choose by.
    refit
        Fit on training and validation rows together once the shrinkage is chosen.

    Attributes
    ----------
    classes_ : (c,) array
        Sorted class labels.
    coef_ : (c, d) float64
        Covariance's inverse times the class means.
    intercept_ : (c,) float64
        With the log of the classes' shares.

    References
    ----------
    Friedman 1989, Regularized Discriminant Analysis; `shrinkage` as in scikit-learn's
    ``LinearDiscriminantAnalysis``.
    """

    def __init__(
        self,
        *,
        shrinkage: float | Sequence[float] = SHRINKAGE,
        select: str = "accuracy",
        refit: bool = False,
    ) -> None:
        self.shrinkage = shrinkage
        self.select = select
        self.refit = refit

    def fit(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        *,
        validation: Validation | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> LDAProbe:
        """Fit (n, d) features and (n,) labels; choose the shrinkage on `validation`."""
        given = self.shrinkage if isinstance(self.shrinkage, Sequence) else (self.shrinkage,)
        candidates = sorted({float(one) for one in given})
        if not candidates or not all(0 < one <= 1 for one in candidates):
            raise UsageError("--shrinkage: above 0 and at most 1.")
        x = features(x)
        check_varies(x)
        self.validation_scores_: dict[float, float] = {}
        self.validation_output_: NDArray[np.float64] | None = None
        best = 0
        self._measure(x, y)
        if validation is not None:
            outputs = {}
            for one in candidates:
                self._shrink(one)
                outputs[one] = self.predict_proba(validation[0])
            best, scores = choose(outputs, validation, self.classes_, self.select)
            self.validation_scores_ = (
                dict(zip(candidates, scores, strict=True)) if len(candidates) > 1 else {}
            )
            self.validation_output_ = outputs[candidates[best]]
            if self.refit:
                x = np.concatenate([x, features(validation[0])])
                self._measure(x, np.concatenate([np.asarray(y), np.asarray(validation[1])]))
        elif len(candidates) > 1:
            raise DataError("several shrinkages and no validation rows to choose by. Give shrinkage=0.5.")
        self._shrink(candidates[best])
        self.chosen_, self.backend_ = {"shrinkage": candidates[best]}, "numpy-cpu"
        self.notes_: list[str] = []
        self.details_: dict[str, Any] = {}
        advance()
        return self

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) probabilities."""
        x = features(x)
        check_width(x, self.coef_.shape[1])
        return softmax(x.astype(np.float64) @ self.coef_.T + self.intercept_)

    def state(self) -> State:
        """Return everything that `predict` needs, as plain arrays."""
        return {"classes": self.classes_, "coef": self.coef_, "intercept": self.intercept_}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make a fitted probe of what `state` gave."""
        probe = cls()
        probe.classes_, probe.coef_, probe.intercept_ = state["classes"], state["coef"], state["intercept"]
        return probe

    def _measure(self, x: NDArray[np.float32], y: NDArray[Any]) -> None:
        """Keep the class means, and axes and variances of the covariance within classes that has any."""
        self.classes_, label = class_index(y, len(x))
        rows = x.astype(np.float64)
        sums = np.zeros((len(self.classes_), x.shape[1]))
        np.add.at(sums, label, rows)
        counts = np.bincount(label)
        self._means, self._log_shares = sums / counts[:, None], np.log(counts / len(x))
        # Of few rows, the Gram matrix is the smaller one, and holds the same variances.
        rows = (rows - self._means[label]) / np.sqrt(len(x))
        few = len(rows) < rows.shape[1]
        variance, axes = np.linalg.eigh(rows @ rows.T if few else rows.T @ rows)
        total = float(np.maximum(variance, 0).sum())
        kept = variance > 1e-12 * max(total, 1e-300)
        self._variance = variance[kept]
        self._axes = rows.T @ axes[:, kept] / np.sqrt(self._variance) if few else axes[:, kept]  # (d, r)
        # With one row a class nothing varies within: then as the means do.
        self._sphere = total / x.shape[1] if total > 0 else float(self._means.var(axis=0).mean())

    def _shrink(self, shrinkage: float) -> None:
        outside = 1 / (shrinkage * self._sphere)
        inside = 1 / ((1 - shrinkage) * self._variance + shrinkage * self._sphere)
        along = self._means @ self._axes
        self.coef_ = outside * self._means + (along * (inside - outside)) @ self._axes.T
        self.intercept_ = self._log_shares - 0.5 * (self._means * self.coef_).sum(axis=1)
