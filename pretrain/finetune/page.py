"""One page for a training with labels: what it reached, how it went, what it saw, how it was made."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

from embedkit.files.results import Metric, Result
from embedkit.pages import sections
from embedkit.pages.sections import Part, interval, number, table
from embedkit.pages.svg import BLUE, ORANGE, Frame, dot, figure, line, steps, text
from embedkit.scoring.class_scores import Scores
from embedkit.scoring.metrics import title
from pretrain.finetune.report import FinetuneReport, Log

WIDTH, HEIGHT = 620, 300
BOX = (64.0, 34.0, 604.0, 254.0)
MOST_CLASSES = 40


def draw_page(
    reports: Sequence[FinetuneReport],
    *,
    sentence: str,
    sheet: bytes,
    recipe: str,
    called: str,
    commands: Sequence[str],
) -> str:
    """Return a self-contained HTML page.

    Parameters
    ----------
    reports
        One a seed.
    sentence
        What training bought over the frozen probe; empty without one.
    sheet
        PNG of training images as the network saw them.
    recipe
        TOML as it was read.
    called
        The command that made the page; what it says goes before the recipe.
    commands
        What to do with the network.
    """
    first = reports[0].result
    log = reports[0].networks[0].log
    parts = [
        (
            "scores",
            "Scores",
            "On test images, which neither training nor stopping looked at.",
            _scores(reports),
        ),
        ("losses", "Losses", _said_of(log, first), _curves(log)),
        *_critical(first),
        ("classes", "Each class" if _of_classes(reports[0]) else "Each answer", "", _each(reports[0])),
        (
            "images",
            "What it saw",
            "A row an image: the image itself, then five random views.",
            _picture(sheet),
        ),
        ("use", "Use it", "The network is safetensors and JSON.", _code("\n".join(commands))),
        (
            "recipe",
            "The recipe",
            "Made by this command, and the recipe as it was read. Where the two differ, the command holds.",
            _code(called) + _code(recipe),
        ),
    ]
    size = f"{first.outcomes['n_trainable']:,} of {first.outcomes['n_parameters']:,} parameters train"
    seeds = f", {len(reports)} seeds" if len(reports) > 1 else ""
    return sections.fill(
        f"{first.method} on {first.dataset}",
        f"{first.features}, {first.split}{seeds}; {size}; {first.seconds:,.0f} s",
        [Part(name, heading, heading, escape(says), body) for name, heading, says, body in parts],
        [sentence] if sentence else [],
    )


def _of_classes(report: FinetuneReport) -> bool:
    return isinstance(report.scores, Scores)


def _scores(reports: Sequence[FinetuneReport]) -> str:
    results = [report.result for report in reports]
    header = ["", *(f"seed {result.seed}" for result in results)]
    rows = [
        [title(name), *(_value(result.metrics.get(name)) for result in results)]
        for name in results[0].metrics
    ]
    return table(header, rows)


def _each(report: FinetuneReport) -> str:
    scores: Any = report.scores
    if not isinstance(scores, Scores):
        rows = [[one.name, f"{one.rmse:.4f}", f"{one.mean_rmse:.4f}"] for one in scores.targets]
        return table(["answer", "RMSE", "RMSE of the training mean"], rows)
    each = [
        [one.name, f"{one.n:,}", *(_value(m) for m in (one.precision, one.recall, one.f1, one.roc_auc))]
        for one in scores.classes[:MOST_CLASSES]
    ]
    tables = table(["class", "test images", "precision", "recall", "F1", "ROC AUC"], each)
    names = [one.name for one in scores.classes]
    if len(names) <= MOST_CLASSES:
        says = "True class down, prediction across; shaded by the share of the row."
        tables += f'<h3>Which is taken for which</h3><p class="says">{says}</p>' + sections.matrix(
            names, names, scores.confusion.tolist()
        )
    return tables


def _critical(result: Result) -> list[tuple[str, str, str, str]]:
    """Return the section on the critical batch size, where it was measured."""
    found = result.outcomes.get("critical_batch")
    if found is None:
        return []
    header = ["images a batch", "rates times", "images to the loss", "steps"]
    rows = [
        [f"{one['size']:,}", f"{one['factor']:.3g}", f"{one['images']:,.0f}", f"{one['steps']:,.1f}"]
        for one in found["each"]
    ]
    numbers = [
        ("critical batch size, measured", found["critical_batch"]),
        ("gradient noise scale, its prediction", found["noise_scale"]),
        ("least images, of the fit", found["e_min"]),
        ("least steps, of the fit", found["s_min"]),
        ("validation loss that all sizes came to", found["target_loss"]),
    ]
    said = [[name, "–" if value is None else f"{value:,.4g}"] for name, value in numbers]
    says = "Short branches from the same weights, at each size with the best of its rates."
    return [("critical", "Critical batch size", says, table(["", ""], said) + table(header, rows))]


def _said_of(log: Log, result: Result) -> str:
    kept = ", ".join("+".join(map(str, one)) for one in result.outcomes["kept"])
    return (
        f"Against images seen, {log[-1]['images']:,.0f} in all, of the first network. The epochs that each "
        f"network kept, its phases joined by +: {kept}."
    )


def _curves(log: Log) -> str:
    """Draw training and validation loss against images seen."""
    lines = [
        ("training", BLUE, [(row["images"], row["loss"]) for row in log if "loss" in row]),
        ("validation", ORANGE, [(row["images"], row["validation_loss"]) for row in log]),
    ]
    values = [value for _, _, points in lines for _, value in points]
    most = max(row["images"] for row in log) or 1.0
    low, high = min(values), max(values)
    frame = Frame(BOX, (0.0, most), (low, high if high > low else low + 1.0))
    parts = frame.axes(steps(0.0, most), steps(*frame.y_values))
    for i, (name, colour, points) in enumerate(lines):
        places = frame.points(points)
        parts.append(line(places, colour))
        parts += [
            dot(place, colour, f"{name} loss {value:.4g} after {images:,.0f} images", radius=2.5)
            for place, (images, value) in zip(places, points, strict=True)
        ]
        parts.append(text(BOX[0] + 8 + 110 * i, 20, f"{name} loss", colour=colour))
    parts.append(text((BOX[0] + BOX[2]) / 2, HEIGHT - 8, "images seen", anchor="middle"))
    drawn = figure(WIDTH, HEIGHT, parts, words="training and validation loss against images seen")
    return f'<div class="at-least">{drawn}</div>'


def _value(metric: Metric | None) -> str:
    return number(None) if metric is None else interval(metric.value, metric.low, metric.high)


def _picture(png: bytes) -> str:
    data = base64.b64encode(png).decode()
    words = "training images and their views"
    return f'<img style="max-width:100%;height:auto" alt="{words}" src="data:image/png;base64,{data}">'


def _code(words: str) -> str:
    return f'<pre class="scroll">{escape(words)}</pre>'
