"""What the probes that are trained by gradient steps share: tensors, class weights and batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from probes.kinds.selection import class_weights


def tensor(x: NDArray[Any], device: str | None) -> torch.Tensor:
    """Copy an array to the device."""
    return torch.tensor(x, device=device or "cpu")


def row_weights(
    label: NDArray[np.int64], n_classes: int, class_weight: str | None, device: str | None
) -> torch.Tensor:
    """Return the (n,) float32 weight of each row's loss; their mean is 1."""
    weight = class_weights(label, n_classes, class_weight)
    return tensor(np.ones(len(label), np.float32) if weight is None else weight.astype(np.float32), device)


def batches(n: int, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield the rows of one epoch, shuffled; drawn on the CPU, so that every device gets the same."""
    order = torch.randperm(n, generator=generator)
    for start in range(0, n, size):
        yield order[start : start + size]
