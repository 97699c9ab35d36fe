"""What probes of one feature file give: results, predictions, and what a reader must know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.files import showing
from embedkit.files.predictions import Predictions
from embedkit.files.results import Result, metric_cells
from embedkit.scoring.class_scores import Scores
from embedkit.scoring.splits import Split
from embedkit.scoring.spread import spread_over
from embedkit.scoring.target_scores import RegressionScores
from probes.fitting import Fitted

if TYPE_CHECKING:
    from probes.leaks.run import LeaksReport


@dataclass(frozen=True, repr=False)
class ProbeReport(showing.Shown):
    """One probe of one feature file.

    Parameters
    ----------
    result
        The line of results.jsonl.
    scores
        On the test rows: with the confusion matrix and each class's figures, or each target's.
    predictions
        Of validation and test rows.
    splits
        The split, or the folds.
    notes
        What a reader of the numbers must know: rows left out, choices at the edge of a grid.
    fits
        The fitted probe of each split, with its preparation and temperature.
    predictions_path
        The CSV, where an output folder was given.
    before
        The same with copies left where they are, where they were dealt with.
    leaks
        Copies of one image, where they were looked for.
    """

    result: Result
    scores: Scores | RegressionScores
    predictions: Predictions
    splits: tuple[Split, ...]
    notes: tuple[str, ...]
    fits: tuple[Fitted, ...]
    predictions_path: Path | None = None
    before: ProbeReport | None = None
    leaks: LeaksReport | None = None

    @property
    def results(self) -> tuple[Result, ...]:
        """The line of results.jsonl."""
        return (self.result,)

    def to_pandas(self) -> Any:
        """Return the metrics as a pandas DataFrame, a row each."""
        return self.result.to_pandas()

    def _shown(self) -> showing.Parts:
        result = self.result
        title = f"{result.method} probe of {result.features} on {result.dataset}, {result.split}: "
        title += f"{result.n:,} test rows"
        return title, metric_cells(result.metrics), self.notes


@dataclass(frozen=True, repr=False)
class SeedsReport(showing.Shown):
    """One probe of one feature file at several seeds.

    Parameters
    ----------
    reports
        One a seed.
    before
        The same with copies left where they are, where they were dealt with; or empty.
    leaks
        Copies of one image, where they were looked for.
    notes
        What a reader must know of all of them.
    """

    reports: tuple[ProbeReport, ...]
    before: tuple[ProbeReport, ...] = ()
    leaks: LeaksReport | None = None
    notes: tuple[str, ...] = ()

    @property
    def results(self) -> tuple[Result, ...]:
        """The lines of results.jsonl, one a seed."""
        return tuple(report.result for report in self.reports)

    @property
    def over_seeds(self) -> dict[str, dict[str, float]]:
        """``mean`` and ``std`` (n - 1) of each metric that all of them have."""
        return spread(self.results)

    def to_pandas(self) -> Any:
        """Return every metric at every seed as a pandas DataFrame, a row each."""
        return showing.data_frame(_metric_rows("seed", [(result.seed, result) for result in self.results]))

    def _shown(self) -> showing.Parts:
        first, over = self.results[0], self.over_seeds
        title = f"{first.method} probe of {first.features} on {first.dataset}, {first.split}, "
        cells = [
            {"metric": name, "mean": f"{of['mean']:.4g}", "standard deviation": f"{of['std']:.2g}"}
            for name, of in over.items()
        ]
        return f"{title}{len(self.reports)} seeds", cells, self.notes


def spread(results: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation (n - 1) over results of each metric that all of them have."""
    found = spread_over([result.metrics for result in results])
    return {name: {"mean": of.mean, "std": of.std} for name, of in found.items() if of.n == len(results)}


@dataclass(frozen=True, repr=False)
class BudgetsReport(showing.Shown):
    """One probe of one feature file, fitted with several budgets of labels.

    Parameters
    ----------
    results
        The lines of results.jsonl, one a budget: every metric is the mean over the draws.
    notes
        What a reader must know.
    before
        The same with copies left where they are, where they were dealt with.
    leaks
        Copies of one image, where they were looked for.
    """

    results: tuple[Result, ...]
    notes: tuple[str, ...]
    before: BudgetsReport | None = None
    leaks: LeaksReport | None = None

    def to_pandas(self) -> Any:
        """Return every metric of every budget as a pandas DataFrame, a row each."""
        return showing.data_frame(_metric_rows("budget", [(_budget(one), one) for one in self.results]))

    def _shown(self) -> showing.Parts:
        first = self.results[0]
        title = f"{first.method} probe of {first.features} on {first.dataset}, {first.split}, "
        cells = [
            {"budget": _budget(result), **cell}
            for result in self.results
            for cell in metric_cells(result.metrics)
        ]
        return f"{title}{first.n:,} test rows", cells, self.notes


def _budget(result: Result) -> str:
    return result.task.removeprefix("probe ")


def _metric_rows(key: str, results: Sequence[tuple[Any, Result]]) -> list[dict[str, Any]]:
    return [
        {key: value, "metric": name, **asdict(metric)}
        for value, result in results
        for name, metric in result.metrics.items()
    ]
