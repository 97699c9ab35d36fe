"""The table of results: a pure function of the lines that clusterings and probes wrote."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from embedkit.errors import UsageError
from embedkit.files.aside import write_text
from embedkit.files.results import Result
from embedkit.files.showing import data_frame
from embedkit.scoring.metrics import FIELDS, all_metrics, measure, ranking_metric, value_of
from embedkit.scoring.outcomes import TrueClasses, read_outcomes
from reports.leaderboard.board import Board
from reports.leaderboard.entry import Entry, identity, pool_runs
from reports.leaderboard.options import LeaderboardPlaces
from reports.leaderboard.text import flat_rows, html_tables, terminal_text, written


class Leaderboard(Board):
    """A `Board` that writes and shows itself."""

    def write(self, path: str | os.PathLike[str], style: str | None = None) -> None:
        """Write it to one file, whole or not at all.

        Parameters
        ----------
        path
            Its ending says how where `style` does not: .md, .csv, .json or .html.
        style
            One of `reports.leaderboard.options.FORMATS`.
        """
        places = LeaderboardPlaces(output=Path(path), format=style)
        text = written(self, places.style, where=Path(path))
        write_text(path, text + "\n")

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, a row each: every metric with its interval, unrounded."""
        return data_frame(flat_rows(self))

    def _repr_html_(self) -> str:
        return html_tables(self)

    def __str__(self) -> str:
        return terminal_text(self)

    __repr__ = __str__  # as the runs do; the fields would be pages of numbers


def rank(
    located: Iterable[tuple[Path, Result]],
    *,
    task: str | None = None,
    sort: str | None = None,
    classes: TrueClasses | None = None,
) -> Leaderboard:
    """Order results as `leaderboard` does, and test which of them can be told apart.

    Parameters
    ----------
    located
        Results with the folders that their predictions or assignments are in.
    task, sort
        As in `leaderboard`.
    classes
        Where the true classes of clusterings come from; by default from the feature files that they name.

    Raises
    ------
    UsageError
        As `leaderboard`.
    """
    pairs = list(located)
    folders = {id(result): folder for folder, result in pairs}
    known = classes or TrueClasses()
    board = leaderboard([result for _, result in pairs], task=task, sort=sort)
    return board.with_ranks(lambda result: read_outcomes(result, folders[id(result)], known))


def leaderboard(
    results: Iterable[Result], *, task: str | None = None, sort: str | None = None
) -> Leaderboard:
    """Rank results.

    Runs that differ in their seed only become one row; of runs that don't differ the newest stays. Rows are
    grouped by dataset and task, and ranked in each group; those without the metric come last.

    Parameters
    ----------
    results
        In the order they were written, which decides where times are equal or missing.
    task
        Keep only this task.
    sort
        Rank by this metric, best first, or by ``seconds`` or ``n``.

    Raises
    ------
    UsageError
        A task or a metric that no result has; the message lists those that exist.
    """
    results = list(results)
    if task is not None:
        known = sorted({result.task for result in results})
        results = [result for result in results if result.task == task]
        if not results and known:
            raise UsageError(f"--task {task}: no such result. There are: {', '.join(known)}.")
    entries = pool_runs(results)
    if sort is not None and entries:
        metrics = all_metrics(results)
        if sort not in (*metrics, *FIELDS):
            raise UsageError(f"--sort {sort}: no result has it. There are: {', '.join((*metrics, *FIELDS))}.")
    ordered: list[Entry] = []
    # A task's label budgets by their size, all labels last.
    for group in sorted({_place(entry) for entry in entries}):
        members = [entry for entry in entries if _place(entry) == group]
        ranked = ranking_metric([entry.result for entry in members], sort)
        by = sort if sort in FIELDS else ranked
        ordered += sorted(members, key=lambda entry: (_rank(entry.result, by), identity(entry.runs[0])))
    return Leaderboard(tuple(ordered), sort)


def _place(entry: Entry) -> tuple[str, str, float, str]:
    dataset, task = entry.group
    budget = entry.n_labels != float("inf")
    return dataset, task.split()[0] if budget else task.partition(",")[0], entry.n_labels, task


def _rank(result: Result, by: str | None) -> tuple[bool, float]:
    if by is None:
        return True, 0.0
    value = float(getattr(result, by)) if by in FIELDS else value_of(result, by)
    if value is None:
        return True, 0.0
    return False, -measure(by).merit(value)
