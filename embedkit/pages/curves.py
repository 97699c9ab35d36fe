"""The log as an SVG picture: a small panel for the loss and for every monitor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import isfinite, nan

from embedkit.pages.svg import BLUE, ORANGE, Frame, dot, figure, line, picture, shifted, text

WIDTH, HEIGHT, COLUMNS = 300, 170, 3
BOX = (62.0, 30.0, 288.0, 142.0)
VALIDATION = "validation_loss"
# Columns that count, and measure nothing.
NO_MEASURE = ("epoch", "seconds", "images", "fold", "phase")
# What each column of the log says; without "teacher" of the features of held-out images.
WORDS = {
    "loss": "What the training lowers. It compares runs of one objective and batch only.",
    "validation_accuracy": "Share of validation images that the network is right about.",
    "validation_rmse": "Root mean squared error of the answers for validation images.",
    "feature_std": "How much the features of different images differ: near 0 all are alike (a collapse).",
    "rankme": "How many dimensions the features use (RankMe). Half of it lost is a warning.",
    "view_invariance": "How much more alike two views of one image are than two images. Higher is better.",
    "knn_agreement": "Share of images whose nearest among other views is a view of themselves.",
    "criterion": "RankMe times view invariance. The epoch with the highest is kept.",
    "knn_accuracy": "Share of held-out images whose 20 nearest have their class. It decides nothing.",
    "teacher_entropy": "Of the teacher's answers, 1 at most: at 1 they say nothing, at 0 they are sure.",
    "kl_to_uniform": "How unevenly the teacher uses its prototypes: at 1 all images get the same.",
}


def draw_curves(log: Sequence[Mapping[str, float]], *, kept: int | None = None) -> str:
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


def figures(log: Sequence[Mapping[str, float]], *, kept: int | None) -> dict[str, str]:
    """Draw each column of the log as a figure of its own, for a page; by its name, the loss first."""
    return {
        name: figure(WIDTH, HEIGHT, panel, words=f"{name.replace('_', ' ')} against epochs", font_size=11)
        for name, panel in _panels(log, kept).items()
    }


def cards(log: Sequence[Mapping[str, float]], *, kept: int | None) -> str:
    """Return a grid of all figures, each with what it says."""
    found = [
        f'<div class="panel"><p class="hint">{escape(WORDS.get(name, ""))}</p>{drawn}</div>'
        for name, drawn in figures(log, kept=kept).items()
    ]
    return f'<div class="grid charts">{"".join(found)}</div>'


def _panels(log: Sequence[Mapping[str, float]], kept: int | None) -> dict[str, list[str]]:
    names = [n for n in dict.fromkeys(k for row in log for k in row) if n not in NO_MEASURE]
    names.sort(key=lambda name: name != "loss")
    epochs = max(1.0, *(row["epoch"] for row in log))
    found = {
        name: [(row["epoch"], row[name]) for row in log if isfinite(row.get(name, nan))] for name in names
    }
    shown = {name: points for name, points in found.items() if points}
    # Of one loss on two sets of images it is the gap that says something.
    beside = shown.pop(VALIDATION, None) if "loss" in shown else None
    return {
        name: _panel(name, points, epochs, kept, beside if name == "loss" else None)
        for name, points in shown.items()
    }


def _panel(
    name: str,
    points: Sequence[tuple[float, float]],
    epochs: float,
    kept: int | None,
    beside: Sequence[tuple[float, float]] | None,
) -> list[str]:
    values = [value for _, value in (*points, *(beside or ()))]
    low, high = min(values), max(values)
    frame = Frame(BOX, (0.0, epochs), (low, high))
    parts = [text(BOX[0], 18, name.replace("_", " "), bold=True)]
    if beside:
        parts.append(text(BOX[2], 18, "validation loss", colour=ORANGE, anchor="end"))
    parts += frame.axes(
        [(0.0, "0"), (epochs / 2, "epoch"), (epochs, f"{epochs:g}")],
        [(value, f"{value:.3g}") for value in sorted({low, (low + high) / 2, high})],
    )
    if kept is not None:
        parts.append(frame.upright(kept))
    for some, colour, called in ((points, BLUE, ""), (beside or (), ORANGE, "validation, ")):
        places = frame.points(some)
        words = [f"{called}epoch {epoch:g}: {value:.6g}" for epoch, value in some]
        parts += [line(places, colour)] if places else []
        parts += [dot(place, colour, one, radius=2.5) for place, one in zip(places, words, strict=True)]
    return parts
