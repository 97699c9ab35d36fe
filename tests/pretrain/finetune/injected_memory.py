"""A memory that holds a number of images, in place of the machine's."""

import math
from types import SimpleNamespace

import torch

from pretrain.elastic import USABLE

IMAGE = 10**6  # bytes


def inject(training, objective, *, most, patch=setattr):
    """Have parts of more than `most()` images run out of memory, and the peak be that of the largest part."""
    seen = SimpleNamespace(peak=0)
    loss = objective.loss

    def limited(self, batch, targets):
        if len(batch.rows) > most():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than was injected.")
        seen.peak = max(seen.peak, len(batch.rows))
        return loss(self, batch, targets)

    class Memory:
        base = 0

        def __init__(self, device):
            pass

        def begin(self):
            seen.peak = 0

        def peak(self):
            return IMAGE * seen.peak

        def limit(self):
            return math.ceil(IMAGE * most() / USABLE)

        def release(self):
            pass

    patch(objective, "loss", limited)
    patch(training, "Peak", Memory)
