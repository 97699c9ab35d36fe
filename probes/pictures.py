"""Two pictures as SVG: the reliability curve, and the learning curve over label budgets."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

from embedkit.files.results import Metric, Result
from embedkit.pages.svg import BLUE, GREY, ORANGE, Frame, dot, line, picture, text
from embedkit.scoring.metrics import title

WIDTH, HEIGHT = 560, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 70, 52
COLOURS = (BLUE, ORANGE)


def reliability_svg(result: Result) -> str:
    """Draw accuracy against confidence, before and after temperature scaling; a dot's area is its rows'."""
    record = result.outcomes["calibration"]
    ticks = [(v / 5, f"{v / 5:g}") for v in range(6)]
    frame = _frame((0, 1), (0, 1))
    parts = _headed(_title(result), ("confidence", "accuracy")) + frame.axes(ticks, ticks)
    parts.append(line(frame.points([(0, 0), (1, 1)]), GREY, dashed=True))
    names = ("expected_calibration_error", "expected_calibration_error_scaled")
    curves = (("bins", GREY, "as fitted", names[0]), ("bins_scaled", BLUE, "temperature scaled", names[1]))
    for row, (key, colour, words, name) in enumerate(curves):
        if key not in record:
            continue
        bins = [one for one in record[key] if one["n"]]
        points = frame.points((one["confidence"], one["accuracy"]) for one in bins)
        parts.append(line(points, colour))
        for one, place in zip(bins, points, strict=True):
            radius = 2 + 10 * (one["n"] / result.n) ** 0.5
            words_of = f"{one['n']} rows: confidence {one['confidence']:.3f}, accuracy {one['accuracy']:.3f}"
            parts.append(dot(place, colour, words_of, radius=radius))
        value = result.metrics[name].value
        words = f"{words}: ECE {value:.3f}"
        parts.append(text(LEFT + 12, TOP + 14 + 18 * row, words, colour=colour))
    return picture(WIDTH, HEIGHT, parts)


def learning_curve_svg(results: Sequence[Result]) -> str:
    """Draw the first metric against the number of labels, each mean with its interval over draws."""
    name = next(name for name in ("accuracy", "rmse") if name in results[0].metrics)
    ordered = sorted(results, key=lambda result: int(result.outcomes["n_labels"]))
    metrics = [result.metrics[name] for result in ordered]
    labels = [int(result.outcomes["n_labels"]) for result in ordered]
    limits = [v for m in metrics for v in (m.value, m.low, m.high) if v is not None]
    top = 1.0 if name == "accuracy" else 1.1 * max(limits)
    y_ticks = [(top * v / 5, f"{top * v / 5:.3g}") for v in range(6)]
    # A budget with about as many labels as the one before gets no tick of its own.
    shown = [n for i, n in enumerate(labels) if i == 0 or n > 1.25 * labels[i - 1]]
    x_ticks = [(log10(n), f"{n:,}") for n in shown]
    frame = _frame((x_ticks[0][0] - 0.15, x_ticks[-1][0] + 0.15), (0, top))
    parts = _headed(_title(ordered[0]), ("labels", title(name))) + frame.axes(x_ticks, y_ticks)
    points = frame.points((log10(n), m.value or 0) for n, m in zip(labels, metrics, strict=True))
    chance = ordered[0].metrics.get("majority_accuracy") or ordered[0].metrics.get("mean_rmse")
    if chance is not None and chance.value is not None:
        parts.append(frame.across(chance.value))
        at = (WIDTH - RIGHT - 8, frame.y(chance.value) - 6)
        parts.append(text(*at, "without features", colour=GREY, anchor="end"))
    of_all = [str(result.params["budget"]).endswith("%") for result in ordered]
    # Numbers a class and percentages take other mixes of classes: two curves.
    for i, (share, words) in enumerate(((False, "a number a class"), (True, "a share of all"))):
        own = [point for point, is_share in zip(points, of_all, strict=True) if is_share == share]
        if own:
            parts.append(line(own, COLOURS[share]))
            parts.append(text(LEFT + 12, TOP + 14 + 18 * i, words, colour=COLOURS[share]))
    for result, metric, place, share in zip(ordered, metrics, points, of_all, strict=True):
        if metric.low is not None and metric.high is not None:
            spread = [(place[0], frame.y(end)) for end in (metric.low, metric.high)]
            parts.append(line(spread, COLOURS[share]))
        words = f"{result.params['budget']}: {_value(metric)}"
        parts.append(dot(place, COLOURS[share], words, radius=4))
    return picture(WIDTH, HEIGHT, parts)


def _frame(x_values: tuple[float, float], y_values: tuple[float, float]) -> Frame:
    return Frame((LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM), x_values, y_values)


def _headed(heading: str, names: tuple[str, str]) -> list[str]:
    """Write the heading, and what the axes are."""
    lines = heading.split("\n")
    parts = [text(16, 20 + 16 * i, words, bold=i == 0) for i, words in enumerate(lines)]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, names[0], anchor="middle"))
    return [*parts, text(LEFT - 9, TOP - 12, names[1])]


def _title(result: Result) -> str:
    return f"{result.method} probe on {result.dataset}, {result.n:,} test rows\n{result.features}"


def _value(metric: Metric) -> str:
    interval = (
        "" if metric.low is None or metric.high is None else f" ({metric.low:.3f} to {metric.high:.3f})"
    )
    return f"{metric.value:.3f}{interval}"
