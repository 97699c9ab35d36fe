"""A multilayer perceptron on cached features: what one or two hidden layers add to a linear probe."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.computing.driver import backend, torch_device
from embedkit.errors import DataError, UsageError
from embedkit.preparing.matrix import features
from embedkit.scoring.probabilities import softmax
from probes.kinds.interface import Classifier, State, Validation
from probes.kinds.selection import choose, class_index
from probes.kinds.standardise import Standardiser

if TYPE_CHECKING:
    from torch import nn

HIDDEN = ("256", "256x256")
WEIGHT_DECAY = (0.01, 1.0, 3.0, 10.0, 30.0)
LEARNING_RATE = 1e-3
MAX_BATCH, MIN_BATCH, STEPS = 256, 16, 16  # few rows still make 16 steps an epoch
MAX_EPOCHS = 100
PATIENCE = 10


class MLPProbe(Classifier):
    """Linear layers with ReLU between on standardised features, trained by AdamW with early stopping.

    Parameters
    ----------
    hidden
        Widths to choose from: ``256`` is one hidden layer, ``256x256`` two.
    weight_decay
        Of AdamW, to choose from. Every pair of a width and a decay is trained.
    n_epochs
        Train for so many, without validation rows; then there must be one width and one decay.
    select
        What the validation rows choose the pair by; ties go to the first.
    class_weight
        ``balanced``, as in `LinearProbe`.
    random_state
        Of the initial weights and the batches.
    device
        ``cpu``, ``cuda`` or ``auto``.

    Attributes
    ----------
    classes_ : (c,) array
        Sorted class labels.
    weights_ : list of (m, d) and (m,) float32
        Weights and biases of the layers in turn.
    n_epochs_ : int
        Epochs up to the one that was kept.
    epochs_ : dict
        The same of every pair of a width and a decay.

    Notes
    -----
    Learning rate 1e-3, batches of a sixteenth of the rows (16 to 256), at most 100 epochs. Training stops
    after 10 epochs without a lower log loss on the validation rows, and the weights of the lowest are kept;
    so the validation rows stop the training and choose the pair, and the test rows do neither.
    """

    def __init__(
        self,
        *,
        hidden: str | Sequence[str] = HIDDEN,
        weight_decay: float | Sequence[float] = WEIGHT_DECAY,
        n_epochs: int | None = None,
        select: str = "accuracy",
        class_weight: str | None = None,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        self.hidden = hidden
        self.weight_decay = weight_decay
        self.n_epochs = n_epochs
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
    ) -> MLPProbe:
        """Fit (n, d) features and (n,) labels; `validation` stops the training and chooses."""
        hidden = (self.hidden,) if isinstance(self.hidden, str) else tuple(self.hidden)
        decays = (self.weight_decay,) if isinstance(self.weight_decay, float) else tuple(self.weight_decay)
        check_hidden(hidden)
        check_decays(decays)
        pairs = list(product(hidden, map(float, decays)))
        x = features(x)
        self.classes_, label = class_index(y, len(x))
        self._standardiser = Standardiser.fit(x)
        self._device = torch_device(self.device)
        self.backend_ = "torch-cpu" if self._device is None else backend(self._device)
        self.notes_ = self._standardiser.notes
        self.validation_scores_: dict[tuple[str, float], float] = {}
        self.validation_output_: NDArray[np.float64] | None = None
        z = self._standardiser.apply(x)
        if self.n_epochs is not None and len(pairs) == 1:
            self.weights_, self.n_epochs_ = self._train(z, label, None, *pairs[0])
            advance()
            chosen, self.epochs_ = pairs[0], {pairs[0]: self.n_epochs_}
        else:
            chosen, self.epochs_ = self._choose(z, label, pairs, validation, advance)
        self.chosen_ = {"hidden": chosen[0], "weight_decay": chosen[1]}
        self.details_ = {
            "n_epochs": {f"{widths} {decay:g}": n for (widths, decay), n in self.epochs_.items()}
        }
        return self

    def _choose(
        self,
        z: NDArray[np.float32],
        label: NDArray[np.int64],
        pairs: Sequence[tuple[str, float]],
        validation: Validation | None,
        advance: Callable[[], object],
    ) -> tuple[tuple[str, float], dict[tuple[str, float], int]]:
        """Train every pair, stopped by the validation rows, and keep the best; returns it and the epochs."""
        if validation is None or not len(validation[1]):
            raise DataError("no validation rows to stop the training by. Give validation=(x, y).")
        held = self._standardiser.apply(features(validation[0]))
        known = np.isin(validation[1], self.classes_)
        held_label = np.searchsorted(self.classes_, np.asarray(validation[1])[known])
        found, outputs, epochs = {}, {}, {}
        for pair in pairs:
            found[pair], epochs[pair] = self._train(z, label, (held[known], held_label), *pair)
            self.weights_ = found[pair]
            outputs[pair] = self.predict_proba(validation[0])
            advance()
        best, scores = choose(outputs, validation, self.classes_, self.select)
        chosen = pairs[best]
        if len(pairs) > 1:
            self.validation_scores_ = dict(zip(pairs, scores, strict=True))
        self.validation_output_ = outputs[chosen]
        self.weights_, self.n_epochs_ = found[chosen], epochs[chosen]
        decays = sorted({decay for _, decay in pairs})
        if len(decays) > 1 and chosen[1] in (decays[0], decays[-1]):
            self.notes_.append(
                f"The weight decay {chosen[1]:g} is at the edge of the grid. `embedkit probe --weight-decay` "
                "widens it."
            )
        if self.n_epochs_ == MAX_EPOCHS:
            self.notes_.append(f"Not converged: the loss still fell after {MAX_EPOCHS} epochs.")
        return chosen, epochs

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) probabilities."""
        z = self._standardiser.apply(features(x))
        for weight, bias in zip(self.weights_[:-2:2], self.weights_[1:-2:2], strict=True):
            z = np.maximum(z @ weight.T + bias, 0)
        logits = (z @ self.weights_[-2].T + self.weights_[-1]).astype(np.float64)
        return softmax(logits)

    def state(self) -> State:
        """Return everything that `predict` needs, as plain arrays."""
        layers = {f"layer_{i}": array for i, array in enumerate(self.weights_)}
        fixed = {"mean": self._standardiser.mean, "scale": self._standardiser.scale}
        return {"classes": self.classes_, **fixed, **layers}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make a fitted probe of what `state` gave."""
        probe = cls()
        probe.classes_ = state["classes"]
        probe._standardiser = Standardiser(state["mean"], state["scale"])
        probe.weights_ = [state[f"layer_{i}"] for i in range(sum(key.startswith("layer_") for key in state))]
        return probe

    def _train(
        self,
        x: NDArray[np.float32],
        label: NDArray[np.int64],
        held: tuple[NDArray[np.float32], NDArray[np.int64]] | None,
        widths: str,
        decay: float,
    ) -> tuple[list[NDArray[np.float32]], int]:
        """Return the weights of the epoch of the lowest loss on held rows, else of the last; its number."""
        import torch
        from torch.nn.functional import cross_entropy

        from probes.kinds.training import batches, row_weights, tensor

        generator = torch.Generator().manual_seed(self.random_state)
        network = _network([x.shape[1], *map(int, widths.split("x")), len(self.classes_)], generator)
        network.to(self._device or "cpu")
        inputs, targets = tensor(x, self._device), tensor(label, self._device)
        weight = row_weights(label, len(self.classes_), self.class_weight, self._device)
        held_x, held_y = (tensor(part, self._device) for part in held) if held else (None, None)
        optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=decay)
        size = min(max(len(x) // STEPS, MIN_BATCH), MAX_BATCH)
        best, best_epoch, kept = np.inf, 0, copy.deepcopy(network.state_dict())
        last = self.n_epochs if held is None and self.n_epochs else MAX_EPOCHS
        for epoch in range(1, last + 1):
            for rows in batches(len(x), size, generator):
                index = rows.to(inputs.device)
                losses = cross_entropy(network(inputs[index]), targets[index], reduction="none")
                optimiser.zero_grad()
                (losses * weight[index]).mean().backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            if held_x is None or held_y is None:
                best_epoch, kept = epoch, network.state_dict()
                continue
            with torch.no_grad():
                loss = float(cross_entropy(network(held_x), held_y))
            if loss < best:
                best, best_epoch, kept = loss, epoch, copy.deepcopy(network.state_dict())
            elif epoch - best_epoch >= PATIENCE:
                break
        return [array.cpu().numpy() for array in kept.values()], best_epoch


def _network(sizes: Sequence[int], generator: Any) -> nn.Sequential:
    """He's initial weights (He et al. 2015), drawn from the generator alone."""
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layer = nn.Linear(n_in, n_out)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(n_out, n_in, generator=generator) * (2 / n_in) ** 0.5)
            layer.bias.zero_()
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def check_hidden(values: Sequence[str]) -> None:
    """Refuse what is not one or two widths."""
    for value in values:
        widths = value.split("x")
        if len(widths) > 2 or not all(width.isdigit() and int(width) for width in widths):
            raise UsageError(f"--hidden {value}: give the width of one layer (256) or of two (256x256).")


def check_decays(values: Sequence[float]) -> None:
    """Refuse a decay below 0."""
    for value in values:
        if not value >= 0:
            raise UsageError(f"--weight-decay {value:g}: give numbers of at least 0.")
