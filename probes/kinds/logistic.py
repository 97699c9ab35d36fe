"""L2 logistic regression at one C after another: preconditioned L-BFGS on fixed rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embedkit.scoring.probabilities import softmax

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
    target : (n, m) float
        With `softmax`, 1 for the class of a row and 0 for the others; without, m independent values in
        [0, 1], each with a logit of its own.
    softmax
        Whether the m logits compete, as in scikit-learn's multinomial regression.
    weight : (n,) float, optional
        Of each row's loss; 1 by default.
    like
        The same rows in another precision, whose X^T X is used again.
    device
        A torch device for the products with X; numpy's where there is none.

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
        target: NDArray[Any],
        *,
        softmax: bool,
        weight: NDArray[Any] | None = None,
        like: Logistic | None = None,
        device: str | None = None,
    ) -> None:
        n, d = x.shape
        self._mean = x.mean(axis=0, dtype=np.float64)
        # The intercept takes up the mean, so that it and the coefficients are not coupled.
        x = np.ascontiguousarray(x - self._mean.astype(x.dtype))
        self._rotation: NDArray[Any] | None = None
        if n < d:
            self._rotation, triangle = np.linalg.qr(x.T)  # (d, n), (n, n)
            x = np.ascontiguousarray(triangle.T)  # (n, n)
        target = np.asarray(target, dtype=x.dtype)
        weight = np.ones(n, x.dtype) if weight is None else np.asarray(weight, dtype=x.dtype)
        self._softmax = softmax
        self._shape, self._eps = (target.shape[1], x.shape[1] + 1), float(np.finfo(x.dtype).eps)
        self._total = float(weight.sum(dtype=np.float64))
        self._frequency = (weight.astype(np.float64) @ target.astype(np.float64)) / self._total
        self._rows: Rows
        if device is None:
            self._rows = NumpyRows(x, target, weight, softmax)
        else:
            from probes.kinds.logistic_torch import TorchRows

            self._rows = TorchRows(x, target, weight, softmax, device)
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
        eps = self._eps
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
        w = np.zeros(self._shape)
        if start is None:
            frequency = np.clip(self._frequency, 1e-12, 1 - 1e-12)
            if self._softmax:
                w[:, -1] = np.log(frequency) - np.log(frequency).mean()
            else:
                w[:, -1] = np.log(frequency / (1 - frequency))
        else:
            coef = start.coef if self._rotation is None else start.coef @ self._rotation
            w[:, :-1], w[:, -1] = coef, start.intercept + start.coef @ self._mean
        return w

    def _value(self, w: NDArray[np.float64], c: float) -> tuple[float, NDArray[np.float64]]:
        """Return the loss, and its gradient (m, d + 1)."""
        loss, gradient = self._rows.value(w)
        gradient *= c
        gradient[:, :-1] += w[:, :-1]
        return c * loss + 0.5 * float((w[:, :-1] ** 2).sum()), gradient

    def _preconditioner(
        self, w: NDArray[np.float64], c: float
    ) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
        if self._spectrum is None:
            # float32 does: any rotation makes a preconditioner
            values, vectors = np.linalg.eigh(self._rows.gram())
            self._spectrum = np.maximum(values, 0).astype(np.float64), vectors.astype(np.float64)
        values, vectors = self._spectrum
        covariance = self._rows.covariance(w)
        spread, mixture = np.linalg.eigh(covariance)
        # A floor keeps the step bounded where the rows are separated and every probability is 0 or 1.
        spread = np.maximum(spread, 1e-9)
        inverse = 1 / (1 + c * np.outer(spread, values))
        # Logits that move together change no probability, so that direction of the intercepts stays.
        level = np.where(spread > 1e-9, 1 / (c * self._total * spread), 0.0)

        def solve(gradient: NDArray[np.float64]) -> NDArray[np.float64]:
            out = np.empty_like(gradient)
            turned = mixture.T @ gradient
            out[:, :-1] = mixture @ (((turned[:, :-1] @ vectors) * inverse) @ vectors.T)
            out[:, -1] = mixture @ (turned[:, -1] * level)
            return out

        return solve


class Rows(Protocol):
    """The rows of a regression: all that touches the (n, d) features."""

    def value(self, w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the weighted sum of log losses at `w` (m, d + 1), and its gradient of the same shape."""

    def gram(self) -> NDArray[Any]:
        """Return X^T X (d, d)."""

    def covariance(self, w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted mean of diag(p) - p p^T, or its diagonal where logits don't compete: (m, m)."""


@dataclass(frozen=True)
class NumpyRows:
    """Rows in memory: x (n, d), target (n, m), weight (n,)."""

    x: NDArray[Any]
    target: NDArray[Any]
    weight: NDArray[Any]
    softmax: bool

    def value(self, w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """See `Rows`."""
        loss, p = self._log_loss(self._logits(w))
        p -= self.target
        p *= self.weight[:, None]
        gradient = np.empty_like(w)
        gradient[:, :-1] = p.T @ self.x
        gradient[:, -1] = p.sum(axis=0, dtype=np.float64)
        return loss, gradient

    def gram(self) -> NDArray[Any]:
        """See `Rows`."""
        return np.asarray(self.x.T @ self.x)

    def covariance(self, w: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Rows`."""
        p = self._log_loss(self._logits(w))[1].astype(np.float64)
        weight = self.weight.astype(np.float64) / self.weight.sum(dtype=np.float64)
        if self.softmax:
            return np.asarray(np.diag(weight @ p) - (p * weight[:, None]).T @ p)
        return np.diag(weight @ (p * (1 - p)))

    def _logits(self, w: NDArray[np.float64]) -> NDArray[Any]:
        z: NDArray[Any] = self.x @ w[:, :-1].T.astype(self.x.dtype)
        z += w[:, -1].astype(z.dtype)
        return z

    def _log_loss(self, z: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        """Return the weighted sum of log losses, and the probabilities (n, m), of (n, m) logits."""
        if not self.softmax:
            losses = (np.logaddexp(0, z) - self.target * z).sum(axis=1, dtype=np.float64)
            return float(losses @ self.weight), sigmoid(z)
        z = z - z.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1, keepdims=True)
        own = np.einsum("nm,nm->n", z, self.target)
        losses = (np.log(total[:, 0]) - own).astype(np.float64)
        return float(losses @ self.weight), p / total


def probability(z: NDArray[Any]) -> NDArray[np.float64]:
    """Turn (n, 1) logits of the second of two classes, or (n, c) logits, into (n, c) probabilities."""
    z = np.asarray(z, dtype=np.float64)
    if z.shape[1] == 1:
        p = sigmoid(z)
        return np.hstack([1 - p, p])
    return softmax(z)


def sigmoid(z: NDArray[Any]) -> NDArray[Any]:
    """Return 1 / (1 + exp(-z)) without overflow at either end."""
    half = np.tanh(z / 2)
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


def ahead(path: Sequence[LogisticFit], c: float) -> LogisticFit | None:
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
