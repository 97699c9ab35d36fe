"""What every objective has: networks that train, a loss, and a network that is evaluated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from embedkit.computing.device import native_bf16
from pretrain.batch import Batch
from pretrain.sharding import shard


class Objective(ABC):
    """A student with a head, and what they learn by.

    Attributes
    ----------
    student, head
        Features and what the loss looks at.
    evaluated
        The network that the monitors look at and that is saved.
    plain
        Where `evaluated` is spread over processes: a network of its own kind in one place, to be filled.
    """

    head: Any
    evaluated: Any
    plain: Any = None

    def __init__(self, student: Any, device: torch.device) -> None:
        self.student, self.device = student, device

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """Return all that a checkpoint holds, by name."""

    def called(self) -> list[nn.Module]:
        """Return the networks that are called, each by itself: these are spread."""
        return list(self.modules().values())

    def shard(self) -> None:
        """Spread all networks over the processes."""
        self.plain = deepcopy(self.evaluated).cpu()
        shard([one for one in self.called() if any(True for _ in one.parameters())], self.device)

    def begin(self, batch: Batch, step: int) -> list[torch.Tensor]:  # noqa: ARG002
        """Return targets that the parts of a batch share, one for each full view; none by default."""
        return []

    @abstractmethod
    def loss(self, batch: Batch, targets: list[torch.Tensor]) -> torch.Tensor:
        """Return the loss of a batch or an equal part of it, to be averaged over parts and processes."""

    def adjust(self, step: int) -> None:  # noqa: B027
        """Change gradients before they are clipped."""

    def end(self, step: int) -> None:  # noqa: B027
        """Do what follows the optimiser's step."""

    def monitors(self, features: torch.Tensor, step: int) -> dict[str, float]:  # noqa: ARG002
        """Look at features (n, d) of held-out images; nothing by default."""
        return {}

    def features(self, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Return (b, d) float32, computed in bf16 where that is native."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=native_bf16(self.device)):
            features: torch.Tensor = model(x)
        return features.float()
