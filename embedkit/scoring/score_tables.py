"""What the terminal shows of scores: metrics, then each class's or each target's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from embedkit.console import fitting, numbered, print_table
from embedkit.files.results import Metric, Result
from embedkit.scoring.applied import Applied
from embedkit.scoring.class_scores import Scores
from embedkit.scoring.metrics import title
from embedkit.scoring.spread import spread_over
from embedkit.scoring.target_scores import RegressionScores

# More columns than that don't fit on a screen; the result holds them all.
MAX_CONFUSION = 12
MAX_CLASSES = 40
# Of fewer rows with a label than that nobody reads twenty figures: those in `FIRST` are printed.
FEW_ROWS = 25
FIRST = (
    "accuracy",
    "accuracy_without_noise",
    "coverage",
    "null_accuracy",
    "majority_accuracy",
    "balanced_accuracy",
    "silhouette",
    "rmse",
    "mean_rmse",
)


def printed(metrics: Mapping[str, Metric], n: int) -> list[str]:
    """Return the names of the metrics that are printed of n rows with a label: of few rows, few."""
    first = [name for name in metrics if name in FIRST]
    return first if n < FEW_ROWS and first else list(metrics)


def print_left_out(metrics: Mapping[str, Metric], n: int) -> None:
    """Say how many figures of few rows are not printed, and where they are."""
    if left := len(metrics) - len(printed(metrics, n)):
        print(f"{n} rows have a label: {left} more figures, of so few rows, are in the result.")


def metrics_table(heading: str = "") -> Table:
    """Return an empty table of metrics; `add_metrics` fills it."""
    table = Table(
        title=Text(heading, style="bold") if heading else None, title_justify="left", show_edge=False
    )
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    table.add_column("")
    return table


def add_metrics(table: Table, metrics: Mapping[str, Metric]) -> None:
    """Add a row for each metric."""
    for name, metric in metrics.items():
        table.add_row(title(name), *cells(metric), Text(metric.note or ""))


def print_applied(applied: Applied) -> None:
    """Print how many rows were predicted as what, and the scores where there are any."""
    known = applied.known
    heading = f"{known.title} on {len(applied.ids):,} rows"
    table = Table(title=Text(heading, style="bold"), title_justify="left", show_edge=False)
    if known.regression:
        for name in ("target", "mean", "least", "most"):
            table.add_column(name, justify="left" if name == "target" else "right")
        for name, values in zip(known.names, applied.outputs.T, strict=True):
            table.add_row(Text(name), *(f"{v:.4f}" for v in (values.mean(), values.min(), values.max())))
    else:
        for name in ("class", "predicted rows", "median probability"):
            table.add_column(name, justify="left" if name == "class" else "right")
        predicted, confidence = applied.predicted, applied.outputs.max(axis=1)
        counts = {name: int((predicted == name).sum()) for name in known.names}
        # All classes where they are few; else the commonest of those that any row was predicted as.
        shown = list(known.names)
        if len(shown) > MAX_CONFUSION:
            most = sorted((name for name in shown if counts[name]), key=lambda name: -counts[name])
            shown = most[: min(MAX_CLASSES, max(MAX_CONFUSION, len(predicted) // 10))]
        for name in shown:
            mine = confidence[predicted == name]
            table.add_row(Text(name), f"{len(mine):,}", f"{np.median(mine):.3f}" if len(mine) else "-")
    print_table(table)
    if not known.regression and len(shown) < len(known.names):
        print(f"{len(shown)} of the {len(known.names)} classes; the predictions name those of every row.")
    if applied.scores is None:
        return
    print()
    table = metrics_table()
    add_metrics(table, applied.metrics)
    print_table(table)
    print()
    print_each(applied.scores)


def print_over_seeds(heading: str, results: Sequence[Result]) -> None:
    """Print each metric at every seed, and mean and standard deviation over them."""
    table = Table(title=Text(heading, style="bold"), title_justify="left", show_edge=False)
    for i, name in enumerate(("", "mean ± std", *(f"seed {result.seed}" for result in results))):
        table.add_column(name, justify="right" if i else "left")
    for name, over in spread_over([result.metrics for result in results]).items():
        if over.n == len(results):
            each = [cells(result.metrics[name])[0] for result in results]
            table.add_row(title(name), f"{over.mean:.3f} ± {over.std:.3f}", *each)
    print_table(table)


def print_each(scores: Scores | RegressionScores) -> None:
    """Print each class's figures and the confusion matrix, or each target's.

    Of fewer than `FEW_ROWS` rows the matrix alone, where it fits: intervals of a handful say nothing.
    """
    if isinstance(scores, RegressionScores):
        table = columns("target", "RMSE", "of the training mean")
        for target in scores.targets:
            table.add_row(Text(target.name), f"{target.rmse:.4f}", f"{target.mean_rmse:.4f}")
        print_table(table)
        return
    few = sum(c.n for c in scores.classes) < FEW_ROWS
    if few and len(scores.classes) > MAX_CONFUSION:
        print(f"Figures of each of the {len(scores.classes)} classes are in the result.")
    if not few:
        _print_classes(scores)
    names = [c.name for c in scores.classes]
    if len(names) <= MAX_CONFUSION:
        if not few:
            print()
        numbers, rows = numbered(names)
        named = _confusion(names, names, scores)
        print_table(fitting(named, _confusion(numbers, rows, scores)))


def _print_classes(scores: Scores) -> None:
    table = columns("class", "test rows", "precision", "recall", "F1", "ROC AUC")
    largest = sorted(scores.classes, key=lambda c: -c.n)[:MAX_CLASSES]
    for c in (c for c in scores.classes if len(scores.classes) <= MAX_CLASSES or c in largest):
        shown = [" ".join(cells(m)) for m in (c.precision, c.recall, c.f1, c.roc_auc)]
        table.add_row(Text(c.name), f"{c.n:,}", *shown)
    print_table(table)
    if len(scores.classes) > MAX_CLASSES:
        print(f"The {MAX_CLASSES} largest of {len(scores.classes)} classes; the result holds all.")


def _confusion(names: Sequence[str], rows: Sequence[str], scores: Scores) -> Table:
    table = columns("true \\ predicted", *names)
    for name, counts in zip(rows, scores.confusion, strict=True):
        table.add_row(Text(name), *(f"{count:,}" for count in counts))
    return table


def columns(*names: str) -> Table:
    """Return an empty table with these columns, all but the first to the right."""
    table = Table(show_edge=False)
    for i, name in enumerate(names):
        table.add_column(Text(name), justify="right" if i else "left")
    return table


def cells(metric: Metric) -> tuple[str, str]:
    """Return a metric's value and interval as text."""
    if metric.value is None or not np.isfinite(metric.value):
        return "-", ""
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f}", ""
    return f"{metric.value:.3f}", f"{metric.low:.3f} to {metric.high:.3f}"
