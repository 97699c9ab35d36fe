"""The map as a plotly figure, for a notebook or a figure of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError
from reports.map.columns import Category, Column, Number
from reports.map.hues import PALETTE, RAMP, hues

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Of what has no category or number.
MISSING = "#b5b5b5"


@dataclass(frozen=True)
class Drawn:
    """The points of a map and what they can be coloured by.

    Parameters
    ----------
    ids : (n,) str
        Identifier of each image.
    xy : (n, 2) float32
        Where it lies.
    columns
        What it can be coloured by.
    color
        Key of the column that the page opens with.
    """

    ids: NDArray[np.str_]
    xy: NDArray[np.float32]
    columns: tuple[Column, ...]
    color: str

    def figure(self, color: str | None = None) -> Figure:
        """Draw it.

        Parameters
        ----------
        color
            Key of a column; the one that the page opens with by default.

        Raises
        ------
        UsageError
            No such column.
        """
        from plotly.graph_objects import Figure

        key = self.color if color is None else color
        column = next((column for column in self.columns if column.key == key), None)
        if column is None:
            known = ", ".join(column.key for column in self.columns)
            raise UsageError(f"color={key!r}: the map has no such column. There are {known}.")
        drawn = Figure()
        if isinstance(column, Number):
            self._numbers(drawn, column)
        else:
            self._categories(drawn, column)
        axis = {"visible": False}
        drawn.update_layout(
            template="plotly_white",
            xaxis=axis,
            yaxis={**axis, "scaleanchor": "x"},
            legend={"title": {"text": column.title}, "itemsizing": "constant"},
            margin={"l": 8, "r": 8, "t": 8, "b": 8},
        )
        return drawn

    def _categories(self, drawn: Figure, column: Category) -> None:
        numbers = hues([one for one in self.columns if isinstance(one, Category)])[column.key]
        groups = [(-1, column.missing, MISSING)] if (column.codes < 0).any() else []
        groups += [
            (code, name, PALETTE[numbers[code] % len(PALETTE)]) for code, name in enumerate(column.names)
        ]
        for code, name, colour in groups:
            self._points(drawn, np.flatnonzero(column.codes == code), name, {"color": colour})

    def _numbers(self, drawn: Figure, column: Number) -> None:
        known = np.isfinite(column.values)
        if not known.all():
            self._points(drawn, np.flatnonzero(~known), "no number", {"color": MISSING})
        marker = {
            "color": column.values[known],
            "colorscale": [list(step) for step in RAMP],
            "colorbar": {"title": {"text": column.title}},
        }
        self._points(drawn, np.flatnonzero(known), column.title, marker)

    def _points(self, drawn: Figure, rows: NDArray[np.int64], name: str, marker: dict[str, object]) -> None:
        size = float(np.clip(300 / np.sqrt(max(1, len(self.ids))), 3, 9))
        drawn.add_scattergl(
            x=self.xy[rows, 0],
            y=self.xy[rows, 1],
            text=self.ids[rows],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            mode="markers",
            name=name,
            marker={"size": size, **marker},
        )
