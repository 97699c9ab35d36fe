"""TEMI: cluster heads that agree on near neighbours, trained on features that are already there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from clustering.density.distances import Frame, Points, nearest
from clustering.heads import Heads, head_loss, move_towards, over_pairs, pair_loss, probabilities
from embedkit.computing.device import choose_device
from embedkit.errors import DataError
from embedkit.preparing.matrix import CONSTANT, as_matrix, too_many_clusters

# Smaller batches than the paper's (512 to 1,024 rows) and a higher rate: 16 heads take 20 ms a step at d = 30
# on one core, and 55 ms at d = 768. Momenta and decay are the paper's.
PRIOR_MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
BATCH = 256
LEARNING_RATE = 4e-3
# The paper's 100 epochs are 5,000 steps and more there. The teacher averages the last 250 steps, so files of
# few rows need more epochs: on 2,370 galaxies the loss fell from -0.36 to -0.65 in 2,000 steps, and to -0.77
# in 3,000.
EPOCHS, MIN_STEPS = 100, 3000
# Fewer rows than a batch are one, seen whole at each step: six need no 3,000 looks.
FEWEST_STEPS = 600
TRIAL_STEPS = 6
WARMUP = 0.1  # of the steps, with a rising learning rate


class TEMI(ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """Clustering heads that are trained to agree on near neighbours, without labels [1]_.

    Pairs of rows are a row and one of its nearest neighbours by cosine. `n_heads` small perceptrons, each a
    student and a teacher that is the moving average of its student, raise a pair's pointwise mutual
    information; with an exponent below 1 they need not use one cluster only, and pairs that the teachers
    doubt count less, so that false neighbours do little harm. The head with the lowest loss over all pairs
    is the one that clusters.

    The objective is least where clusters are sharp and of even size, so a rare class shares its cluster with
    others. Over-cluster where that matters.

    Cosines are of the rows as they are given: centre or whiten features first where their mean says nothing.
    A row of zeros counts as a point between all directions.

    Parameters
    ----------
    n_clusters
        k, at least 1. More than there are classes over-clusters; a cluster can stay empty.
    n_heads
        Heads trained side by side.
    n_neighbors
        Neighbours that a row is paired with; at most half the rows of a mean cluster, n / (2 k), are taken.
    beta
        Exponent in (0, 1]. Less makes the clusters' sizes more even.
    momentum
        Of the teacher, in [0, 1).
    epochs
        Passes over the rows in batches of 256; None takes 100, or as many as make 3,000 steps, and fewer for
        fewer rows than a batch: see `default_epochs`.
    random_state
        Seed; the same seed gives the same heads on the same machine with as many threads.
    device
        ``cpu``, ``cuda``, ``cuda:N``, or ``auto``: a CUDA GPU where there is one.

    Attributes
    ----------
    labels_ : (n,) int64
        Clusters by falling size.
    head_losses_ : (n_heads,) float64
        Loss of each teacher over all pairs; lower is better.
    best_head_ : int
        The head with the lowest.
    head_labels_ : (n_heads, n) int64
        What every head makes of the rows, each numbered in its own way.
    loss_curve_ : (epochs, n_heads) float64
        Mean loss in training.
    n_neighbors_, n_steps_ : int
        What was used.
    backend_ : str
        Where it was computed.

    References
    ----------
    .. [1] N. Adaloglou, F. Michels, H. Kalisch and M. Kollmann, Exploring the Limits of Deep Image Clustering
       using Pretrained Models, BMVC 2023, arXiv:2303.17896.
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_heads: int = 16,
        n_neighbors: int = 50,
        beta: float = 0.6,
        momentum: float = 0.996,
        epochs: int | None = None,
        random_state: Any = 0,
        device: str = "auto",
    ) -> None:
        self.n_clusters = n_clusters
        self.n_heads = n_heads
        self.n_neighbors = n_neighbors
        self.beta = beta
        self.momentum = momentum
        self.epochs = epochs
        self.random_state = random_state
        self.device = device

    def fit(self, x: Any, y: object = None, *, on_epoch: Callable[[], Any] | None = None) -> Self:  # noqa: ARG002
        """Train the heads on `x` (n, d); `on_epoch` is called after each epoch.

        Raises
        ------
        DataError
            NaN or infinite values, one row, more clusters than rows or than rows of distinct direction, or a
            parameter out of range.
        """
        self._check_parameters()
        device = choose_device(self.device, float64=True)
        x = as_matrix(self, x, min_rows=2)
        n, k = len(x), int(self.n_clusters)
        if k > n:
            raise too_many_clusters(n, k)
        unit = _unit(x)
        _check_distinct(x, unit, k)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.backend_ = f"torch {device}"
        self.n_neighbors_ = max(1, min(int(self.n_neighbors), n - 1, n // (2 * k)))
        points = Points(unit, Frame.of(unit), device=device)
        neighbours = torch.from_numpy(nearest(points, points, self.n_neighbors_)[1]).to(device)
        self._shift = x.mean(axis=0, dtype=np.float64)
        centred = x - self._shift
        self._scale = float(np.sqrt(np.einsum("nd,nd->", centred, centred) / x.size)) or 1.0
        rows = torch.from_numpy((centred / self._scale).astype(np.float32)).to(device)
        teacher = self._train(rows, neighbours, torch.Generator().manual_seed(seed), on_epoch)
        self._evaluate(teacher, rows, neighbours)
        return self

    def predict(self, x: Any) -> NDArray[np.int64]:
        """Return the cluster (n,) that the best head gives each row of `x` (n, d)."""
        return np.asarray(self.predict_proba(x).argmax(axis=1), dtype=np.int64)

    def predict_proba(self, x: Any) -> NDArray[np.float64]:
        """Return the best head's probabilities (n, k) for `x` (n, d): peaked by training, not calibrated."""
        check_is_fitted(self, "best_head_")
        x = as_matrix(self, x, reset=False)
        device = self._best.w1.device
        rows = torch.from_numpy(((x - self._shift) / self._scale).astype(np.float32)).to(device)
        return probabilities(self._best, rows).cpu().numpy()

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `predict` needs as named arrays, for a file without pickled objects."""
        check_is_fitted(self, "best_head_")
        arrays = {field.name: getattr(self._best, field.name).cpu().numpy().copy() for field in fields(Heads)}
        return arrays | {
            "shift": self._shift.copy(),
            "scale": np.array([self._scale]),
            "head_losses": self.head_losses_.copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, device: str = "auto") -> Self:
        """Return an estimator that predicts what the one predicts whose `state` this is; it has no labels.

        Raises
        ------
        DataError
            Arrays missing, or of shapes that do not belong together.
        """
        names = [field.name for field in fields(Heads)]
        missing = [name for name in (*names, "shift", "scale", "head_losses") if name not in state]
        if missing:
            raise DataError(f"The saved state of TEMI lacks {', '.join(missing)}.")
        target = choose_device(device, float64=True)
        arrays = [np.asarray(state[name], dtype=np.float32) for name in names]
        shift = np.asarray(state["shift"], dtype=np.float64)
        w1, b1, w2, b2, direction, length = (array.shape for array in arrays)
        if not (
            len(w1) == len(w2) == len(direction) == 3
            and w1 == (1, b1[1], len(shift))
            and w2 == (1, b2[1], b1[1])
            and direction == (1, length[1], b2[1])
        ):
            raise DataError("The arrays in the saved state of TEMI have shapes that do not belong together.")
        losses = np.asarray(state["head_losses"], dtype=np.float64)
        model = cls(direction[1], n_heads=len(losses), device=device)
        model._best = Heads(*(torch.from_numpy(array.copy()).to(target) for array in arrays))
        model._shift, model._scale = shift, float(np.asarray(state["scale"]).item())
        model.head_losses_, model.best_head_ = losses, int(losses.argmin())
        model.n_features_in_ = len(shift)
        model.backend_ = f"torch {target}"
        return model

    def _check_parameters(self) -> None:
        for name in ("n_clusters", "n_heads", "n_neighbors", "epochs"):
            value = getattr(self, name)
            if name == "epochs" and value is None:
                continue
            if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
                raise DataError(f"{name}={value!r}: give an integer of at least 1.")
        if not isinstance(self.beta, Real) or not 0 < self.beta <= 1:
            raise DataError(f"beta={self.beta!r}: give a number above 0 and at most 1.")
        if not isinstance(self.momentum, Real) or not 0 <= self.momentum < 1:
            raise DataError(f"momentum={self.momentum!r}: give a number of at least 0 and below 1.")

    def _train(
        self,
        x: torch.Tensor,
        neighbours: torch.Tensor,
        generator: torch.Generator,
        on_epoch: Callable[[], Any] | None,
    ) -> Heads:
        n, device = len(x), x.device
        n_batches = -(-n // BATCH)
        epochs = int(self.epochs) if self.epochs is not None else default_epochs(n)
        self.n_steps_ = epochs * n_batches
        n_warmup = max(1, round(WARMUP * self.n_steps_))
        k, beta = int(self.n_clusters), float(self.beta)
        teacher = Heads.random(int(self.n_heads), x.shape[1], k, generator).mapped(lambda t: t.to(device))
        student = teacher.mapped(lambda t: t.clone().requires_grad_())
        weights = [student.w1, student.w2, student.direction]
        rest = [student.b1, student.b2, student.length]
        optimizer = torch.optim.AdamW(
            [{"params": weights, "weight_decay": WEIGHT_DECAY}, {"params": rest, "weight_decay": 0.0}],
            lr=LEARNING_RATE,
            foreach=True,
        )
        prior = torch.full((int(self.n_heads), k, 1), 1 / k, device=device)
        curve, step = [], 0
        for _ in range(epochs):
            order = torch.randperm(n, generator=generator)
            partner = torch.randint(neighbours.shape[1], (n,), generator=generator).to(device)
            total = torch.zeros(int(self.n_heads), device=device)
            for i in torch.tensor_split(order.to(device), n_batches):
                step += 1
                for group in optimizer.param_groups:
                    group["lr"] = LEARNING_RATE * min(1.0, step / n_warmup)
                pair = x[torch.cat([i, neighbours[i, partner[i]]])]
                with torch.no_grad():
                    t = teacher.log_probabilities(pair)
                    prior.lerp_(t.exp().mean(2, keepdim=True), 1 - PRIOR_MOMENTUM)
                s = student.log_probabilities(pair)
                losses = pair_loss(
                    (s[..., : len(i)], s[..., len(i) :]),
                    (t[..., : len(i)], t[..., len(i) :]),
                    prior.clamp_min(1e-12).log(),
                    beta=beta,
                )
                optimizer.zero_grad()
                torch.autograd.backward(losses.sum())
                optimizer.step()
                move_towards(teacher, student, float(self.momentum))
                total += losses.detach() * len(i) / n
            curve.append(total)
            if on_epoch is not None:
                on_epoch()
        self.loss_curve_ = torch.stack(curve).double().cpu().numpy()
        return teacher

    def _evaluate(self, teacher: Heads, x: torch.Tensor, neighbours: torch.Tensor) -> None:
        heads = [teacher.mapped(lambda t, i=i: t[i : i + 1]) for i in range(len(teacher.w1))]  # type: ignore[misc]
        # One head's probabilities at a time, twice: those of all would be H n k numbers.
        labels, weight = [], torch.zeros(neighbours.shape, dtype=torch.float64, device=x.device)
        for head in heads:
            p = probabilities(head, x)
            labels.append(p.argmax(1).cpu().numpy())
            weight += over_pairs(lambda a, b: (a * b).sum(-1), p, neighbours) / len(heads)
        losses = [
            head_loss(probabilities(head, x), neighbours, weight, beta=float(self.beta)) for head in heads
        ]
        self.head_labels_, self.head_losses_ = np.stack(labels), np.array(losses)
        self.best_head_ = int(self.head_losses_.argmin())
        own, k = self.head_labels_[self.best_head_], int(self.n_clusters)
        order = np.argsort(-np.bincount(own, minlength=k), kind="stable")
        self.labels_ = np.argsort(order)[own]
        best, index = heads[self.best_head_], torch.from_numpy(order).to(x.device)
        self._best = replace(best, direction=best.direction[:, index], length=best.length[:, index])


def default_epochs(n: int) -> int:
    """Return how many passes over n rows are made where nobody says.

    100, or as many as make 3,000 steps; of n < 256 rows 3,000 n / 256 steps, at least 600.
    """
    steps = min(MIN_STEPS, max(FEWEST_STEPS, MIN_STEPS * n // BATCH))
    return max(EPOCHS, -(-steps // -(-n // BATCH)))


def seconds_each_pass(n: int, d: int, k: int, *, n_heads: int | None = None) -> float:
    """Return about how long one pass over n rows takes here: from a few steps on one batch of noise."""
    rows = np.random.default_rng(0).standard_normal((min(n, BATCH), d), dtype=np.float32)
    passed: list[float] = []
    heads = {} if n_heads is None else {"n_heads": n_heads}
    trial = TEMI(min(k, len(rows)), epochs=TRIAL_STEPS, device="auto", **heads)
    try:
        trial.fit(rows, on_epoch=lambda: passed.append(time.perf_counter()))
    except DataError:  # the real one says so
        return 0.0
    return -(-n // BATCH) * (passed[-1] - passed[0]) / (TRIAL_STEPS - 1)


def _unit(x: NDArray[np.float32]) -> NDArray[np.float64]:
    rows = x.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norms > 0, norms, 1))


def _check_distinct(x: NDArray[np.float32], unit: NDArray[np.float64], k: int) -> None:
    if (x == x[0]).all():
        raise DataError(CONSTANT.format(n=len(x)))
    for part in (unit[: 4 * k + 100], unit):  # sorting all rows is left for files that need it
        n_distinct = len(np.unique(part.round(6), axis=0))
        if n_distinct >= k:
            return
    raise DataError(
        f"{len(x)} rows (n_features={x.shape[1]}), but only {n_distinct} distinct directions, for "
        f"n_clusters={k}. Neighbours are by cosine: ask for at most {n_distinct} clusters."
    )
