"""L2 logistic regression over a grid of C, fitted along one warm-started path."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, UsageError
from probes.selection import Validation, check_varies, choose, class_index, features

# Half decades around 0.01, where standardised features of a few hundred to a few thousand dimensions have
# their best C.
C_GRID = tuple(float(f"{c:.4g}") for c in np.logspace(-5, 1, 13))

# Largest change of a coefficient that a Newton step would still make, as a fraction of the largest one:
# along the path, and in the fit that is kept. Agreement with scikit-learn to 1e-4 needs the second.
PATH_TOLERANCE = 2e-3
FINAL_TOLERANCE = 1e-8
MEMORY = 10


class ConvergenceWarning(UserWarning):
    """A fit stopped at its last iteration, before its coefficients had settled."""


@dataclass(frozen=True)
class LogisticFit:
    """The minimum of ``|coef|^2 / 2 + C * sum of log losses``, the intercept unpenalised.

    Parameters
    ----------
    c
        Inverse strength of the penalty.
    coef : (c, d) float64
        One row a class; a single row for two classes.
    intercept : (c,) float64
        Likewise.
    n_iter
        Iterations of L-BFGS.
    error
        Largest change of a coefficient that one more Newton step, with the preconditioner for Hessian,
        would make; as a fraction of the largest coefficient.
    converged
        Whether `error` is within the tolerance, or the loss can't get lower in its precision.
    """

    c: float
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    n_iter: int
    error: float
    converged: bool


class Logistic:
    """L2 logistic regression on fixed rows, to be minimised at several C.

    Parameters
    ----------
    x : (n, d) float
        Features; float32 is fastest.
    label : (n,) int64
        Classes 0 to n_classes - 1.
    n_classes
        Two classes have one logit, more have one each, as in scikit-learn.
    like
        The same rows in another precision, whose X^T X is used again.

    Notes
    -----
    L-BFGS on logits X W^T, preconditioned with ``I + C A (x) X^T X``, A the mean over the rows of
    diag(p) - p p^T: the Hessian with its weights averaged, which one eigendecomposition of X^T X inverts for
    every C (Boehning 1992, Multinomial logistic regression algorithm, puts a constant upper bound for A). So
    the number of iterations hardly depends on C or on how correlated features are. With fewer rows than
    dimensions, the rows' span is rotated to n dimensions first, which changes nothing: the minimum lies in
    it.
    """

    def __init__(
        self,
        x: NDArray[Any],
        label: NDArray[np.int64],
        *,
        n_classes: int,
        like: Logistic | None = None,
    ) -> None:
        n, d = x.shape
        self._mean = x.mean(axis=0, dtype=np.float64)
        # The intercept takes up the mean, so that it and the coefficients are not coupled.
        self._x = np.ascontiguousarray(x - self._mean.astype(x.dtype))
        self._rotation: NDArray[Any] | None = None
        if n < d:
            self._rotation, triangle = np.linalg.qr(self._x.T)  # (d, n), (n, n)
            self._x = np.ascontiguousarray(triangle.T)  # (n, n)
        self._n_logits = 1 if n_classes == 2 else n_classes
        self._label = label
        self._target = np.zeros((n, self._n_logits), dtype=x.dtype)
        if n_classes == 2:
            self._target[:, 0] = label
        else:
            self._target[np.arange(n), label] = 1
        # In another precision, the same rows have the same X^T X as far as a preconditioner needs it.
        self._spectrum: tuple[NDArray[np.float64], NDArray[np.float64]] | None = (
            like._spectrum if like is not None and n >= d else None
        )

    def fit(
        self,
        c: float,
        *,
        start: LogisticFit | None = None,
        tolerance: float = FINAL_TOLERANCE,
        max_iter: int = 500,
    ) -> LogisticFit:
        """Minimise at one C, from the fit at another or from the classes' frequencies."""
        w = self._start(start)  # (m, d + 1), the intercept last
        loss, gradient = self._value(w, c)
        precondition = self._preconditioner(w, c)
        step = precondition(gradient)
        pairs: list[_Pair] = []
        eps = float(np.finfo(self._x.dtype).eps)
        n_iter = 0
        while True:
            error = _relative(step, w)
            # Or the loss is lowest as far as its precision tells: half the decrement is what a step gains.
            converged = error <= tolerance or 0.5 * float((gradient * step).sum()) <= eps * abs(loss)
            if converged or n_iter == max_iter:
                break
            n_iter += 1
            direction = -_two_loop(gradient, step, pairs, precondition)
            slope = float((gradient * direction).sum())
            length = 1.0
            while length > 1e-10:
                trial = w + length * direction
                trial_loss, trial_gradient = self._value(trial, c)
                if trial_loss <= loss + 1e-4 * length * slope + 10 * eps * abs(loss):
                    break
                length /= 2
            else:
                break
            trial_step = precondition(trial_gradient)
            pair = _Pair(trial - w, trial_gradient - gradient, trial_step - step)
            if pair.curvature > 0:  # the loss is convex; only rounding makes it otherwise
                pairs = [*pairs, pair][-MEMORY:]
            w, loss, gradient, step = trial, trial_loss, trial_gradient, trial_step
        coef, intercept = w[:, :-1], w[:, -1]
        if self._rotation is not None:
            coef = coef @ self._rotation.T.astype(np.float64)
        return LogisticFit(c, coef, intercept - coef @ self._mean, n_iter, error, converged)

    def _start(self, start: LogisticFit | None) -> NDArray[np.float64]:
        w = np.zeros((self._n_logits, self._x.shape[1] + 1))
        if start is None:
            frequency = np.clip(self._target.mean(axis=0, dtype=np.float64), 1e-12, 1 - 1e-12)
            if self._n_logits == 1:
                w[:, -1] = np.log(frequency / (1 - frequency))
            else:
                w[:, -1] = np.log(frequency) - np.log(frequency).mean()
        else:
            coef = start.coef if self._rotation is None else start.coef @ self._rotation
            w[:, :-1], w[:, -1] = coef, start.intercept + start.coef @ self._mean
        return w

    def _value(self, w: NDArray[np.float64], c: float) -> tuple[float, NDArray[np.float64]]:
        """Return the loss, and its gradient (m, d + 1)."""
        z = self._logits(w)
        loss, p = self._log_loss(z)
        p -= self._target
        gradient = np.empty_like(w)
        gradient[:, :-1] = p.T @ self._x
        gradient[:, -1] = p.sum(axis=0, dtype=np.float64)
        gradient *= c
        gradient[:, :-1] += w[:, :-1]
        return c * loss + 0.5 * float((w[:, :-1] ** 2).sum()), gradient

    def _logits(self, w: NDArray[np.float64]) -> NDArray[Any]:
        z: NDArray[Any] = self._x @ w[:, :-1].T.astype(self._x.dtype)
        z += w[:, -1].astype(z.dtype)
        return z

    def _log_loss(self, z: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """Return the sum of log losses, and the probabilities (n, m), of (n, m) logits."""
        if self._n_logits == 1:
            losses = np.logaddexp(0, z) - self._target * z
            return float(losses.sum(dtype=np.float64)), _sigmoid(z)
        z = z - z.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1, keepdims=True)
        losses = np.log(total[:, 0]) - z[np.arange(len(z)), self._label]
        return float(losses.sum(dtype=np.float64)), p / total

    def _preconditioner(
        self, w: NDArray[np.float64], c: float
    ) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        if self._spectrum is None:
            gram = self._x.T @ self._x
            values, vectors = np.linalg.eigh(gram)  # float32 does: any rotation makes a preconditioner
            self._spectrum = np.maximum(values, 0).astype(np.float64), vectors.astype(np.float64)
        values, vectors = self._spectrum
        _, p = self._log_loss(self._logits(w))
        p = p.astype(np.float64)
        if self._n_logits == 1:
            covariance = np.array([[(p * (1 - p)).mean()]])
        else:
            covariance = np.diag(p.mean(axis=0)) - p.T @ p / len(p)
        spread, mixture = np.linalg.eigh(covariance)
        # A floor keeps the step bounded where the rows are separated and every probability is 0 or 1.
        spread = np.maximum(spread, 1e-9)
        inverse = 1 / (1 + c * np.outer(spread, values))
        # Logits that move together change no probability, so that direction of the intercepts stays.
        level = np.where(spread > 1e-9, 1 / (c * len(self._x) * spread), 0.0)

        def solve(gradient: NDArray[np.float64]) -> NDArray[np.float64]:
            out = np.empty_like(gradient)
            turned = mixture.T @ gradient
            out[:, :-1] = mixture @ (((turned[:, :-1] @ vectors) * inverse) @ vectors.T)
            out[:, -1] = mixture @ (turned[:, -1] * level)
            return out

        return solve


