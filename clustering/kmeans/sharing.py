"""Lloyd's iterations shared by processes: each searches for its share of the rows, sums are added up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

# Shares begin at multiples of so many rows: products are of the same blocks of rows as in one process.
ALIGNED = 4096
Array = TypeVar("Array", bound=NDArray[Any])


class Alone:
    """One process has all rows."""

    together = False

    def rows(self, n: int) -> slice:
        """Return which of n rows this process searches for."""
        return slice(0, n)

    def added(self, array: Array) -> Array:
        """Return the sum of an array over all processes."""
        return array

    def joined(self, labels: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """Return the labels (n,) of all rows, of those of the own rows."""
        del n
        return labels


class Together(Alone):
    """The processes of a group, each with a run of the rows; every one is told the same sums.

    Parameters
    ----------
    rank, world
        Which process this is, of how many.
    """

    together = True

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world

    def rows(self, n: int) -> slice:
        """Return which of n rows this process searches for: none, where they are few."""
        blocks = -(-n // ALIGNED)
        first, last = (ALIGNED * (blocks * rank // self.world) for rank in (self.rank, self.rank + 1))
        return slice(min(first, n), min(last, n))

    def added(self, array: Array) -> Array:
        """Return the sum of an array over all processes."""
        total = array.copy()
        torch.distributed.all_reduce(torch.from_numpy(total))
        return total

    def joined(self, labels: NDArray[np.int64], n: int) -> NDArray[np.int64]:
        """Return the labels (n,) of all rows, of those of the own rows."""
        # Adding zeros is gathering, and needs no shares of one size.
        every = np.zeros(n, np.int64)
        every[self.rows(n)] = labels
        torch.distributed.all_reduce(torch.from_numpy(every))
        return every


_SHARING: ContextVar[Alone] = ContextVar("sharing", default=Alone())  # noqa: B039 (it has no state)


def sharing() -> Alone:
    """Return how fits in this context share their rows."""
    return _SHARING.get()


@contextmanager
def shared_by(rank: int, world: int) -> Iterator[None]:
    """Share the rows of every fit inside with the processes of a group, all of which do the same fits.

    A group that is there for something else is not taken: a process that fits alone would wait for ever.
    """
    token = _SHARING.set(Together(rank, world) if world > 1 else Alone())
    try:
        yield
    finally:
        _SHARING.reset(token)
