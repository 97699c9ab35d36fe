"""Tables of counts drawn anew, a few at a time: thousands of classes and clusters in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import random_table

from clustering.counts import Tables
from clustering.matching import I64

# Of the tables that are held at once: 32 MiB. A thousand classes and clusters are four at a time.
CELLS = 1 << 22


def bootstrap_tables(table: I64, random: np.random.Generator, size: int) -> Iterator[Tables]:
    """Yield `size` tables (b, c, m) of the same number of rows, drawn from those of `table` (c, m)."""
    cells = table.reshape(-1)
    n = int(cells.sum())
    # Cells without rows stay so. The last one is drawn with the others, because it takes what they leave.
    drawn = np.union1d(np.flatnonzero(cells), [len(cells) - 1])
    c, m = table.shape
    for b in _blocks(cells.size, size):
        yield Tables((c, m), drawn, random.multinomial(n, cells[drawn] / n, size=b))


def permuted_tables(table: I64, random: np.random.Generator, size: int) -> Iterator[Tables]:
    """Yield `size` tables (b, c, m) with the margins of `table` (c, m), as permuted labels have them.

    By Patefield's algorithm, so that tables are drawn and not rows.
    """
    margins = random_table(table.sum(axis=1), table.sum(axis=0))
    for b in _blocks(table.size, size):
        tables = margins.rvs(size=b, method="patefield", random_state=random)
        yield Tables.of(np.asarray(tables).reshape(b, *table.shape))


def _blocks(n_cells: int, size: int) -> Iterator[int]:
    most = max(1, CELLS // max(n_cells, 1))
    for start in range(0, size, most):
        yield min(most, size - start)