class LinearProbe:
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
    refit
        Once C is chosen, fit again on training and validation rows together, standardisation included.
    max_iter
        Iterations for each C; a `ConvergenceWarning` says where they were not enough.

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
    validation_scores_ : dict
        C to its score on the validation rows; empty where there was nothing to choose.
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
        refit: bool = False,
        max_iter: int = 500,
    ) -> None:
        self.c_grid = c_grid
        self.select = select
        self.standardize = standardize
        self.refit = refit
        self.max_iter = max_iter

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
        self._standardisation(x)
        logistic: Logistic | None = None
        self.n_iter_: dict[float, int] = {}
        self.validation_scores_: dict[float, float] = {}
        path: list[LogisticFit] = []
        if len(grid) == 1:
            self.c_ = grid[0]
        else:
            logistic = Logistic(self._standardised(x), label, n_classes=len(self.classes_))
            held = None if validation is None else self._standardised(features(validation[0]))
            probabilities = {}
            for c in grid:
                path.append(
                    logistic.fit(
                        c,
                        start=_ahead(path, c),
                        tolerance=PATH_TOLERANCE,
                        max_iter=self.max_iter,
                    )
                )
                advance()
                self.n_iter_[c] = path[-1].n_iter
                if held is not None:
                    probabilities[c] = probability(held @ path[-1].coef.T + path[-1].intercept)
            unsettled = [f"{fit.c:g}" for fit in path if not fit.converged]
            if unsettled:
                warnings.warn(
                    f"C = {', '.join(unsettled)} had not settled after {self.max_iter} iterations; the "
                    "choice of C may be off. Raise max_iter.",
                    ConvergenceWarning,
                    stacklevel=2,
                )
            best, scores = choose(probabilities, validation, self.classes_, self.select)
            self.c_ = grid[best]
            self.validation_scores_ = dict(zip(grid, scores, strict=True))
        start = next((fit for fit in path if fit.c == self.c_), None)
        if self.refit and validation is not None:
            x = np.concatenate([x, features(validation[0])])
            joined = np.concatenate([np.asarray(y), np.asarray(validation[1])])
            self.classes_, label = class_index(joined, len(joined))
            self._standardisation(x)
            if start is not None and len(start.coef) != _n_logits(self.classes_):
                start = None
            logistic = None
        final = Logistic(
            self._standardised(x, np.float64), label, n_classes=len(self.classes_), like=logistic
        ).fit(self.c_, start=start, max_iter=self.max_iter)
        self.n_iter_[self.c_] = self.n_iter_.get(self.c_, 0) + final.n_iter
        self.converged_ = final.converged
        if not final.converged:
            warnings.warn(
                f"the fit at C = {self.c_:g} stopped after {final.n_iter} iterations with coefficients still "
                f"moving by {final.error:.1g} of the largest. Raise max_iter.",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.coef_, self.intercept_ = final.coef, final.intercept
        return self

    def decision_function(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) logits, or (n,) of the second class where there are two."""
        x = features(x)
        if x.shape[1] != len(self.mean_):
            raise DataError(
                f"features of {x.shape[1]} dimensions; this probe was fitted on {len(self.mean_)}."
            )
        z = np.empty((len(x), len(self.coef_)))
        for start in range(0, len(x), 4096):  # never all rows in float64
            some = slice(start, start + 4096)
            z[some] = self._standardised(x[some], np.float64) @ self.coef_.T + self.intercept_
        return z[:, 0] if z.shape[1] == 1 else z

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) probabilities."""
        z = self.decision_function(x)
        return probability(z[:, None] if z.ndim == 1 else z)

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the (n,) most probable classes."""
        predicted: NDArray[Any] = self.classes_[self.predict_proba(x).argmax(axis=1)]
        return predicted

    def _standardisation(self, x: NDArray[np.float32]) -> None:
        mean, scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        # Rounding leaves some spread in a constant feature; scaled up, it would be noise.
        constant = scale <= 1e-6 * np.abs(mean)
        if constant.all():
            check_varies(x[:1])
        self.n_constant_ = int(constant.sum())
        if self.standardize:
            self.mean_, self.scale_ = mean, np.where(constant, 0.0, scale)
        else:
            self.mean_, self.scale_ = np.zeros_like(mean), np.where(constant, 0.0, 1.0)

    def _standardised(self, x: NDArray[np.float32], dtype: Any = np.float32) -> NDArray[Any]:
        factor = np.divide(1.0, self.scale_, out=np.zeros_like(self.scale_), where=self.scale_ > 0)
        return np.asarray((x - self.mean_.astype(dtype)) * factor.astype(dtype))


def check_c_grid(c_grid: float | Sequence[float]) -> tuple[float, ...]:
    """Return the grid sorted, without copies; refuse an empty one or a C that is not above 0."""
    grid = (c_grid,) if isinstance(c_grid, (int, float)) else tuple(c_grid)
    if not grid or not all(np.isfinite(c) and c > 0 for c in grid):
        raise UsageError(
            f"C grid {' '.join(f'{c:g}' for c in grid)}: every C must be above 0, such as 0.001 0.01 0.1."
        )
    return tuple(sorted({float(c) for c in grid}))


def probability(z: NDArray[Any]) -> NDArray[np.float64]:
    """Turn (n, 1) logits of the second of two classes, or (n, c) logits, into (n, c) probabilities."""
    z = np.asarray(z, dtype=np.float64)
    if z.shape[1] == 1:
        p = _sigmoid(z)
        return np.hstack([1 - p, p])
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _n_logits(classes: NDArray[Any]) -> int:
    return 1 if len(classes) == 2 else len(classes)


def _sigmoid(z: NDArray[Any]) -> NDArray[Any]:
    half = np.tanh(z / 2)  # no overflow at either end
    return np.asarray((1 + half) / 2)


@dataclass(frozen=True)
class _Pair:
    """One step of L-BFGS: the change of the coefficients, of the gradient, and of that preconditioned."""

    w: NDArray[np.float64]
    gradient: NDArray[np.float64]
    preconditioned: NDArray[np.float64]

    @property
    def curvature(self) -> float:
        return float((self.w * self.gradient).sum())


def _two_loop(
    gradient: NDArray[np.float64],
    step: NDArray[np.float64],
    pairs: Sequence[_Pair],
    precondition: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Apply the L-BFGS inverse Hessian to `gradient` (Nocedal and Wright 2006, algorithm 7.4)."""
    if not pairs:
        return step
    q = gradient.copy()
    alphas = []
    for pair in reversed(pairs):
        alphas.append(float((pair.w * q).sum()) / pair.curvature)
        q -= alphas[-1] * pair.gradient
    last = pairs[-1]
    r = precondition(q) * (last.curvature / float((last.gradient * last.preconditioned).sum()))
    for pair, alpha in zip(pairs, reversed(alphas), strict=True):
        r += (alpha - float((pair.gradient * r).sum()) / pair.curvature) * pair.w
    return r


def _relative(step: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    # Where every coefficient is 0 at the minimum, steps are held against 1e-4 instead.
    return float(np.abs(step).max()) / max(float(np.abs(w[:, :-1]).max()), 1e-4)


def _ahead(path: Sequence[LogisticFit], c: float) -> LogisticFit | None:
    """Start from the last two fits, drawn on along log C: about 0.6 of the iterations of the last one."""
    if len(path) < 2:
        return path[-1] if path else None
    a, b = path[-2:]
    further = min(np.log(c / b.c) / np.log(b.c / a.c), 1.0)
    return replace(
        b,
        coef=b.coef + further * (b.coef - a.coef),
        intercept=b.intercept + further * (b.intercept - a.intercept),
    )
