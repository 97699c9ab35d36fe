"""All rows whose features a probe may learn from, labelled or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.neighbours.search import Neighbours, nearest, normalise


class Pool:
    """Rows that are searched once, however many probes learn from them.

    Parameters
    ----------
    x : (n, d)
        Features.

    Attributes
    ----------
    bank : (n, d) float32
        The rows at length 1.
    """

    def __init__(self, x: NDArray[Any]) -> None:
        self.bank = normalise(x)
        self._found: Neighbours | None = None

    def neighbours(self, k: int, *, device: str | None = None) -> Neighbours:
        """Return the k nearest rows of each by cosine similarity, itself left out; k is at most n - 1."""
        if self._found is None or self._found.index.shape[1] < k:
            self._found = _without_itself(nearest(self.bank, self.bank, k + 1, device=device))
        return Neighbours(self._found.index[:, :k], self._found.similarity[:, :k])


@dataclass(frozen=True)
class Around:
    """Where a probe's rows lie among all that it may learn from.

    Parameters
    ----------
    pool
        All of them.
    at : (m,) int64
        Places in the pool of the rows with a label.
    held : (v,) int64, optional
        Places of the validation rows.
    """

    pool: Pool
    at: NDArray[np.int64]
    held: NDArray[np.int64] | None = None

    def of(self, rows: NDArray[np.int64], held: NDArray[np.int64] | None = None) -> Around:
        """Return the same for some of the labelled rows, and others of them as validation rows."""
        return Around(self.pool, self.at[rows], None if held is None else self.at[held])


def _without_itself(found: Neighbours) -> Neighbours:
    """Drop each row from its own neighbours; the last one where more than k copies leave it out."""
    n, k = found.index.shape
    keep = found.index != np.arange(n)[:, None]
    keep[keep.all(axis=1), -1] = False
    return Neighbours(found.index[keep].reshape(n, k - 1), found.similarity[keep].reshape(n, k - 1))
