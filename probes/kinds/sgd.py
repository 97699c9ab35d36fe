"""DINO's linear evaluation on cached features: SGD with momentum, every learning rate at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.computing.driver import backend, torch_device
from embedkit.errors import UsageError
from embedkit.preparing.matrix import features
from embedkit.scoring.probabilities import softmax
from probes.kinds.interface import Classifier, State, Validation
from probes.kinds.selection import check_varies, check_width, choose, class_index

LEARNING_RATES = tuple(float(f"{lr:.3g}") for lr in np.logspace(-4, 0, 9))
BATCH = 256
EPOCHS = 100
MOMENTUM = 0.9


class SGDProbe(Classifier):
    """A linear layer trained as in DINO's published linear evaluation; the learning rate is chosen.

    Parameters
    ----------
    learning_rates
        To choose from, for a batch of 256; they are multiplied by batch / 256.
    epochs, batch_size
        Of the training.
    select
        What the validation rows choose by; ties go to the smallest rate.
    class_weight
        ``balanced``, as in `LinearProbe`.
    random_state
        Of the initial weights and the batches; every rate starts from the same and sees the same.
    device
        ``cpu``, ``cuda`` or ``auto``.

    Attributes
    ----------
    classes_ : (c,) array
        Sorted class labels.
    coef_, intercept_ : (c, d) and (c,) float64
        Of the features as they are: nothing is standardised.

    Notes
    -----
    As published: momentum 0.9, no weight decay, a cosine from the learning rate to 0 over 100 epochs, weights
    from N(0, 0.01^2), biases 0. Different: the features are cached, of one fixed crop, where DINO draws a
    random resized crop and a flip for every step; the last epoch is kept, where DINO reports the best one on
    the rows it is scored on; and the rate is chosen on validation rows.

    References
    ----------
    Caron et al. 2021, Emerging Properties in Self-Supervised Vision Transformers; ``eval_linear.py`` in
    its code.
    """

    def __init__(
        self,
        *,
        learning_rates: float | Sequence[float] = LEARNING_RATES,
        epochs: int = EPOCHS,
        batch_size: int = BATCH,
        select: str = "accuracy",
        class_weight: str | None = None,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        self.learning_rates = learning_rates
        self.epochs = epochs
        self.batch_size = batch_size
        self.select = select
        self.class_weight = class_weight
        self.random_state = random_state
        self.device = device

    def fit(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        *,
        validation: Validation | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> SGDProbe:
        """Train on (n, d) features and (n,) labels; choose the learning rate on `validation`."""
        given = self.learning_rates
        rates = (given,) if isinstance(given, float) else tuple(sorted(set(given)))
        check_rates(rates)
        x = features(x)
        self.classes_, label = class_index(y, len(x))
        check_varies(x)
        device = torch_device(self.device)
        self.backend_ = "torch-cpu" if device is None else backend(device)
        coef, intercept = self._train(x, label, rates, device)
        self.validation_scores_: dict[float, float] = {}
        self.validation_output_: NDArray[np.float64] | None = None
        self.notes_: list[str] = []
        best = 0
        outputs = {}
        if validation is not None:
            for rate, self.coef_, self.intercept_ in zip(rates, coef, intercept, strict=True):
                outputs[rate] = self.predict_proba(validation[0])
        if len(rates) > 1:
            best, scores = choose(outputs, validation, self.classes_, self.select)
            self.validation_scores_ = dict(zip(rates, scores, strict=True))
            if best in (0, len(rates) - 1):
                self.notes_.append(
                    f"The learning rate {rates[best]:g} is at the edge of the grid. `embedkit probe "
                    "--learning-rates` widens it."
                )
        self.coef_, self.intercept_ = coef[best], intercept[best]
        self.validation_output_ = outputs.get(rates[best])
        self.chosen_ = {"learning_rate": rates[best]}
        self.details_ = {"epochs": self.epochs, "batch_size": self.batch_size}
        advance()
        return self

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) probabilities."""
        x = features(x)
        check_width(x, self.coef_.shape[1])
        return softmax(x @ self.coef_.T + self.intercept_)

    def state(self) -> State:
        """Return everything that `predict` needs, as plain arrays."""
        return {"classes": self.classes_, "coef": self.coef_, "intercept": self.intercept_}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make a fitted probe of what `state` gave."""
        probe = cls()
        probe.classes_, probe.coef_, probe.intercept_ = state["classes"], state["coef"], state["intercept"]
        return probe

    def _train(
        self, x: NDArray[np.float32], label: NDArray[np.int64], rates: Sequence[float], device: str | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return coefficients (l, c, d) and intercepts (l, c) at each of the l rates."""
        import torch

        from probes.kinds.training import batches, row_weights, tensor

        n, c, size = len(rates), len(self.classes_), min(self.batch_size, len(x))
        generator = torch.Generator().manual_seed(self.random_state)
        start = 0.01 * torch.randn(x.shape[1], 1, c, generator=generator)
        w = start.expand(-1, n, -1).contiguous().to(device or "cpu")  # (d, l, c)
        b = torch.zeros(n, c, device=w.device)
        speed_w, speed_b = torch.zeros_like(w), torch.zeros_like(b)
        inputs, weight = tensor(x, device), row_weights(label, c, self.class_weight, device)
        target = tensor(np.eye(c, dtype=np.float32)[label], device)
        rate = tensor(np.array(rates, np.float32), device)[:, None] * self.batch_size / BATCH
        for epoch in range(self.epochs):
            now = rate * (1 + np.cos(np.pi * epoch / self.epochs)) / 2
            for rows in batches(len(x), size, generator):
                index = rows.to(w.device)
                some = inputs[index]
                p = torch.softmax((some @ w.flatten(1)).view(-1, n, c) + b, dim=2)  # (rows, l, c)
                residual = (p - target[index, None]) * (weight[index, None, None] / len(index))
                speed_w.mul_(MOMENTUM).add_((some.T @ residual.flatten(1)).view_as(w))
                speed_b.mul_(MOMENTUM).add_(residual.sum(dim=0))
                w -= now * speed_w
                b -= now * speed_b
        return w.permute(1, 2, 0).double().cpu().numpy(), b.double().cpu().numpy()


def check_rates(values: Sequence[float]) -> None:
    """Refuse a learning rate that is not above 0."""
    for value in values:
        if not value > 0:
            raise UsageError(f"--learning-rates {value:g}: give numbers above 0.")
