"""What the held-out images say of a network, at the same two views every time."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)
from numpy.typing import NDArray

from pretrain.batches import ViewBatches
from pretrain.choice import criterion
from pretrain.monitors import feature_monitors, knn_accuracy
from pretrain.objective import Objective


class HeldOut:
    """Images that are never trained on.

    Parameters
    ----------
    rows : (h,)
        Which of all images.
    labels : (n,) int64, optional
        Of all images, for kNN accuracy; -1 is no label.
    """

    def __init__(self, batches: ViewBatches, rows: torch.Tensor, labels: NDArray[np.int64] | None) -> None:
        self.batches, self.rows = batches, rows
        self.labels = None if labels is None else torch.from_numpy(labels)[rows]
        if self.labels is not None and int((self.labels >= 0).sum()) < 2:
            self.labels = None

    @torch.no_grad()
    def look(self, objective: Objective, step: int) -> dict[str, float]:
        """Return the monitors of the evaluated network, in float32."""
        options, model = self.batches.options, objective.evaluated.eval()
        generator = torch.Generator(self.batches.device).manual_seed(options.seed)
        a, b = (
            torch.cat(
                [
                    model(self.batches.look(rows, generator)).float()
                    for rows in torch.split(self.rows, options.at_a_time)
                ]
            )
            for _ in range(2)
        )
        seen = feature_monitors(a, b)
        seen["criterion"] = criterion(seen)
        if self.labels is not None:
            seen["knn_accuracy"] = knn_accuracy(F.normalize(a, dim=1) + F.normalize(b, dim=1), self.labels)
        return seen | objective.monitors(a, step)
