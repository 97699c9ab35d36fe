"""What one step is given."""

from __future__ import annotations

from dataclasses import dataclass

import torch

Views = list[torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """Views of the same images.

    Parameters
    ----------
    views, small
        At full size, and local crops; each (b, 3, s, s).
    rows : (b,) int64
        Which images these are.
    """

    views: Views
    small: Views
    rows: torch.Tensor

    def part(self, index: torch.Tensor) -> Batch:
        """Return some of the images."""
        return Batch([x[index] for x in self.views], [x[index] for x in self.small], self.rows[index])
