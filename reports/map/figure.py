"""The map as a figure: by plotly for a notebook, by matplotlib for a paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.files.aside import write_bytes
from reports.figure_options import FigureOptions
from reports.map.columns import Category, Column, Number
from reports.map.hues import CYCLE, MISSING, RAMP, colour, hues

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from reports.map.sheets import Sheets


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
    axes
        What the two directions are called.
    sheets
        Pictures of the points.
    """

    ids: NDArray[np.str_]
    xy: NDArray[np.float32]
    columns: tuple[Column, ...]
    color: str
    axes: tuple[str, str] = ("", "")
    sheets: Sheets | None = field(default=None, repr=False)

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

        column = self._column(color)
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

    def save(self, options: FigureOptions, color: str | None = None) -> list[str]:
        """Draw it for a paper into the file that the options name; returns what is worth saying of it.

        Parameters
        ----------
        options
            Which file, how large, and with what on it.
        color
            As in `figure`.

        Raises
        ------
        UsageError
            No such column, no file named, no matplotlib, or no room for the map.
        """
        from reports.map.paper.drawing import Drawing, draw

        if options.figure is None:
            raise UsageError("No figure is named. Give figure=FILE.")
        column = self._column(color)
        if options.figure_thumbnails is not None and self.sheets is None:
            raise UsageError(
                "--figure-thumbnails: there are no pictures. Name where the images are with --path, without "
                "--no-thumbnails."
            )
        found = self._hues()[column.key] if isinstance(column, Category) else ()
        drawing = Drawing(self.xy, column, found, self.axes, self.sheets)
        data, notes = draw(drawing, options, options.figure.suffix[1:].lower())
        write_bytes(options.figure, data)
        return notes

    def _column(self, color: str | None) -> Column:
        key = self.color if color is None else color
        column = next((column for column in self.columns if column.key == key), None)
        if column is None:
            known = ", ".join(column.key for column in self.columns)
            raise UsageError(f"color={key!r}: the map has no such column. There are {known}.")
        return column

    def _hues(self) -> dict[str, tuple[int, ...]]:
        return hues([one for one in self.columns if isinstance(one, Category)])

    def _categories(self, drawn: Figure, column: Category) -> None:
        numbers = self._hues()[column.key]
        groups = [(-1, column.missing, MISSING)] if (column.codes < 0).any() else []
        groups += [(code, name, colour(numbers[code])) for code, name in enumerate(column.names)]
        for code, name, look in groups:
            self._points(drawn, np.flatnonzero(column.codes == code), name, {"color": look})

    def _numbers(self, drawn: Figure, column: Number) -> None:
        known = np.isfinite(column.values)
        if not known.all():
            self._points(drawn, np.flatnonzero(~known), "no number", {"color": MISSING})
        marker = {
            "color": column.values[known],
            "colorscale": [list(step) for step in (CYCLE if column.period else RAMP)],
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
