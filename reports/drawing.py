"""The pictures of the page: distributions, matrices, clouds of points, lines and dots with intervals."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.pages.sections import number
from embedkit.pages.svg import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    Frame,
    Point,
    Tick,
    bar,
    dot,
    figure,
    line,
    short,
    steps,
    text,
)
from embedkit.scoring.calibration import Bin
from embedkit.scoring.class_scores import wilson

F64 = NDArray[np.float64]
PANEL, PANEL_HEIGHT = 200, 110
CLOUD = 200
N_CELLS = 25
LEVELS = 6
N_CONFIDENCES = 20
SURE = "probability of the predicted class"
CHART, CHART_HEIGHT = 460, 280


@dataclass(frozen=True)
class Line:
    """Points joined in a chart, and what they are called; dashed for what is not the point of it."""

    name: str
    colour: str
    points: Sequence[Point]
    dashed: bool = False
    dots: bool = True


def ends(limits: tuple[float, float]) -> list[Tick]:
    """Return ticks at both ends and in the middle."""
    low, high = limits
    return [(value, short(value)) for value in (low, (low + high) / 2, high)]


def distribution(
    sides: Sequence[tuple[str, F64]], limits: tuple[float, float], *, words: str, n_bins: int = 20
) -> str:
    """Draw how values are distributed: the first side as bars, a second as a line; heights are roots."""
    frame = Frame((8, 6, PANEL - 8, PANEL_HEIGHT - 22), limits, (0, 1))
    edges = np.linspace(
        *(limits if limits[1] > limits[0] else (limits[0] - 0.5, limits[0] + 0.5)), n_bins + 1
    )
    shares = [
        np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0] / max(len(values), 1)
        for _, values in sides
    ]
    top = float(np.sqrt(max(float(one.max()) for one in shares)))
    parts = frame.axes(ends(limits), [])
    place = Frame(frame.box, (0, n_bins), (0, top))
    _, _, _, bottom = frame.box
    for i, share in enumerate(shares[0]):
        if share > 0:
            label = f"{short(edges[i])} to {short(edges[i + 1])}: {100 * share:.3g} %"
            box = (place.x(i) + 0.5, place.y(float(np.sqrt(share))), place.x(i + 1) - 0.5, bottom)
            parts.append(bar(box, BLUE, label, opacity=0.75))
    for one in shares[1:]:
        heights = np.repeat(np.sqrt(one), 2)
        across = np.repeat(np.arange(n_bins + 1), 2)[1:-1]
        parts.append(line(place.points(zip(across.tolist(), heights.tolist(), strict=True)), ORANGE))
    return figure(PANEL, PANEL_HEIGHT, parts, words=words, font_size=11)


def matrix(values: F64, labels: Sequence[str], titles: Sequence[str], *, words: str) -> str:
    """Draw correlations as cells: blue above 0, orange below, the stronger the fuller; none where NaN."""
    t, cell = len(values), max(11, min(30, 360 // max(len(values), 1)))
    left = 12 + round(6.2 * max(map(len, labels)))
    size = left + t * cell + 4
    parts: list[str] = []
    for i, label in enumerate(labels):
        middle = left + (i + 0.5) * cell
        parts.append(text(left - 4, middle + 3.5, label, anchor="end"))
        parts.append(
            f'<g transform="translate({middle + 3.5:.1f} {left - 4}) rotate(-90)">{text(0, 0, label)}</g>'
        )
        for j in range(t):
            value = float(values[i, j])
            if np.isnan(value) or abs(value) < 0.005:
                continue
            said = f"{titles[i]}, {titles[j]}: {value:.2f}"
            box = (left + j * cell, left + i * cell, left + (j + 1) * cell - 1, left + (i + 1) * cell - 1)
            parts.append(bar(box, BLUE if value > 0 else ORANGE, said, opacity=min(abs(value), 1)))
    parts.append(bar((left - 0.5, left - 0.5, left + t * cell, left + t * cell), GREY, outline=True))
    return figure(size, size, parts, words=words, font_size=10)


def cloud(true: F64, predicted: F64, limits: tuple[float, float], *, words: str) -> str:
    """Draw where pairs lie: cells, the fuller the more pairs, by the logarithm; dashed where they agree.

    The true value goes up, so that the mean of a column stands over what was predicted.
    """
    # A square, and beside it room for the numbers.
    longest = max(len(words) for _, words in ends(limits))
    left, right = max(30.0, 9 + 6.3 * longest), CLOUD - max(8.0, 3.2 * longest)
    frame = Frame((left, 6, right, 6 + right - left), limits, limits)
    low, high = limits
    edges = np.linspace(low, high if high > low else low + 1, N_CELLS + 1)
    counts = np.histogram2d(np.clip(predicted, low, high), np.clip(true, low, high), (edges, edges))[0]
    parts = frame.axes(ends(limits), ends(limits))
    strength = np.ceil(LEVELS * np.log1p(counts) / np.log1p(max(float(counts.max()), 1))).astype(int)
    bottom = frame.box[3]
    side = (right - left) / N_CELLS
    for level in range(1, LEVELS + 1):
        path = "".join(
            f"M{left + i * side:.1f} {bottom - (j + 1) * side:.1f}h{side:.1f}v{side:.1f}h-{side:.1f}z"
            for i, j in np.argwhere(strength == level).tolist()
        )
        if path:
            parts.append(f'<path d="{path}" fill="{BLUE}" fill-opacity="{level / LEVELS:.2f}"/>')
    parts.append(line([(frame.x(low), frame.y(low)), (frame.x(high), frame.y(high))], GREY, dashed=True))
    return figure(CLOUD, bottom + 24, parts, words=words, font_size=11)


def chart(
    lines: Sequence[Line],
    *,
    x: tuple[str, float, float],
    y: tuple[str, float, float],
    words: str,
    levels: Sequence[tuple[str, float]] = (),
) -> str:
    """Draw lines in one frame; `x` and `y` are words, smallest and largest value; `levels` go across."""
    frame = Frame((54, 24, CHART - 14, CHART_HEIGHT - 42), x[1:], y[1:])
    parts = frame.axes(steps(*x[1:]), steps(*y[1:]))
    parts += [text(8, 13, y[0]), text(CHART - 14, CHART_HEIGHT - 6, x[0], anchor="end")]
    for name, value in levels:
        parts += [frame.across(value), text(CHART - 16, frame.y(value) - 4, name, anchor="end", colour=GREY)]
    for one in lines:
        places = frame.points(one.points)
        parts.append(line(places, one.colour, dashed=one.dashed))
        if one.dots:
            for place, (across, up) in zip(places, one.points, strict=True):
                parts.append(dot(place, one.colour, f"{one.name}: {short(across)}, {short(up)}", radius=2.6))
    return figure(CHART, CHART_HEIGHT, parts, words=words, font_size=12)


def dots(
    rows: Sequence[tuple[str, float, float, float]],
    *,
    levels: Sequence[tuple[str, float]],
    x: str,
    words: str,
    ranks: Sequence[str] = (),
    faded: Collection[int] = (),
) -> str:
    """Draw a row for each name, value, low and high; `levels` are dashed lines from top to bottom.

    Parameters
    ----------
    ranks
        What stands before each name; both then stand above their row, so that long names have room.
    faded
        Which rows are grey.
    """
    most, each, top = (64, 40, 62) if ranks else (26, 26, 44)
    left = 12 if ranks else 16 + round(6.6 * min(max(len(name) for name, *_ in rows), most))
    height = top + each * len(rows) + 22
    values = [value for row in rows for value in row[1:]] + [value for _, value in levels]
    low, high = min(values), max(values)
    pad = (high - low or abs(high) or 1) * 0.08
    frame = Frame(
        (left, 28, CHART - 20, height - 38),
        (max(low - pad, 0) if low >= 0 else low - pad, high + pad),
        (0, 1),
    )
    parts = frame.axes(steps(*frame.x_values, n=4), [])
    parts.append(text(CHART - 20, height - 4, x, anchor="end"))
    for i, (name, value) in enumerate(levels):
        at = frame.x(value)
        anchor = "end" if at > CHART * 0.7 else "start"
        # Beside the rows alone, where names stand between them.
        marks = (
            [(top + each * j - 8, top + each * j + 8) for j in range(len(rows))]
            if ranks
            else [frame.box[1::2]]
        )
        parts += [line([(at, start), (at, end)], GREY, dashed=not ranks) for start, end in marks]
        parts.append(text(at, 12 + 12 * (i % 2), name, anchor=anchor, colour=GREY))
    for i, (name, value, below, above) in enumerate(rows):
        y = top + each * i
        colour = GREY if i in faded else BLUE
        label = name if len(name) <= most else f"{name[: most - 1]}…"
        if ranks:
            parts.append(text(left + 8, y - 11, f"{ranks[i]}  {label}".strip(), colour=INK))
        else:
            parts.append(text(left - 8, y + 4, label, anchor="end", colour=INK))
        parts.append(line([(frame.x(below), y), (frame.x(above), y)], colour, width=2))
        parts.append(dot((frame.x(value), y), colour, f"{name}: {short(value)}", radius=4))
    return figure(CHART, height, parts, words=words, font_size=12)


def histograms(right: F64, wrong: F64) -> str:
    """Draw how sure right and wrong predictions are, each side by its own number, with its median."""
    frame = Frame((54, 30, CHART - 14, CHART_HEIGHT - 42), (0, 1), (0, 1))
    edges = np.linspace(0, 1, N_CONFIDENCES + 1)
    sides = [(right, BLUE, "right"), (wrong, ORANGE, "wrong")]
    shares = [np.histogram(values, edges)[0] / max(len(values), 1) for values, *_ in sides]
    top = max(float(np.max(shares)), 1e-9)
    place = Frame(frame.box, (0, 1), (0, top))
    ticks = [(value, f"{100 * value + 0.0:.3g} %") for value, _ in steps(0, top, 4)]
    parts = place.axes(steps(0, 1), ticks)
    bottom = frame.box[3]
    for share, (values, colour, name) in zip(shares, sides, strict=True):
        if not len(values):
            continue
        for j in np.flatnonzero(share).tolist():
            words = f"{name}, {edges[j]:.2f} to {edges[j + 1]:.2f}: {100 * share[j]:.1f} %"
            box = (place.x(edges[j]) + 0.5, place.y(share[j]), place.x(edges[j + 1]) - 0.5, bottom)
            parts.append(bar(box, colour, words, opacity=0.5))
    for i, (values, colour, name) in enumerate(sides):
        if len(values):
            median = float(np.median(values))
            x = place.x(median)
            parts.append(line([(x, frame.box[1]), (x, bottom)], colour, dashed=True))
            anchor = "end" if median > 0.5 else "start"
            words = f"median of {name} ones {number(median, 2)}"
            parts.append(text(x + (-5 if median > 0.5 else 5), 12 + 13 * i, words, anchor=anchor))
    parts.append(text(CHART - 14, CHART_HEIGHT - 6, SURE, anchor="end"))
    return figure(
        CHART, CHART_HEIGHT, parts, words="Confidence of right and of wrong predictions", font_size=12
    )


def reliability_dots(curves: Sequence[tuple[str, str, Sequence[Bin]]], *, words: str, n: int) -> str:
    """Draw how often predictions are right against how sure they are; dashed where the two agree.

    Parameters
    ----------
    curves
        Name, colour and bins; the last with 95 % intervals (Wilson) of how often it is right.
    n
        Rows: the area of a dot is its share of them.
    """
    frame = Frame((54, 24, CHART - 14, CHART_HEIGHT - 42), (0, 1), (0, 1))
    parts = frame.axes(steps(0, 1), steps(0, 1))
    parts += [text(8, 13, "share that is right"), text(CHART - 14, CHART_HEIGHT - 6, SURE, anchor="end")]
    parts.append(line(frame.points([(0, 0), (1, 1)]), GREY, dashed=True))
    for row, (name, colour, bins) in enumerate(curves):
        known = [(one.confidence, one.accuracy, one.n) for one in bins if one.n]
        places = [frame.points([(p or 0, right or 0)])[0] for p, right, _ in known]
        for (p, right, m), place in zip(known, places, strict=True):
            whole = wilson(right or 0, m)
            if row == len(curves) - 1 and whole.low is not None and whole.high is not None:
                parts.append(
                    line([(place[0], frame.y(whole.low)), (place[0], frame.y(whole.high))], colour, width=1)
                )
            said = f"{name}, {m:,} predictions: sure {p:.3f}, right {right:.3f}"
            parts.append(dot(place, colour, said, radius=2 + 10 * (m / n) ** 0.5))
        parts.append(text(frame.box[0] + 10, 40 + 15 * row, name, colour=colour))
    return figure(CHART, CHART_HEIGHT, parts, words=words, font_size=12)


def key(names: Sequence[tuple[str, str]]) -> str:
    """Return what the colours of a picture stand for."""
    from html import escape

    inks = {BLUE: "var(--accent)", ORANGE: "var(--second)"}
    items = "".join(
        f'<span><i style="background:{inks.get(colour, colour)}"></i>{escape(name)}</span>'
        for name, colour in names
    )
    return f'<p class="key">{items}</p>'
