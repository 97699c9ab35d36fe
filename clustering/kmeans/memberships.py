"""Soft assignments from distances, for methods that give hard ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def memberships(distances: NDArray[Any]) -> NDArray[np.float64]:
    """Return soft assignments (n, k) for distances (n, k) to centres: rows sum to 1.

    The nearest centre has the most. They are the memberships of fuzzy c-means with exponent 2 [1]_: in
    proportion to the inverse squared distance. They have no scale to choose and don't saturate in many
    dimensions, as a softmax of squared distances does. A row that sits on centres belongs to those alone.
    They rank rows; they are not calibrated probabilities of a class.

    References
    ----------
    .. [1] J. C. Bezdek, Pattern Recognition with Fuzzy Objective Function Algorithms (1981).
    """
    squared = np.square(distances, dtype=np.float64)
    on_it = squared == 0
    weights = np.where(on_it.any(axis=1, keepdims=True), on_it, 1 / np.where(on_it, 1, squared))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def distances_to(x: NDArray[Any], centers: NDArray[Any]) -> NDArray[np.float64]:
    """Return the Euclidean distances (n, k) of `x` (n, d) to `centers` (k, d)."""
    distances = np.empty((len(x), len(centers)))
    for c, center in enumerate(centers):
        distances[:, c] = np.linalg.norm(x - center, axis=1)
    return distances
