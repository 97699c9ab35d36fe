"""What classifiers share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError

Validation = tuple[NDArray[Any], NDArray[Any]]
State = dict[str, NDArray[Any]]


class Classifier:
    """What classifiers share: the most probable class is the prediction; ties go to the first."""

    classes_: NDArray[Any]

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) probabilities."""
        raise AttributeError(f"{type(self).__name__} gives no probabilities for {len(x)} rows.")

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the (n,) most probable classes."""
        predicted: NDArray[Any] = self.classes_[self.predict_proba(x).argmax(axis=1)]
        return predicted


def one_of(value: str, known: tuple[str, ...], flag: str) -> str:
    """Return `value`, or refuse it and list what is known."""
    if value not in known:
        raise UsageError(f"{flag} {value}: unknown. Give one of {', '.join(known)}.")
    return value
