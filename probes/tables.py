"""What `embedkit probe` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from embedkit.console import fitting, numbered, print_table
from embedkit.files.results import Metric, Result
from embedkit.scoring.class_scores import Scores
from embedkit.scoring.metrics import title
from embedkit.scoring.target_scores import RegressionScores
from probes.report import ProbeReport, spread

if TYPE_CHECKING:
    from probes.apply import Applied

# More columns than that don't fit on a screen; the result holds them all.
MAX_CONFUSION = 12
MAX_CLASSES = 40
BUDGET_METRICS = ("accuracy", "balanced_accuracy", "roc_auc", "rmse")


def print_report(report: ProbeReport) -> None:
    """Print the metrics, then each class's or each target's."""
    result = report.result
    heading = f"{result.method} probe of {result.features} on {result.dataset}"
    counts = result.outcomes["division"][0]
    rows = (
        f"{counts['train']:,} train, {counts['validation']:,} validation, {counts['test']:,} test"
        if len(report.splits) == 1
        else f"{len(report.splits)} folds, {result.n:,} rows tested once each"
    )
    table = Table(title=Text(heading, style="bold"), title_justify="left", show_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    table.add_column("")
    table.add_row("split", "", "", Text(f"{result.split}, seed {result.seed}: {rows}"))
    grid = len(result.params["choice"]["grid"])
    how = f"best {result.params['choice']['by']} of {grid}" if grid > 1 else "given"
    for setting in report.fits[0].model.chosen_:
        values = [fit.model.chosen_[setting] for fit in report.fits]
        shown = ", ".join(f"{value:g}" if isinstance(value, (int, float)) else str(value) for value in values)
        table.add_row(setting.upper() if setting == "c" else setting, Text(shown), "", Text(how))
    for name, metric in result.metrics.items():
        table.add_row(title(name), *_cells(metric), Text(metric.note or ""))
    print_table(table)
    print()
    _print_each(report.scores)


def print_applied(applied: Applied) -> None:
    """Print how many rows were predicted as what, and the scores where there are any."""
    saved = applied.saved
    heading = f"{saved.kind} probe of {saved.fitted_on['dataset']} on {len(applied.ids):,} rows"
    table = Table(title=Text(heading, style="bold"), title_justify="left", show_edge=False)
    if saved.regression:
        for name in ("target", "mean", "least", "most"):
            table.add_column(name, justify="left" if name == "target" else "right")
        for name, values in zip(saved.names, applied.outputs.T, strict=True):
            table.add_row(Text(name), *(f"{v:.4f}" for v in (values.mean(), values.min(), values.max())))
    else:
        for name in ("class", "predicted rows", "median probability"):
            table.add_column(name, justify="left" if name == "class" else "right")
        predicted, confidence = applied.predicted, applied.outputs.max(axis=1)
        for name in saved.names:
            mine = confidence[predicted == name]
            table.add_row(Text(name), f"{len(mine):,}", f"{np.median(mine):.3f}" if len(mine) else "-")
    print_table(table)
    if applied.scores is None:
        return
    print()
    table = Table(show_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    table.add_column("")
    for name, metric in applied.metrics.items():
        table.add_row(title(name), *_cells(metric), Text(metric.note or ""))
    print_table(table)
    print()
    _print_each(applied.scores)


def _print_each(scores: Scores | RegressionScores) -> None:
    """Print each class's figures and the confusion matrix, or each target's."""
    if isinstance(scores, RegressionScores):
        table = _columns("target", "RMSE", "of the training mean")
        for target in scores.targets:
            table.add_row(Text(target.name), f"{target.rmse:.4f}", f"{target.mean_rmse:.4f}")
        print_table(table)
        return
    table = _columns("class", "test rows", "precision", "recall", "F1", "ROC AUC")
    largest = sorted(scores.classes, key=lambda c: -c.n)[:MAX_CLASSES]
    for c in (c for c in scores.classes if len(scores.classes) <= MAX_CLASSES or c in largest):
        cells = [" ".join(_cells(m)) for m in (c.precision, c.recall, c.f1, c.roc_auc)]
        table.add_row(Text(c.name), f"{c.n:,}", *cells)
    print_table(table)
    if len(scores.classes) > MAX_CLASSES:
        print(f"The {MAX_CLASSES} largest of {len(scores.classes)} classes; the result holds all.")
    names = [c.name for c in scores.classes]
    if len(names) <= MAX_CONFUSION:
        print()
        numbers, rows = numbered(names)
        named = _confusion_table(names, names, scores)
        print_table(fitting(named, _confusion_table(numbers, rows, scores)))


def _confusion_table(columns: Sequence[str], rows: Sequence[str], scores: Scores) -> Table:
    table = _columns("true \\ predicted", *columns)
    for name, counts in zip(rows, scores.confusion, strict=True):
        table.add_row(Text(name), *(f"{count:,}" for count in counts))
    return table


def print_budgets(results: Sequence[Result]) -> None:
    """Print a line a budget: the learning curve as a table."""
    first = results[0]
    heading = (
        f"{first.method} probe of {first.features} on {first.dataset}, {first.split}, {first.n:,} test rows"
    )
    names = [name for name in BUDGET_METRICS if name in first.metrics]
    table = Table(title=Text(heading, style="bold"), title_justify="left", show_edge=False)
    for i, name in enumerate(("budget", "labels", "draws", *(title(name) for name in names))):
        table.add_column(name, justify="right" if i else "left")
    for result in results:
        budget, n_draws = str(result.params["budget"]), len(result.outcomes["draws"])
        cells = [" ".join(_cells(result.metrics[name])) for name in names]
        table.add_row(budget, f"{result.outcomes['n_labels']:,}", f"{n_draws}", *cells)
    print_table(table)


def print_seeds(results: Sequence[Result]) -> None:
    """Print each metric at every seed, and mean and standard deviation over them."""
    first = results[0]
    heading = (
        f"{first.method} probe of {first.features} on {first.dataset}, {first.split}, {len(results)} seeds"
    )
    table = Table(title=Text(heading, style="bold"), title_justify="left", show_edge=False)
    for i, name in enumerate(("", "mean ± std", *(f"seed {result.seed}" for result in results))):
        table.add_column(name, justify="right" if i else "left")
    for name, over in spread(results).items():
        each = [_cells(result.metrics[name])[0] for result in results]
        table.add_row(title(name), f"{over['mean']:.3f} ± {over['std']:.3f}", *each)
    print_table(table)


def print_before_and_after(before: Result, after: Result) -> None:
    """Print each metric with the copies on both sides, and without."""
    table = _columns("", "with copies", "95 % interval", "without", "95 % interval")
    table.add_row("test rows", f"{before.n:,}", "", f"{after.n:,}", "")
    for name, metric in before.metrics.items():
        table.add_row(title(name), *_cells(metric), *_cells(after.metrics[name]))
    print_table(table)


def print_seeds_before_and_after(before: Sequence[Result], after: Sequence[Result]) -> None:
    """Print mean and standard deviation over the same seeds with copies, without, and of the change."""
    table = _columns("mean ± std", "with copies", "without", "change")
    with_copies, without = spread(before), spread(after)
    for name in (name for name in with_copies if name in without):
        change = [_value(b, name) - _value(a, name) for a, b in zip(before, after, strict=True)]
        table.add_row(
            title(name),
            *(f"{over[name]['mean']:.3f} ± {over[name]['std']:.3f}" for over in (with_copies, without)),
            f"{np.mean(change):+.3f} ± {np.std(change, ddof=1):.3f}",
        )
    print_table(table)


def _value(result: Result, name: str) -> float:
    value = result.metrics[name].value
    return np.nan if value is None else value


def _columns(*names: str) -> Table:
    table = Table(show_edge=False)
    for i, name in enumerate(names):
        table.add_column(Text(name), justify="right" if i else "left")
    return table


def _cells(metric: Metric) -> tuple[str, str]:
    if metric.value is None or not np.isfinite(metric.value):
        return "-", ""
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f}", ""
    return f"{metric.value:.3f}", f"{metric.low:.3f}-{metric.high:.3f}"
