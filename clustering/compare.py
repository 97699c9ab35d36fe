"""Every method on one feature file, the best first."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clustering.options import ALL, SETTINGS, ClusterOptions
from clustering.report import ClusterRun
from clustering.run import cluster
from embedkit.console import Advance, progress
from embedkit.console.foretelling import say_long
from embedkit.errors import EmbedkitError
from embedkit.files import showing
from embedkit.files.results import Result, metric_cells
from embedkit.files.store import FeatureFile
from embedkit.scoring.selected import selected

if TYPE_CHECKING:
    from clustering.choose import KChoice


@dataclass(frozen=True, repr=False)
class Comparison(showing.Shown):
    """Every method on one file.

    Parameters
    ----------
    runs
        The best first: by matched accuracy, or by silhouette where there are no labels.
    failures
        Method to the reason why it could not run.
    """

    runs: tuple[ClusterRun, ...]
    failures: Mapping[str, str]

    @property
    def results(self) -> tuple[Result, ...]:
        """The lines of results.jsonl, the best first."""
        return tuple(run.result for run in self.runs)

    def to_pandas(self) -> Any:
        """Return the metrics of every method as a pandas DataFrame, a row each."""
        return showing.data_frame([row for run in self.runs for row in run.result.metric_rows()])

    def _shown(self) -> showing.Parts:
        first, rows = self.runs[0], []
        score = score_name(first)
        for run in self.runs:
            (cells,) = metric_cells({score: run.result.metrics[score]})
            rows.append(
                {
                    "method": run.result.method,
                    score: cells["value"],
                    "95 % interval": cells["95 % interval"],
                    "clusters": f"{len(run.clusters.sizes)}",
                }
            )
        title = f"{first.result.features} on {first.result.dataset}: {len(first.index):,} rows"
        notes = [f"{name} did not run: {reason}" for name, reason in self.failures.items()]
        return title, rows, notes


def compare(
    path: str | os.PathLike[str] | FeatureFile,
    options: ClusterOptions | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    on_run: Callable[[str, ClusterRun | EmbedkitError], Any] | None = None,
) -> Comparison:
    """Run every method on a feature file; one that cannot run does not stop the others.

    Parameters
    ----------
    path
        A feature file.
    options
        For all methods; each takes those that it has.
    output
        Folder for results.jsonl, with one line a method, assignments and models.
    on_run
        Called with each method and its run, or what stopped it.

    Raises
    ------
    EmbedkitError
        A file that can't be read, or none of the methods could run.
    """
    options = options or ClusterOptions(ALL)
    # Once for all methods: a missing or broken file is one error, not one a method.
    with selected(path, options) as file, progress("methods", len(SETTINGS), unit="method") as advance:
        return _compare(file, options, output, on_run, advance)


def _compare(
    file: FeatureFile,
    options: ClusterOptions,
    output: str | os.PathLike[str] | None,
    on_run: Callable[[str, ClusterRun | EmbedkitError], Any] | None,
    advance: Advance,
) -> Comparison:
    runs: list[ClusterRun] = []
    failures: dict[str, str] = {}
    k_choice: KChoice | None = None
    for done, name in enumerate(SETTINGS):
        advance(min(done, 1))
        try:
            run = cluster(file, options.of(name), output=output, k_choice=k_choice)
        except EmbedkitError as error:
            failures[name] = str(error).removeprefix(f"{file.path}: ")
            if on_run is not None:
                on_run(name, error)
            continue
        if not runs:
            _say_time(run, options)
        runs.append(run)
        k_choice = k_choice or run.k_choice
        if on_run is not None:
            on_run(name, run)
    if not runs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise EmbedkitError(f"{file.path}: no method could run. {reasons}")

    def score(run: ClusterRun) -> float:
        value = run.result.metrics[score_name(run)].value
        return -np.inf if value is None else value

    return Comparison(tuple(sorted(runs, key=score, reverse=True)), failures)


def _say_time(first: ClusterRun, options: ClusterOptions) -> None:
    """Say how long the methods to come will take, where that is long: TEMI's training is most of it."""
    from clustering.run import N_RESAMPLES
    from clustering.temi import default_epochs, seconds_each_pass

    n, k = len(first.index), max(1, len(first.clusters.sizes))
    each = seconds_each_pass(n, first.prepared.n_out, k, n_heads=options.n_heads)
    n_runs = options.seeds + N_RESAMPLES * options.stability
    say_long(
        n_runs * each * (options.epochs or default_epochs(n)),
        "TEMI, the last of the methods, alone",
        "--epochs makes it shorter; every other method is written before it begins.",
    )


def score_name(run: ClusterRun) -> str:
    """Name of the metric that a run is ranked by."""
    return "accuracy" if "accuracy" in run.result.metrics else "silhouette"


def beats_chance(run: ClusterRun) -> bool | None:
    """Whether the matched accuracy lies above the 95 % range of permuted labels; None without labels."""
    metrics = run.result.metrics
    if "accuracy" not in metrics or (high := metrics["null_accuracy"].high) is None:
        return None
    return (metrics["accuracy"].value or 0) > high
