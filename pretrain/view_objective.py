"""What objectives without labels share: they compare views, and may be regularised."""

from __future__ import annotations

from typing import Any

import torch

from pretrain.koleo import koleo_loss
from pretrain.objective import Objective
from pretrain.options import PretrainOptions
from pretrain.ranks import gather


class ViewObjective(Objective):
    """An objective of views of the same image.

    Parameters
    ----------
    options
        Of the run.
    """

    def __init__(self, student: Any, options: PretrainOptions, device: torch.device) -> None:
        super().__init__(student, device)
        self.options = options

    def regularised(self, loss: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Add KoLeo of the features (2 b, d) of both full views, over the images of all processes."""
        if not self.options.koleo:
            return loss
        return loss + self.options.koleo * sum(koleo_loss(gather(view)) for view in features.chunk(2)) / 2
