"""The log as an SVG picture: a small panel for the loss and for every monitor."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan

from embedkit.pages.svg import BLUE, Frame, dot, figure, line, picture, shifted, text

WIDTH, HEIGHT, COLUMNS = 300, 170, 3
BOX = (62.0, 30.0, 288.0, 142.0)


def draw_curves(log: Sequence[dict[str, float]], *, kept: int | None = None) -> str:
    """Draw each column of the log against its epoch; a dashed line stands at the epoch that is kept.

    Returns
    -------
    str
        A self-contained SVG document. A point tells its epoch and value to the mouse; what
        is not finite has none.
    """
    panels = [
        shifted(panel, WIDTH * (i % COLUMNS), HEIGHT * (i // COLUMNS))
        for i, panel in enumerate(_panels(log, kept).values())
    ]
    return picture(WIDTH * COLUMNS, HEIGHT * -(-len(panels) // COLUMNS), panels, font_size=11)


def figures(log: Sequence[dict[str, float]], *, kept: int) -> dict[str, str]:
    """Draw each column of the log as a figure of its own, for a page; by its name, the loss first."""
    return {
        name: figure(WIDTH, HEIGHT, panel, words=f"{name.replace('_', ' ')} against epochs", font_size=11)
        for name, panel in _panels(log, kept).items()
    }


def _panels(log: Sequence[dict[str, float]], kept: int | None) -> dict[str, list[str]]:
    names = [n for n in dict.fromkeys(k for row in log for k in row) if n not in ("epoch", "seconds")]
    names.sort(key=lambda name: name != "loss")
    epochs = max(1.0, *(row["epoch"] for row in log))
    found = {
        name: [(row["epoch"], row[name]) for row in log if isfinite(row.get(name, nan))] for name in names
    }
    shown = [(name, points) for name, points in found.items() if points]
    return {name: _panel(name, points, epochs, kept) for name, points in shown}


def _panel(name: str, points: Sequence[tuple[float, float]], epochs: float, kept: int | None) -> list[str]:
    low, high = min(value for _, value in points), max(value for _, value in points)
    frame = Frame(BOX, (0.0, epochs), (low, high))
    parts = [text(BOX[0], 18, name.replace("_", " "), bold=True)]
    parts += frame.axes(
        [(0.0, "0"), (epochs / 2, "epoch"), (epochs, f"{epochs:g}")],
        [(value, f"{value:.3g}") for value in sorted({low, (low + high) / 2, high})],
    )
    if kept is not None:
        parts.append(frame.upright(kept))
    places = frame.points(points)
    parts.append(line(places, BLUE))
    words = [f"epoch {epoch:g}: {value:.6g}" for epoch, value in points]
    return parts + [dot(place, BLUE, one, radius=2.5) for place, one in zip(places, words, strict=True)]
