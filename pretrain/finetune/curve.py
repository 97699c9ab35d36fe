"""The validation loss of a training against images seen and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
LOSS = "validation_loss"


@dataclass(frozen=True)
class Curve:
    """The validation loss of one training.

    Parameters
    ----------
    images, seconds, loss : (e,) float64
        At the end of each epoch, the start first: images seen and seconds trained since the start, and the
        lowest loss so far, that of the weights which are kept.
    """

    images: F64
    seconds: F64
    loss: F64

    @classmethod
    def of(cls, log: Sequence[dict[str, float]]) -> Curve:
        """Read it from the joined log of all phases."""
        seconds = np.cumsum([row.get("seconds", 0.0) for row in log])
        seen = [i for i, row in enumerate(log) if np.isfinite(row.get(LOSS, np.nan))]
        loss = np.minimum.accumulate(np.array([log[i][LOSS] for i in seen], np.float64))
        return cls(np.array([log[i]["images"] for i in seen], np.float64), seconds[seen], loss)

    def reached(self, target: float, x: F64) -> float:
        """Return where along `x`, images or seconds, the loss comes down to a target; linear between epochs.

        Infinite where it never does.
        """
        below = np.flatnonzero(self.loss <= target)
        if not len(below):
            return float("inf")
        i = int(below[0])
        if not i:
            return float(x[0])
        fall = self.loss[i - 1] - self.loss[i]
        return float(x[i - 1] + (x[i] - x[i - 1]) * (self.loss[i - 1] - target) / fall)

    def at(self, where: float, x: F64) -> float:
        """Return the loss at a place along `x`, between epochs linearly."""
        return float(np.interp(where, x, self.loss))
