"""A confusion matrix as a result keeps it: all its rows, or of many classes the cells that are not 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A thousand classes are a million numbers, nearly all 0: 3 MB of one line of results.jsonl.
MOST_DENSE = 150
# More cells than a reader makes room for, whatever a line says: 800 MB.
MOST_CELLS = 10**8


def kept(confusion: NDArray[np.int64]) -> dict[str, Any]:
    """Return (c, m) for a result's outcomes: as `confusion`, or of many classes as `confusion_cells`."""
    if len(confusion) <= MOST_DENSE:
        return {"confusion": confusion.tolist()}
    rows, columns = np.nonzero(confusion)
    cells = np.column_stack([rows, columns, confusion[rows, columns]])
    return {"confusion_cells": {"shape": list(confusion.shape), "cells": cells.tolist()}}


def confusion_of(outcomes: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """Return the matrix (c, m) that a result's outcomes keep; None where there is none that can be read."""
    try:
        if "confusion_cells" in outcomes:
            return _from_cells(outcomes["confusion_cells"])
        counts = np.asarray(outcomes["confusion"], dtype=np.int64)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError):
        return None
    return counts if counts.ndim == 2 and counts.size and counts.min() >= 0 else None


def _from_cells(kept: Mapping[str, Any]) -> NDArray[np.int64] | None:
    c, m = map(int, kept["shape"])
    cells = np.asarray(kept["cells"], dtype=np.int64).reshape(-1, 3)
    inside = (cells >= 0).all() and (cells[:, :2] < [c, m]).all()
    if min(c, m) < 1 or c * m > MOST_CELLS or not inside:
        return None
    counts = np.zeros((c, m), dtype=np.int64)
    counts[cells[:, 0], cells[:, 1]] = cells[:, 2]
    return counts
