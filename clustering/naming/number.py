"""How many groups are made to be named."""

from __future__ import annotations

import math

from clustering.options import FINE
from embedkit.errors import DataError

# A person looks through so many in minutes.
MOST = 40


def fine_k(n: int, notes: list[str]) -> int:
    """Return how many groups n rows are cut into to be named: the root of n, and 40 at most.

    With the root a group has about as many rows as there are groups, so that few rows make few groups, each
    with a middle. `notes` takes what a reader must know.
    """
    if n < 3:
        raise DataError(f"{n} rows are too few for -k {FINE}. Give k, as in -k {n}.")
    k = min(MOST, round(math.sqrt(n)))
    notes.append(f"k = {k}: the root of {n:,} rows, {MOST} at most. `embedkit name` has them named.")
    return k
