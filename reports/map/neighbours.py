"""The nearest images of each, exactly, in the features and not on the map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.preparing.steps import Preparation
from reports.report_options import NONE

AS_EXTRACTED = "the features as extracted"


def measure(metric: str) -> str:
    """Return by what neighbours are found on a map of this metric: Manhattan ones would take hours."""
    return "euclidean" if metric == "manhattan" else metric


def describe(metric: str, prep: str) -> str:
    """Say what near means: by which measure, of which rows."""
    rows = AS_EXTRACTED if prep == NONE else f"the features after {Preparation.parse(prep).name}"
    return {"cosine": "cosine", "correlation": "correlation"}.get(
        metric, "Euclidean distance"
    ) + f" of {rows}"


def nearest_neighbours(
    x: NDArray[np.floating[Any]], k: int = 10, *, metric: str = "cosine"
) -> NDArray[np.int64]:
    """Return each row's k nearest other rows, nearest first, as (n, min(k, n - 1)).

    Parameters
    ----------
    x : (n, d) float
        Features as they are to be compared: nothing is taken from them or projected away.
    k
        Neighbours a row.
    metric
        ``cosine`` or ``correlation``; anything else means Euclidean.
    """
    from sklearn.neighbors import NearestNeighbors

    n = len(x)
    k = min(k, n - 1)
    if k < 1:
        return np.empty((n, 0), np.int64)
    rows = np.asarray(x, dtype=np.float64)
    if metric == "correlation":
        rows = rows - rows.mean(axis=1, keepdims=True)
    if metric in ("cosine", "correlation"):
        # On rows of length 1 all of these give the same order, and the Euclidean one is the faster code.
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(length > 0, length, 1)
    # Distances don't mind a shift, and are the more precise the smaller the numbers are.
    rows = rows - rows.mean(axis=0)
    model = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
    # Asked without rows it leaves each row out of its own neighbours, duplicates of it aside.
    return np.asarray(model.kneighbors(return_distance=False), dtype=np.int64)
