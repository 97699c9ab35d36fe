"""What `embedkit probe` prints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from embedkit.console import print_table
from embedkit.files.results import Result
from embedkit.scoring.metrics import title
from embedkit.scoring.score_tables import (
    add_metrics,
    cells,
    columns,
    metrics_table,
    print_each,
    print_left_out,
    print_over_seeds,
    printed,
)
from probes.report import ProbeReport, spread

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
    table = metrics_table(heading)
    table.add_row("split", "", "", Text(f"{result.split}, seed {result.seed}: {rows}"))
    grid = len(result.params["choice"]["grid"])
    how = f"best {result.params['choice']['by']} of {grid}" if grid > 1 else "given"
    for setting in report.fits[0].model.chosen_:
        values = [fit.model.chosen_[setting] for fit in report.fits]
        values = values[:1] if len(set(map(str, values))) == 1 else values  # the same in every fold
        shown = ", ".join(f"{value:g}" if isinstance(value, (int, float)) else str(value) for value in values)
        table.add_row(setting.upper() if setting == "c" else setting, Text(shown), "", Text(how))
    add_metrics(table, {name: result.metrics[name] for name in printed(result.metrics, result.n)})
    print_table(table)
    print_left_out(result.metrics, result.n)
    print()
    print_each(report.scores)


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
        shown = [" ".join(cells(result.metrics[name])) for name in names]
        table.add_row(budget, f"{result.outcomes['n_labels']:,}", f"{n_draws}", *shown)
    print_table(table)


def print_seeds(results: Sequence[Result]) -> None:
    """Print each metric at every seed, and mean and standard deviation over them."""
    first = results[0]
    heading = (
        f"{first.method} probe of {first.features} on {first.dataset}, {first.split}, {len(results)} seeds"
    )
    print_over_seeds(heading, results)


def print_before_and_after(before: Result, after: Result) -> None:
    """Print each metric with the copies on both sides, and without."""
    table = columns("", "with copies", "95 % interval", "without", "95 % interval")
    table.add_row("test rows", f"{before.n:,}", "", f"{after.n:,}", "")
    for name, metric in before.metrics.items():
        table.add_row(title(name), *cells(metric), *cells(after.metrics[name]))
    print_table(table)


def print_seeds_before_and_after(before: Sequence[Result], after: Sequence[Result]) -> None:
    """Print mean and standard deviation over the same seeds with copies, without, and of the change."""
    table = columns("mean ± std", "with copies", "without", "change")
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
