"""Rows of a feature file that nothing can be computed on: named by id, whichever verb reads them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.files.rows import Rows
from embedkit.files.schema import unusable, usable

BLOCK = 4096


class Readable(Protocol):
    """What is asked of a feature file here; the file itself asks too, so its module isn't named."""

    @property
    def rows(self) -> Rows:
        """Ids, and what else is known of each row."""

    def read(self, rows: Any = None) -> NDArray[np.float32]:
        """Return features of rows."""

    def read_view_mean(self, rows: Any = None) -> NDArray[np.float32]:
        """Return view means of rows."""


def read_usable(file: Readable, rows: NDArray[np.int64], *, view_mean: bool = False) -> NDArray[np.float32]:
    """Return features of rows (m,), or their view means, as (m, d) float32.

    Raises
    ------
    DataError
        NaN, infinity, or numbers beyond what float32 computes with; it names the first such row.
    """
    x = file.read_view_mean(rows) if view_mean else file.read(rows)
    if not all(usable(x[start : start + BLOCK]).all() for start in range(0, len(x), BLOCK)):
        raise unusable_rows(file, rows, view_mean=view_mean)
    return x


def unusable_rows(file: Readable, rows: NDArray[np.int64], *, view_mean: bool = False) -> DataError:
    """Return the error that says which of the rows (m,) of a file hold what can't be computed with."""
    n_bad, first, why, infinite = 0, -1, "", False
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        x = file.read_view_mean(some) if view_mean else file.read(some)
        bad = np.flatnonzero(~usable(x))
        if len(bad) and first < 0:
            first, why = int(some[bad[0]]), unusable(x[bad[:1]])
        n_bad += len(bad)
        infinite |= bool(np.isinf(x).any())
    overflow = " (float16 overflows above 65,504)" if infinite else ""
    return DataError(
        f"{n_bad:,} of {len(rows):,} rows hold {why}{overflow}, the first of them "
        f"{str(file.rows.ids[first])!r}. Extract again with --precision fp32, or leave such rows out."
    )
