"""Tables of counts drawn anew, a few at a time: thousands of classes and clusters in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import random_table

from clustering.counts import Tables
from clustering.matching import I64

# Of the tables that are held at once: 32 MiB. A thousand classes and clusters are four at a time.
CELLS = 1 << 22
# Patefield's algorithm costs by the cells (0.2 s for a million), a permutation by the rows (1 ms for 20,000):
# above so many cells a permutation is the cheaper one, unless there are more rows than this for each cell.
MANY_CELLS, ROWS_A_CELL = 1 << 16, 4


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

    Small tables are drawn by Patefield's algorithm, so that tables are drawn and not rows. Of large ones, of
    few rows for so many cells, the rows are permuted and counted: tables of the same distribution.
    """
    margins = table.sum(axis=1), table.sum(axis=0)
    permuting = table.size > MANY_CELLS and table.sum() <= ROWS_A_CELL * table.size
    tables = None if permuting else random_table(*margins)
    for b in _blocks(table.size, size):
        if tables is None:
            drawn = _permuted(*margins, random, size=b)
        else:
            drawn = np.asarray(tables.rvs(size=b, method="patefield", random_state=random))
        yield Tables.of(drawn.reshape(b, *table.shape))


def _permuted(by_class: I64, by_cluster: I64, random: np.random.Generator, *, size: int) -> I64:
    """Return flattened tables (size, c m) with margins (c,) and (m,), of rows whose labels are permuted."""
    c, m = len(by_class), len(by_cluster)
    # The cell that a row is in is what its class and its cluster say together.
    of_class, of_cluster = np.repeat(np.arange(c) * m, by_class), np.repeat(np.arange(m), by_cluster)
    drawn = (random.permutation(of_class) + of_cluster for _ in range(size))
    return np.array([np.bincount(cells, minlength=c * m) for cells in drawn])


def _blocks(n_cells: int, size: int) -> Iterator[int]:
    most = max(1, CELLS // max(n_cells, 1))
    for start in range(0, size, most):
        yield min(most, size - start)
