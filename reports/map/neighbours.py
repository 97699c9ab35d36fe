"""The nearest images of each, in the features and not on the map; exact, beyond 50,000 with their recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.computing.inverted_lists import Recall, nearby
from embedkit.console import progress
from embedkit.preparing.steps import Preparation
from reports.report_options import NONE

# Travel in the page: enough to step from image to image, and as many as UMAP looks at.
K = 15
# All pairs of so many rows take a minute, and four times as long for twice as many.
LARGE = 50_000
# Of the true neighbours, where not all are found.
LEAST = 0.98
AS_EXTRACTED = "the features as extracted"


def measure(metric: str) -> str:
    """Return by what neighbours are found on a map of this metric: Manhattan ones would take hours."""
    return "euclidean" if metric == "manhattan" else metric


def describe(metric: str, prep: str, recall: Recall | None = None) -> str:
    """Say what near means: by which measure, of which rows, and how many of the true ones were found."""
    found = "" if recall is None else f" ({recall.describe()})"
    rows = AS_EXTRACTED if prep == NONE else f"the features after {Preparation.parse(prep).name}"
    return {"cosine": "cosine", "correlation": "correlation"}.get(
        metric, "Euclidean distance"
    ) + f" of {rows}{found}"


@dataclass(frozen=True)
class Neighbours:
    """The nearest other rows of each.

    Parameters
    ----------
    index : (n, k) int64
        Row numbers, nearest first.
    distance : (n, k) float32
        Euclidean distances by which they were found: for a cosine, of the rows scaled to length 1.
    recall
        How many of the true ones they are, where they are not all.
    """

    index: NDArray[np.int64]
    distance: NDArray[np.float32]
    recall: Recall | None = None

    @property
    def k(self) -> int:
        """Neighbours a row."""
        return int(self.index.shape[1])


def nearest_neighbours(x: NDArray[np.floating[Any]], k: int = K, *, metric: str = "cosine") -> Neighbours:
    """Find each row's min(k, n - 1) nearest other rows: exactly, or of more than `LARGE` rows nearly all.

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
    if n > LARGE:
        with progress("neighbours", n, unit="images") as advance:
            found = nearby(_compared(x, metric).astype(np.float32), k, least=LEAST, advance=advance)
        return Neighbours(found.index, found.distance, found.recall)
    k = min(k, n - 1)
    if k < 1:
        return Neighbours(np.empty((n, 0), np.int64), np.empty((n, 0), np.float32))
    rows = _compared(x, metric)
    # Distances don't mind a shift, and are the more precise the smaller the numbers are.
    rows = rows - rows.mean(axis=0)
    model = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
    # Asked without rows it leaves each row out of its own neighbours, duplicates of it aside.
    distance, index = model.kneighbors()
    return Neighbours(np.asarray(index, dtype=np.int64), np.asarray(distance, dtype=np.float32))


def neighbours_among(
    bank: NDArray[np.floating[Any]], x: NDArray[np.floating[Any]], k: int, *, metric: str = "cosine"
) -> Neighbours:
    """Find the min(k, n) rows of a bank (n, d) that are nearest to each of other rows (m, d), exactly.

    Parameters
    ----------
    bank, x
        Features as they are to be compared.
    k, metric
        As in `nearest_neighbours`.
    """
    from sklearn.neighbors import NearestNeighbors

    k = min(k, len(bank))
    if k < 1:
        return Neighbours(np.empty((len(x), 0), np.int64), np.empty((len(x), 0), np.float32))
    known = _compared(bank, metric)
    middle = known.mean(axis=0)
    model = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(known - middle)
    distance, index = model.kneighbors(_compared(x, metric) - middle)
    return Neighbours(np.asarray(index, dtype=np.int64), np.asarray(distance, dtype=np.float32))


def _compared(x: NDArray[np.floating[Any]], metric: str) -> NDArray[np.float64]:
    """Return rows whose Euclidean distances are in the order of the metric."""
    rows = np.asarray(x, dtype=np.float64)
    if metric == "correlation":
        rows = rows - rows.mean(axis=1, keepdims=True)
    if metric in ("cosine", "correlation"):
        # On rows of length 1 all of these give the same order, and the Euclidean one is the faster code.
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(length > 0, length, 1)
        # A row of zeros has similarity 0 to all: a direction of its own puts it at sqrt(2), not 1, from them.
        rows = np.hstack([rows, length == 0])
    return rows
