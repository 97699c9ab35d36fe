"""Two pictures as SVG: the reliability curve, and the learning curve over label budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log10
from typing import Any

from embedkit.files.results import Metric, Result
from embedkit.scoring.metrics import title

WIDTH, HEIGHT = 560, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 70, 52
BLUE, ORANGE, GREY, INK = "#1f6fb4", "#c8650a", "#808080", "#222222"
COLOURS = (BLUE, ORANGE)
Place = Callable[[float], float]


@dataclass(frozen=True)
class Axes:
    """A frame with ticks, and where values go in it.

    Parameters
    ----------
    x, y
        Value to pixel.
    parts
        SVG of the frame.
    """

    x: Place
    y: Place
    parts: tuple[str, ...]


def reliability_svg(result: Result) -> str:
    """Draw accuracy against confidence, before and after temperature scaling; a dot's area is its rows'."""
    record = result.params["calibration"]
    ticks = [(v / 5, f"{v / 5:g}") for v in range(6)]
    axes = _axes(_title(result), ("confidence", "accuracy"), ticks, ticks)
    parts = [*axes.parts, _line([(axes.x(0), axes.y(0)), (axes.x(1), axes.y(1))], GREY, dashed=True)]
    names = ("expected_calibration_error", "expected_calibration_error_scaled")
    curves = (("bins", GREY, "as fitted", names[0]), ("bins_scaled", BLUE, "temperature scaled", names[1]))
    for row, (key, colour, words, name) in enumerate(curves):
        if key not in record:
            continue
        bins = [one for one in record[key] if one["n"]]
        points = [(axes.x(one["confidence"]), axes.y(one["accuracy"])) for one in bins]
        parts.append(_line(points, colour))
        for one, (x, y) in zip(bins, points, strict=True):
            radius = 2 + 10 * (one["n"] / result.n) ** 0.5
            words_of = f"{one['n']} rows: confidence {one['confidence']:.3f}, accuracy {one['accuracy']:.3f}"
            parts.append(_dot(x, y, radius, colour, words_of))
        value = result.metrics[name].value
        place = (WIDTH - RIGHT - 8, HEIGHT - BOTTOM - 30 + 18 * row)
        parts.append(_text(*place, f"{words}: ECE {value:.3f}", colour, anchor="end"))
    return _svg(parts)


def learning_curve_svg(results: Sequence[Result]) -> str:
    """Draw the first metric against the number of labels, each mean with its interval over draws."""
    name = next(name for name in ("accuracy", "rmse") if name in results[0].metrics)
    ordered = sorted(results, key=lambda result: int(result.params["budget"]["n_labels"]))
    metrics = [result.metrics[name] for result in ordered]
    labels = [int(result.params["budget"]["n_labels"]) for result in ordered]
    limits = [v for m in metrics for v in (m.value, m.low, m.high) if v is not None]
    top = 1.0 if name == "accuracy" else 1.1 * max(limits)
    y_ticks = [(top * v / 5, f"{top * v / 5:.3g}") for v in range(6)]
    # A budget with about as many labels as the one before gets no tick of its own.
    shown = [n for i, n in enumerate(labels) if i == 0 or n > 1.25 * labels[i - 1]]
    axes = _axes(
        _title(ordered[0]), ("labels", title(name)), [(log10(n), f"{n:,}") for n in shown], y_ticks, pad=0.15
    )
    points = [(axes.x(log10(n)), axes.y(m.value or 0)) for n, m in zip(labels, metrics, strict=True)]
    parts = [*axes.parts]
    chance = ordered[0].metrics.get("majority_accuracy") or ordered[0].metrics.get("mean_rmse")
    if chance is not None and chance.value is not None:
        y = axes.y(chance.value)
        parts += [_line([(LEFT, y), (WIDTH - RIGHT, y)], GREY, dashed=True)]
        parts += [_text(WIDTH - RIGHT - 8, y - 6, "without features", GREY, anchor="end")]
    of_all = [str(result.params["budget"]["asked"]).endswith("%") for result in ordered]
    # Numbers a class and percentages take other mixes of classes: two curves.
    for i, (share, words) in enumerate(((False, "a number a class"), (True, "a share of all"))):
        own = [point for point, is_share in zip(points, of_all, strict=True) if is_share == share]
        if own:
            parts.append(_line(own, COLOURS[share]))
            parts.append(_text(LEFT + 12, TOP + 14 + 18 * i, words, COLOURS[share]))
    for result, metric, (x, y), share in zip(ordered, metrics, points, of_all, strict=True):
        if metric.low is not None and metric.high is not None:
            parts.append(_line([(x, axes.y(metric.low)), (x, axes.y(metric.high))], COLOURS[share]))
        parts.append(_dot(x, y, 4, COLOURS[share], f"{result.params['budget']['asked']}: {_value(metric)}"))
    return _svg(parts)


def _axes(
    title: str,
    names: tuple[str, str],
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    *,
    pad: float = 0.0,
) -> Axes:
    x_low, x_high = x_ticks[0][0] - pad, max(x_ticks[-1][0] + pad, x_ticks[0][0] - pad + 1e-9)
    y_low, y_high = y_ticks[0][0], y_ticks[-1][0]
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(value: float) -> float:
        return LEFT + (value - x_low) / (x_high - x_low) * (right - LEFT)

    def y(value: float) -> float:
        return floor - (value - y_low) / (y_high - y_low) * (floor - TOP)

    parts = [_text(16, 20 + 16 * i, words, INK) for i, words in enumerate(title.split("\n"))]
    for value, words in x_ticks:
        parts.append(_line([(x(value), floor), (x(value), floor + 5)], INK))
        parts.append(_text(x(value), floor + 19, words, INK, anchor="middle"))
    for value, words in y_ticks:
        parts.append(_line([(LEFT - 5, y(value)), (LEFT, y(value))], INK))
        parts.append(_text(LEFT - 9, y(value) + 4, words, INK, anchor="end"))
    parts.append(_line([(LEFT, TOP), (LEFT, floor), (right, floor)], INK))
    parts.append(_text((LEFT + right) / 2, HEIGHT - 10, names[0], INK, anchor="middle"))
    parts.append(_text(LEFT - 9, TOP - 12, names[1], INK))
    return Axes(x, y, tuple(parts))


def _title(result: Result) -> str:
    return f"{result.method} probe on {result.dataset}, {result.n:,} test rows\n{result.features}"


def _value(metric: Metric) -> str:
    interval = "" if metric.low is None or metric.high is None else f" ({metric.low:.3f}-{metric.high:.3f})"
    return f"{metric.value:.3f}{interval}"


def _line(points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> str:
    place = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style: Mapping[str, Any] = {"stroke-dasharray": "5 4"} if dashed else {}
    more = "".join(f' {name}="{value}"' for name, value in style.items())
    return f'<polyline points="{place}" fill="none" stroke="{colour}" stroke-width="1.5"{more}/>'


def _dot(x: float, y: float, radius: float, colour: str, words: str) -> str:
    title = f"<title>{escape(words)}</title>"
    place = f'cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"'
    return f'<circle {place} fill="{colour}" fill-opacity="0.7">{title}</circle>'


def _text(x: float, y: float, words: str, colour: str, *, anchor: str = "start") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="12" fill="{colour}"'
    return f"<text {place}>{escape(words)}</text>"


def _svg(parts: Sequence[str]) -> str:
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif">'
    background = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return "\n".join([head, background, *parts, "</svg>"]) + "\n"
