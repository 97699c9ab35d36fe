"""The linear probe: L2 logistic regression, C chosen on validation rows along one warm-started path."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.computing.driver import backend, torch_device
from embedkit.errors import UsageError
from embedkit.preparing.matrix import features
from probes.kinds.interface import Classifier, State, Validation
from probes.kinds.logistic import ConvergenceWarning, Logistic, LogisticFit, ahead, probability
from probes.kinds.selection import choose, class_index, class_weights
from probes.kinds.standardise import Standardiser

# Half decades around 0.01, where standardised features of a few hundred to a few thousand dimensions have
# their best C.
C_GRID = tuple(float(f"{c:.4g}") for c in np.logspace(-5, 1, 13))
# Along the path; agreement with scikit-learn to 1e-4 needs the finer tolerance of the fit that is kept.
PATH_TOLERANCE = 2e-3


class LinearProbe(Classifier):
    """L2 logistic regression on standardised features; C is chosen on validation rows.

    Parameters
    ----------
    c_grid
        Inverse strengths of the penalty, as in scikit-learn. With several, the one with the best validation
        score is taken; ties go to the smallest.
    select
        ``accuracy``, ``balanced_accuracy`` or ``log_loss``: what the validation rows choose C by. The last
        is the steadiest on few rows.
    standardize
        Scale each feature to mean 0 and variance 1 on the training rows. Features that are constant there
        are left out.
    class_weight
        ``balanced`` weighs a row by n / (c times the rows of its class), as in scikit-learn; None all alike.
    refit
        Once C is chosen, fit again on training and validation rows together, standardisation included.
    max_iter
        Iterations for each C; a `ConvergenceWarning` says where they were not enough.
    device
        ``cpu`` (numpy), ``cuda`` (torch) or ``auto``: a GPU where there is one.

    Attributes
    ----------
    classes_ : (c,) array
        Sorted class labels.
    c_ : float
        The C that was chosen.
    coef_ : (c, d) float64
        Coefficients of the standardised features; one row for two classes.
    intercept_ : (c,) float64
        Likewise.
    mean_, scale_ : (d,) float64
        The standardisation; a scale of 0 marks a feature that is left out.
    n_iter_ : dict
        C to the iterations it took.
    converged_ : bool
        Whether the kept fit has settled.

    Notes
    -----
    Nothing here is random. The path is fitted in float32, the kept fit is finished in float64.
    """

    def __init__(
        self,
        *,
        c_grid: float | Sequence[float] = C_GRID,
        select: str = "accuracy",
        standardize: bool = True,
        class_weight: str | None = None,
        refit: bool = False,
        max_iter: int = 500,
        device: str = "cpu",
    ) -> None:
        self.c_grid = c_grid
        self.select = select
        self.standardize = standardize
        self.class_weight = class_weight
        self.refit = refit
        self.max_iter = max_iter
        self.device = device

    def fit(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        *,
        validation: Validation | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> LinearProbe:
        """Fit (n, d) features and their (n,) labels; choose C on `validation`, a pair of the same.

        `advance` is called after each C of the grid.
        """
        grid = check_c_grid(self.c_grid)
        x = features(x)
        self.classes_, label = class_index(y, len(x))
        self.notes_: list[str] = []
        self._standardiser = Standardiser.fit(x, scaled=self.standardize)
        self._device = torch_device(self.device)
        self.backend_ = backend(self._device)
        logistic: Logistic | None = None
        self.n_iter_: dict[float, int] = {}
        self.validation_scores_: dict[float, float] = {}
        path: list[LogisticFit] = []
        if len(grid) == 1:
            self.c_ = grid[0]
        else:
            logistic = self._logistic(x, label, np.float32)
            held = None if validation is None else self._standardiser.apply(features(validation[0]))
            probabilities = {}
            for c in grid:
                path.append(
                    logistic.fit(c, start=ahead(path, c), tolerance=PATH_TOLERANCE, max_iter=self.max_iter)
                )
                advance()
                self.n_iter_[c] = path[-1].n_iter
                if held is not None:
                    probabilities[c] = probability(held @ path[-1].coef.T + path[-1].intercept)
            unsettled = [f"{fit.c:g}" for fit in path if not fit.converged]
            if unsettled:
                self._warn(
                    f"C = {', '.join(unsettled)} had not settled after {self.max_iter} iterations; the "
                    "choice of C may be off. Leave them out with `embedkit probe --c-grid`."
                )
            best, scores = choose(probabilities, validation, self.classes_, self.select)
            self.c_ = grid[best]
            self.validation_scores_ = dict(zip(grid, scores, strict=True))
            if best in (0, len(grid) - 1):
                self.notes_.append(
                    f"C = {self.c_:g} is at the edge of the grid. `embedkit probe --c-grid` widens it."
                )
        start = next((fit for fit in path if fit.c == self.c_), None)
        self._finish(x, label, start, logistic)
        self.validation_output_ = None if validation is None else self.predict_proba(validation[0])
        if self.refit and validation is not None:
            x = np.concatenate([x, features(validation[0])])
            joined = np.concatenate([np.asarray(y), np.asarray(validation[1])])
            n_before = len(self.classes_)
            self.classes_, label = class_index(joined, len(joined))
            self._standardiser = Standardiser.fit(x, scaled=self.standardize)
            self._finish(x, label, start if len(self.classes_) == n_before else None, None)
        self.notes_ += self._standardiser.notes
        self.chosen_ = {"c": self.c_}
        self.details_ = {
            "converged": self.converged_,
            "n_iter": {f"{c:g}": n for c, n in self.n_iter_.items()},
        }
        return self

    def decision_function(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) logits, or (n,) of the second class where there are two."""
        x = features(x)
        z = np.empty((len(x), len(self.coef_)))
        for start in range(0, len(x), 4096):  # never all rows in float64
            some = slice(start, start + 4096)
            z[some] = self._standardiser.apply(x[some], np.float64) @ self.coef_.T + self.intercept_
        return z[:, 0] if z.shape[1] == 1 else z

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) probabilities."""
        z = self.decision_function(x)
        return probability(z[:, None] if z.ndim == 1 else z)

    def state(self) -> State:
        """Return everything that `predict` needs, as plain arrays."""
        return {
            "classes": self.classes_,
            "mean": self.mean_,
            "scale": self.scale_,
            "coef": self.coef_,
            "intercept": self.intercept_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make a fitted probe of what `state` gave."""
        probe = cls()
        probe.classes_, probe.coef_, probe.intercept_ = state["classes"], state["coef"], state["intercept"]
        probe._standardiser = Standardiser(state["mean"], state["scale"])
        return probe

    @property
    def mean_(self) -> NDArray[np.float64]:
        """(d,) subtracted from the features."""
        return self._standardiser.mean

    @property
    def scale_(self) -> NDArray[np.float64]:
        """(d,) that the features are divided by; 0 marks one that is left out."""
        return self._standardiser.scale

    @property
    def n_constant_(self) -> int:
        """Number of features that are constant on the training rows."""
        return self._standardiser.n_constant

    def _logistic(
        self, x: NDArray[np.float32], label: NDArray[np.int64], dtype: Any, like: Logistic | None = None
    ) -> Logistic:
        c = len(self.classes_)
        target = np.eye(c)[label] if c > 2 else label[:, None].astype(np.float64)
        return Logistic(
            self._standardiser.apply(x, dtype),
            target,
            softmax=c > 2,
            weight=class_weights(label, c, self.class_weight),
            like=like,
            device=self._device,
        )

    def _finish(
        self,
        x: NDArray[np.float32],
        label: NDArray[np.int64],
        start: LogisticFit | None,
        like: Logistic | None,
    ) -> None:
        final = self._logistic(x, label, np.float64, like).fit(self.c_, start=start, max_iter=self.max_iter)
        self.n_iter_[self.c_] = self.n_iter_.get(self.c_, 0) + final.n_iter
        self.converged_ = final.converged
        if not final.converged:
            self._warn(
                f"the fit at C = {self.c_:g} stopped after {final.n_iter} iterations with coefficients still "
                f"moving by {final.error:.1g} of the largest. A smaller C settles sooner: `embedkit probe "
                "--c-grid`."
            )
        self.coef_, self.intercept_ = final.coef, final.intercept

    def _warn(self, message: str) -> None:
        self.notes_.append(f"Not converged: {message}")
        warnings.warn(message, ConvergenceWarning, stacklevel=3)


def check_c_grid(c_grid: float | Sequence[float]) -> tuple[float, ...]:
    """Return the grid sorted, without copies; refuse an empty one or a C that is not above 0."""
    grid = (c_grid,) if isinstance(c_grid, (int, float)) else tuple(c_grid)
    if not grid or not all(np.isfinite(c) and c > 0 for c in grid):
        raise UsageError(
            f"C grid {' '.join(f'{c:g}' for c in grid)}: every C must be above 0, such as 0.001 0.01 0.1."
        )
    return tuple(sorted({float(c) for c in grid}))
