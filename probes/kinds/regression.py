"""Multi-output regression, such as 37 vote fractions at once: ridge, and a sigmoid for values in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.computing.driver import backend, torch_device
from embedkit.errors import DataError, UsageError
from embedkit.preparing.matrix import features
from probes.kinds.interface import State, Validation
from probes.kinds.logistic import Logistic, LogisticFit, ahead, sigmoid
from probes.kinds.standardise import Standardiser

ALPHAS = tuple(float(f"{a:.4g}") for a in np.logspace(-1, 6, 15))
C_GRID = tuple(float(f"{c:.4g}") for c in np.logspace(-5, 0, 11))
PATH_TOLERANCE = 2e-3


class _Regressor:
    """Standardised features times (t, d) coefficients; the penalty is chosen by RMSE on validation rows."""

    setting = ""
    _standardiser: Standardiser
    coef_: NDArray[np.float64]
    intercept_: NDArray[np.float64]

    def __init__(self, grid: Sequence[float], *, refit: bool) -> None:
        self._grid, self.refit = grid, refit
        self.backend_ = "numpy-cpu"

    def fit(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        *,
        validation: Validation | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> Self:
        """Fit (n, d) features and (n, t) targets; choose the penalty on `validation`, a pair of the same."""
        x, y = features(x), self._targets(y, len(x))
        grid = check_penalties(self._grid)
        self._standardiser = Standardiser.fit(x)
        self.notes_ = self._standardiser.notes
        self.validation_scores_: dict[float, float] = {}
        self.validation_output_: NDArray[np.float64] | None = None
        best = 0
        path = self._path(x, y, grid, advance)
        if validation is not None:
            held = self._targets(validation[1], len(validation[0]))
            losses = []
            for self.coef_, self.intercept_ in path:
                losses.append(float(np.sqrt(((self.predict(validation[0]) - held) ** 2).mean())))
            best = int(np.argmin(losses))
            self.validation_scores_ = dict(zip(grid, losses, strict=True)) if len(grid) > 1 else {}
            if len(grid) > 1 and best in (0, len(grid) - 1):
                flag = "--" + self.setting_flag
                self.notes_.append(
                    f"{self.setting} = {grid[best]:g} is at the edge of the grid. `embedkit probe {flag}` "
                    "widens it."
                )
        elif len(grid) > 1:
            raise DataError("several penalties and no validation rows to choose by. Give one.")
        self.coef_, self.intercept_ = path[best]
        if validation is not None:
            self.validation_output_ = self.predict(validation[0])
        if self.refit and validation is not None:
            x = np.concatenate([x, features(validation[0])])
            y = np.concatenate([y, self._targets(validation[1], len(validation[0]))])
            self._standardiser = Standardiser.fit(x)
            self.coef_, self.intercept_ = self._path(x, y, (grid[best],), lambda: None)[0]
        self.chosen_ = {self.setting: grid[best]}
        self.details_: dict[str, Any] = {}
        return self

    def predict(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, t) targets."""
        z = self._standardiser.apply(features(x), np.float64) @ self.coef_.T + self.intercept_
        return self._link(z)

    def state(self) -> State:
        """Return everything that `predict` needs, as plain arrays."""
        return {
            "mean": self._standardiser.mean,
            "scale": self._standardiser.scale,
            "coef": self.coef_,
            "intercept": self.intercept_,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make a fitted probe of what `state` gave."""
        probe = cls()  # type: ignore[call-arg]
        probe._standardiser = Standardiser(state["mean"], state["scale"])
        probe.coef_, probe.intercept_ = state["coef"], state["intercept"]
        return probe

    @property
    def setting_flag(self) -> str:
        """The flag of the grid."""
        return "alphas" if self.setting == "alpha" else "c-grid"

    # (rows, targets, penalties, advance) -> coefficients (t, d) and intercepts (t,) at each penalty.
    _path: Callable[..., list[tuple[NDArray[np.float64], NDArray[np.float64]]]]

    def _link(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        return z

    def _targets(self, y: NDArray[Any], n: int) -> NDArray[np.float64]:
        y = np.asarray(y, dtype=np.float64)
        if y.ndim != 2 or len(y) != n or not y.shape[1]:
            raise DataError(f"targets of shape {y.shape} don't fit {n} rows of features; (n, t) is expected.")
        if not np.isfinite(y).all():
            raise DataError(f"{int((~np.isfinite(y).all(axis=1)).sum())} rows lack a target. Leave them out.")
        return y


class RidgeProbe(_Regressor):
    """Ridge regression of (n, t) targets; one penalty for all, chosen by RMSE on validation rows.

    Parameters
    ----------
    alphas
        Penalties, as in scikit-learn's ``Ridge``; ties go to the smallest.
    clip
        Cut predictions to [0, 1], for vote fractions.
    refit
        Fit again on training and validation rows together once alpha is chosen.

    Attributes
    ----------
    coef_ : (t, d) float64
        Coefficients of the standardised features.
    intercept_ : (t,) float64
        The targets' means on the training rows.
    """

    setting = "alpha"

    def __init__(
        self, *, alphas: float | Sequence[float] = ALPHAS, clip: bool = False, refit: bool = False
    ) -> None:
        self.alphas = alphas
        self.clip = clip
        super().__init__((alphas,) if isinstance(alphas, (int, float)) else alphas, refit=refit)

    def state(self) -> State:
        """Return everything that `predict` needs, as plain arrays."""
        return {**super().state(), "clip": np.array(self.clip)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make a fitted probe of what `state` gave."""
        probe = super().from_state(state)
        probe.clip = bool(state["clip"])
        return probe

    def _path(
        self,
        x: NDArray[np.float32],
        y: NDArray[np.float64],
        grid: Sequence[float],
        advance: Callable[[], object],
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        z = self._standardiser.apply(x, np.float64)
        middle, centre = y.mean(axis=0), z.mean(axis=0)
        z -= centre
        # One eigendecomposition, of the smaller of X^T X and X X^T, serves every penalty.
        wide = z.shape[1] > len(z)
        values, vectors = np.linalg.eigh(z @ z.T if wide else z.T @ z)
        values = np.maximum(values, 0)
        right = vectors.T @ ((y - middle) if wide else z.T @ (y - middle))
        found = []
        for alpha in grid:
            w = vectors @ (right / (values + alpha)[:, None])
            coef = (z.T @ w if wide else w).T
            found.append((coef, middle - coef @ centre))
            advance()
        return found

    def _link(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(z, 0, 1) if self.clip else z

    def _targets(self, y: NDArray[Any], n: int) -> NDArray[np.float64]:
        y = super()._targets(y, n)
        if self.clip:
            _check_fractions(y, "predictions cut to [0, 1] can't reach them. Leave --clip out")
        return y


class SigmoidProbe(_Regressor):
    """A logistic curve for each of (n, t) targets in [0, 1]; C is chosen by RMSE on validation rows.

    Parameters
    ----------
    c_grid
        Inverse strengths of the L2 penalty; ties go to the smallest.
    refit
        Fit again on training and validation rows together once C is chosen.
    device
        ``cpu`` (numpy), ``cuda`` (torch) or ``auto``.

    Notes
    -----
    Cross-entropy against the fraction: the quasi-likelihood of a fractional response, whose minimum is
    unique and whose mean is right whatever the fraction's variance [1]_.

    References
    ----------
    .. [1] Papke & Wooldridge 1996, Journal of Applied Econometrics 11, 619.
    """

    setting = "c"

    def __init__(
        self, *, c_grid: float | Sequence[float] = C_GRID, refit: bool = False, device: str = "cpu"
    ) -> None:
        self.c_grid = c_grid
        self.device = device
        super().__init__((c_grid,) if isinstance(c_grid, (int, float)) else c_grid, refit=refit)

    def _path(
        self,
        x: NDArray[np.float32],
        y: NDArray[np.float64],
        grid: Sequence[float],
        advance: Callable[[], object],
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        device = torch_device(self.device)
        self.backend_ = backend(device)
        tolerance = PATH_TOLERANCE if len(grid) > 1 else 1e-6
        dtype = np.float32 if len(grid) > 1 else np.float64
        logistic = Logistic(self._standardiser.apply(x, dtype), y, softmax=False, device=device)
        path: list[LogisticFit] = []
        for c in grid:
            path.append(logistic.fit(c, start=ahead(path, c), tolerance=tolerance))
            advance()
        unsettled = [f"{fit.c:g}" for fit in path if not fit.converged]
        if unsettled:
            self.notes_.append(f"Not converged: C = {', '.join(unsettled)}.")
        return [(fit.coef, fit.intercept) for fit in path]

    def _link(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        return sigmoid(z)

    def _targets(self, y: NDArray[Any], n: int) -> NDArray[np.float64]:
        y = super()._targets(y, n)
        _check_fractions(y, "a sigmoid gives fractions. Use --kind ridge")
        return y


def _check_fractions(y: NDArray[np.float64], why: str) -> None:
    outside = ((y < 0) | (y > 1)).any(axis=1)
    if outside.any():
        raise DataError(
            f"{int(outside.sum()):,} of {len(y):,} rows have targets outside [0, 1], from {y.min():g} to "
            f"{y.max():g}; {why}, or make fractions of them."
        )


def check_penalties(grid: Sequence[float]) -> tuple[float, ...]:
    """Return the grid sorted, without copies; refuse an empty one or a penalty that is not above 0."""
    if not len(grid) or not all(np.isfinite(a) and a > 0 for a in grid):
        raise UsageError(
            f"grid {' '.join(f'{a:g}' for a in grid)}: every penalty must be above 0, such as 1 10 100."
        )
    return tuple(sorted({float(a) for a in grid}))
