"""What a network says of labelled images: how sure it is where it is right and wrong, and which are shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Said:
    """Predictions of m images whose class is known.

    Parameters
    ----------
    rows : (m,)
        In the dataset.
    ids : (m,) str
    class_names
        Of the network.
    true : (m,)
        Class, as the network numbers them.
    p : (m, c) float64
        Calibrated probabilities.
    """

    rows: I64
    ids: NDArray[np.str_]
    class_names: tuple[str, ...]
    true: I64
    p: F64

    @property
    def predicted(self) -> I64:
        """(m,) most probable class."""
        found: I64 = self.p.argmax(axis=1)
        return found

    @property
    def confidence(self) -> F64:
        """(m,) probability of the predicted class."""
        found: F64 = self.p.max(axis=1)
        return found

    @property
    def right(self) -> NDArray[np.bool_]:
        """(m,) whether the prediction is the image's class."""
        return np.asarray(self.predicted == self.true)

    def most_confident(self, j: int, *, right: bool, most: int) -> I64:
        """Return places (at most `most`,) of images of class j by confidence, all right or all wrong."""
        places = np.flatnonzero((self.true == j) & (self.right == right))
        found: I64 = places[np.argsort(-self.confidence[places], kind="stable")][:most]
        return found


@dataclass(frozen=True)
class Confidence:
    """How sure the network is of some of its predictions; without any, nothing is known."""

    n: int
    low: float | None
    median: float | None
    high: float | None


def confidence_of(values: F64) -> Confidence:
    """Return number, quartiles and median of confidences (n,)."""
    if not len(values):
        return Confidence(0, None, None, None)
    low, median, high = (float(one) for one in np.quantile(values, [0.25, 0.5, 0.75]))
    return Confidence(len(values), low, median, high)
