"""Learning from labels or votes: one more objective of the loop, and the task of one phase."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pretrain.batch import Batch
from pretrain.objective import Objective

Criterion = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Supervised(Objective):
    """A network that learns the truth of every image.

    Parameters
    ----------
    network
        A `Network`: backbone and head.
    truth : (n,) int64 or (n, t) float32
        Of all images.
    criterion
        Raw outputs (b, o) and the truth of the same images -> the mean loss over them.
    """

    def __init__(self, network: Any, truth: torch.Tensor, criterion: Criterion, device: torch.device) -> None:
        super().__init__(network.backbone, device)
        self.head = network.head
        self.evaluated = network
        self.truth, self.criterion = truth, criterion

    def modules(self) -> dict[str, nn.Module]:
        """Return all that a checkpoint holds, by name."""
        return {"network": self.evaluated}

    def called(self) -> list[nn.Module]:
        """Return the networks that are called, each by itself."""
        return [self.student, self.head]

    def begin(self, batch: Batch, step: int) -> list[torch.Tensor]:  # noqa: ARG002
        """Return the truth of the batch."""
        return [self.truth[batch.rows].to(self.device)]

    def loss(self, batch: Batch, targets: list[torch.Tensor]) -> torch.Tensor:
        """Compare the outputs with the truth."""
        return self.criterion(self.raw(batch.views[0]), targets[0])

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        """Return raw outputs (b, o) float32, the backbone computed in bf16 where that is native."""
        raw: torch.Tensor = self.head(self.features(self.student, x))
        return raw
