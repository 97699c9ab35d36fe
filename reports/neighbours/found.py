"""Images that were found, in an order, and what is said of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files import showing
from embedkit.files.columns import TableKind


@dataclass(frozen=True, repr=False)
class Found(showing.Shown):
    """Images in an order.

    Parameters
    ----------
    title
        What they are, with the measure.
    kind
        The table of `embedkit.files.tables` that `columns` are of.
    table
        Its columns.
    notes
        What a reader must know.
    path
        Where it was written, if anywhere.
    """

    title: str
    kind: TableKind
    table: dict[str, NDArray[Any]]
    notes: tuple[str, ...] = ()
    path: Path | None = None

    @property
    def ids(self) -> NDArray[np.str_]:
        """(n,) ids, the first first."""
        return self.table["id"]

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of the table."""
        return dict(self.table)

    def to_pandas(self) -> Any:
        """Return the table as a pandas DataFrame."""
        return showing.data_frame(self.table)

    def cells(self) -> list[dict[str, str]]:
        """Return each image's line as texts by column."""
        names = [name for name in self.table if name not in ("query",)]
        return [{name: _text(self.table[name][i]) for name in names} for i in range(len(self.ids))]

    def _shown(self) -> showing.Parts:
        return self.title, self.cells()[:20], self.notes


def _text(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else f"{value:.3f}"
    return str(value)
