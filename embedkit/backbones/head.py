"""What stands between the features of a backbone and the outputs, as asked for; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embedkit.errors import UsageError
from embedkit.options import check, option

OUTPUTS = ("classes", "sigmoid", "tree")
ACTIVATIONS = ("relu", "gelu", "silu")


def key(value: Any, help: str, name: str, **how: Any) -> Any:
    """Declare a key of a recipe, which messages call by its own name and not by a flag's."""
    return option(value, help, flag=name, **how)


@dataclass(frozen=True)
class HeadSpec:
    """Layers from features (b, d) to raw outputs (b, o), enough to build them again.

    Parameters
    ----------
    widths
        Outputs of each hidden layer; none for one linear layer.
    dropout
        Share of the inputs of a linear layer that is left out in training: after each hidden layer, or of
        the features where there is none.
    batch_norm
        Whether batch normalisation follows the activation of each hidden layer.
    activation
        Of hidden layers: one of `ACTIVATIONS`.
    init_std
        Weights of linear layers are drawn from a normal distribution of this standard deviation, and biases
        are 0; None for PyTorch's own.
    output
        How raw outputs are read: one of `OUTPUTS`. ``classes`` are logits of a softmax, ``sigmoid`` answers
        each by itself, ``tree`` the answers of a question tree.

    Raises
    ------
    UsageError
        A value out of range.
    """

    widths: tuple[int, ...] = key(
        (),
        "outputs of each hidden layer; [] for one linear layer",
        "widths",
        least=1,
        most=65536,
        metavar="N",
    )
    dropout: float = key(
        0.0, "after each hidden layer, or of the features where there is none", "dropout", least=0, below=1
    )
    batch_norm: bool = key(False, "batch normalisation after the activation of a hidden layer", "batch_norm")
    activation: str = key("relu", "of hidden layers", "activation", choices=ACTIVATIONS)
    init_std: float | None = key(
        None,
        "standard deviation of the first weights, with biases of 0",
        "init_std",
        above=0,
        below=float("inf"),
        unset="PyTorch's own",
    )
    output: str = key(
        "classes",
        "softmax over classes, a sigmoid for each answer, or answers of a question tree",
        "output",
        choices=OUTPUTS,
    )

    def __post_init__(self) -> None:
        check(self)
        if self.batch_norm and not self.widths:
            raise UsageError(
                "batch_norm = true without widths: it follows hidden layers, and there are none."
            )
