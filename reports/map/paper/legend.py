"""The legend of a figure: beside the map where that is wide, else below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reports.map.paper.names import Box

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEXT = 7.0  # points
LINE = 10.0
DOT, APART, GAP = 9.0, 8.0, 8.0
# Of the figure's width beside the map, of its height below it.
MOST = 0.4
# Wider than high by more than this: the legend stands beside.
WIDE = 1.15


@dataclass(frozen=True)
class Entry:
    """A category: its name, its colour and how many points it has."""

    name: str
    colour: str
    n: int


def legend(figure: Figure, box: Box, title: str, entries: list[Entry]) -> tuple[Box, str]:
    """Draw a legend into a figure; returns the box that is left for the map, and what is worth saying.

    Parameters
    ----------
    figure
        Its dots an inch are 72, so that a pixel is a point.
    box
        What there is room in, in points.
    title, entries
        What stands there. Of more than there is room for, the largest are named.
    """
    written: dict[str, Any] = {"fontsize": TEXT, "va": "center", "parse_math": False}
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]

    def width_of(words: str) -> float:
        artist = figure.text(0, 0, words, **written)
        found = float(artist.get_window_extent(renderer).width)
        artist.remove()
        return found

    beside = box.wide > WIDE * box.high
    every = {entry: _words(entry) for entry in entries}
    cell = DOT + max(map(width_of, every.values()), default=0) + APART
    if beside:
        n_rows = max(1, int(box.high // LINE) - 1)
        most = max(1, int(MOST * box.wide // cell)) * n_rows
    else:
        n_columns = max(1, int((box.wide + APART) // cell))
        most = max(1, int(MOST * box.high // LINE) - 1) * n_columns
    shown, note = _largest(entries, most)
    if beside:
        n_columns = -(-len(shown) // n_rows)
        wide = max(n_columns * cell - APART, width_of(title))
        left, top = box.left + box.wide - wide, box.low + box.high
        rest = Box(box.left, box.low, box.wide - wide - GAP, box.high)
    else:
        n_rows = -(-len(shown) // n_columns)
        high = (n_rows + 1) * LINE
        left, top = box.left, box.low + high
        rest = Box(box.left, box.low + high + GAP, box.wide, box.high - high - GAP)
    _write(figure, (left, top - LINE / 2), title, weight="bold", **written)
    for i, entry in enumerate(shown):
        x, y = left + i // n_rows * cell, top - LINE * (1.5 + i % n_rows)
        if entry.colour:
            _dot(figure, (x + DOT / 2 - 1, y), entry.colour)
        _write(figure, (x + (DOT if entry.colour else 0), y), every.get(entry, entry.name), **written)
    return rest, note


def _words(entry: Entry) -> str:
    return f"{entry.name} ({entry.n:,})"


def _largest(entries: list[Entry], most: int) -> tuple[list[Entry], str]:
    if len(entries) <= most:
        return entries, ""
    kept = set(sorted(entries, key=lambda entry: -entry.n)[: max(most - 1, 0)])
    n = len(entries) - len(kept)
    more = Entry(f"and {n} more", "", 0)
    return [*(one for one in entries if one in kept), more], (
        f"The figure's legend has room for {len(kept)} of {len(entries)} names; --figure-size gives it more."
    )


def _write(figure: Figure, at: tuple[float, float], words: str, **how: Any) -> None:
    width, height = figure.get_size_inches() * 72
    figure.text(at[0] / width, at[1] / height, words, **how)


def _dot(figure: Figure, at: tuple[float, float], colour: str) -> None:
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches() * 72
    dot = Line2D(
        [at[0] / width], [at[1] / height], marker="o", ms=4.2, mew=0, color=colour, ls="", figure=figure
    )
    dot.set_transform(figure.transFigure)
    figure.add_artist(dot)
