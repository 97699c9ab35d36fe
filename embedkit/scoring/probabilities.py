"""From logits to probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax(z: NDArray[Any]) -> NDArray[Any]:
    """Return the probabilities (n, c) of logits (n, c), in their precision; no logit is too large."""
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(p / p.sum(axis=1, keepdims=True))
