"""What one run of the loop trains, whatever it learns by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch

from pretrain.batch import Batch
from pretrain.elastic import Elastic
from pretrain.objective import Objective

Log = Sequence[dict[str, float]]
# A batch and its step -> the loss; the gradients are in the parameters.
Gradients = Callable[[Batch, int], torch.Tensor]


class Source(Protocol):
    """Where batches come from."""

    device: torch.device

    def ahead(self, first: int, end: int) -> Iterator[Batch]:
        """Yield the batches of steps `first` to `end`."""


class Task(ABC):
    """Batches, an objective, an optimiser with its rates, and how an epoch is judged.

    Attributes
    ----------
    asked
        What fixes the numbers of the run. A checkpoint of another `asked` is refused.
    batches, objective, optimiser
        What the loop runs.
    parameters
        Those that train.
    ends
        For each epoch, the number of steps after which it ends; rising.
    seed
        Of dropout and its like; each step has its own.
    accumulate
        Equal parts in which a batch goes through the student.
    clip_grad
        Largest norm of the gradient; None for no limit.
    fsdp
        Whether the weights are spread over processes.
    look_every
        Epochs between two looks; the last epoch is always looked at.
    elastic
        Where the sizes of batches are decided on the way, by memory.
    waits_within
        Whether processes wait for each other within a forward or backward pass.
    advice
        What to do where the loss is not finite.
    why_enough
        What is said where `enough` ends a run.
    """

    asked: dict[str, Any]
    batches: Source
    objective: Objective
    optimiser: torch.optim.Optimizer
    parameters: list[torch.nn.Parameter]
    ends: Sequence[int]
    seed: int = 0
    accumulate: int = 1
    clip_grad: float | None = None
    fsdp: bool = False
    look_every: int = 1
    elastic: Elastic | None = None
    waits_within: bool = False
    advice: str = "Lower --lr."
    why_enough: str = ""

    def as_today(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what an older checkpoint was asked, in the words of today."""
        return asked

    @abstractmethod
    def set_rates(self, step: int, log: Log) -> None:
        """Set the optimiser's rates for a step."""

    @abstractmethod
    def look(self, step: int) -> dict[str, float]:
        """Look at images that are not trained on."""

    @abstractmethod
    def best(self, log: Log) -> dict[str, float] | None:
        """Return the row of the epoch to keep so far."""

    @abstractmethod
    def enough(self, log: Log) -> bool:
        """Whether further epochs would be in vain."""

    def check(self, log: Log) -> None:  # noqa: B027
        """Stop a run that has gone wrong; raises `EmbedkitError`."""

    def prepare(self, gradients: Gradients) -> None:  # noqa: B027
        """Measure what must be known before the first step."""

    def parts(self, step: int) -> int:  # noqa: ARG002
        """Return in how many equal parts the batch of a step goes through the student in this process."""
        return self.accumulate

    def see_part(self, step: int) -> None:  # noqa: B027
        """Look at the gradients after each part of a batch, before processes average them."""

    def see_gradients(self, step: int, size: int) -> None:  # noqa: B027
        """Look at the gradients of the whole batch, of which `size` images went through this process."""

    def measured(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of what was measured so far."""
        return {}

    def measured_before(self, kept: dict[str, Any]) -> None:  # noqa: B027
        """Take up what a checkpoint kept."""

    def forget_parts(self) -> None:  # noqa: B027
        """Forget what was seen of parts of a batch that will be taken again."""

    def end_epoch(self, step: int) -> None:  # noqa: B027
        """Do what follows an epoch's last step, before it is looked at."""

    def adjust_gradients(self) -> None:  # noqa: B027
        """Change gradients before they are clipped."""

    def replay(self, step: int) -> str:  # noqa: ARG002
        """Keep what a step whose loss is not finite was given; returns a sentence on where."""
        return ""
