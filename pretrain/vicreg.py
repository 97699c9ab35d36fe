"""VICReg: views agree, every dimension varies, dimensions are not correlated; it needs no teacher.

Bardes, Ponce & LeCun 2022, VICReg: variance-invariance-covariance regularization, ICLR.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)
from torch import nn

from pretrain.batch import Batch
from pretrain.options import PretrainOptions
from pretrain.ranks import gather
from pretrain.view_objective import ViewObjective

INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0


class VICReg(ViewObjective):
    """One network with an expander; nothing else to keep."""

    def __init__(self, student: Any, options: PretrainOptions, device: torch.device, *, d: int) -> None:
        super().__init__(student, options, device)
        self.head = expander(d).to(device)
        self.evaluated = student

    def modules(self) -> dict[str, nn.Module]:
        """Return all that a checkpoint holds, by name."""
        return {"student": self.student, "head": self.head}

    def loss(self, batch: Batch, targets: list[torch.Tensor]) -> torch.Tensor:  # noqa: ARG002
        """Compare both views over the images of all processes."""
        features = self.features(self.student, torch.cat(batch.views))
        joint = torch.cat([gather(view) for view in features.chunk(2)])
        a, b = self.head(joint).chunk(2)
        return self.regularised(vicreg_loss(a, b), features)


def expander(d: int, width: int = 1024) -> nn.Sequential:
    """Three layers from the features (b, d) to the space (b, width) that the loss looks at."""
    return nn.Sequential(
        nn.Linear(d, width),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width),
    )


def vicreg_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Equation 6 of the paper, for two views (n, d) of the same images."""
    invariance = F.mse_loss(a, b)
    variance = _hinge(a) + _hinge(b)
    covariance = _off_diagonal(a) + _off_diagonal(b)
    return INVARIANCE * invariance + VARIANCE * variance / 2 + COVARIANCE * covariance


def _hinge(x: torch.Tensor) -> torch.Tensor:
    return F.relu(1 - (x.var(dim=0) + 1e-4).sqrt()).mean()


def _off_diagonal(x: torch.Tensor) -> torch.Tensor:
    centred = x - x.mean(dim=0)
    covariance = centred.T @ centred / (len(x) - 1)
    return (covariance.pow(2).sum() - covariance.diagonal().pow(2).sum()) / x.shape[1]
