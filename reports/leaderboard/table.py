"""The table of results: a pure function of the lines that clusterings and probes wrote."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embedkit.errors import UsageError
from embedkit.files.aside import aside
from embedkit.files.results import Result
from embedkit.files.showing import data_frame
from embedkit.scoring.metrics import FIELDS, TESTED, all_metrics, measure, ranking_metric, value_of
from embedkit.scoring.outcomes import TrueClasses, read_outcomes
from reports.leaderboard.controls import control_notes
from reports.leaderboard.entry import Entry, identity, pool_runs
from reports.leaderboard.significance import Read, Significance, significance


@dataclass(frozen=True)
class Leaderboard:
    """Results grouped by dataset and task, the best of each group first.

    Parameters
    ----------
    entries
        In order.
    sort
        The metric asked for, or None where each group is ranked by its first of accuracy, RMSE, ROC AUC,
        NMI and silhouette.
    tested
        Of each group that was tested, what can be told apart.
    title
        Of its page.
    """

    entries: tuple[Entry, ...]
    sort: str | None = None
    tested: Mapping[tuple[str, str], Significance] = field(default_factory=dict)
    title: str = "Leaderboard"

    @property
    def n_older(self) -> int:
        """Older runs of the same thing that were left out."""
        return sum(entry.n_older for entry in self.entries)

    @property
    def runs(self) -> tuple[Result, ...]:
        """Every run behind the rows."""
        return tuple(run for entry in self.entries for run in entry.runs)

    def with_ranks(self, read: Read) -> Leaderboard:
        """Test the groups that are ranked by accuracy or RMSE, pair by pair, on the same images.

        Parameters
        ----------
        read
            Gives the outcomes of a run, or raises `EmbedkitError` with the reason why there are none.
        """
        entries: list[Entry] = []
        tested = {}
        for key, members in self.groups():
            if ranking_metric([entry.result for entry in members], self.sort) not in TESTED:
                entries += members
                continue
            tested[key] = significance([entry.runs for entry in members], read)
            ranks = tested[key].ranks
            entries += [replace(entry, rank=rank) for entry, rank in zip(members, ranks, strict=True)]
        return replace(self, entries=tuple(entries), tested=tested)

    def notes(self, key: tuple[str, str]) -> list[str]:
        """Say what a group's ranks rest on, and its controls; nothing of a group that was not tested."""
        if key not in self.tested:
            return []
        members = [entry for entry in self.entries if entry.group == key]
        notes = list(self.tested[key].notes)
        if any(len(entry.runs) > 1 for entry in members):
            notes.append(
                "Rows of several seeds: means over them; the interval is that of one seed's test images, "
                "widened by the spread over the seeds."
            )
        runs = [run for entry in members for run in entry.runs]
        return [*notes, *control_notes(runs, ranking_metric(runs, self.sort) or "accuracy")]

    def groups(self) -> list[tuple[tuple[str, str], tuple[Entry, ...]]]:
        """Return ((dataset, task), entries) in order."""
        keys = list(dict.fromkeys(entry.group for entry in self.entries))
        return [(key, tuple(entry for entry in self.entries if entry.group == key)) for key in keys]

    def write(self, path: str | os.PathLike[str], style: str | None = None) -> None:
        """Write it to one file, whole or not at all.

        Parameters
        ----------
        path
            Its ending says how where `style` does not: .md, .csv, .json or .html.
        style
            One of `reports.leaderboard.options.FORMATS`.
        """
        from reports.leaderboard.options import LeaderboardPlaces
        from reports.leaderboard.text import written

        places = LeaderboardPlaces(output=Path(path), format=style)
        text = written(self, places.style)
        with aside(Path(path)) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, a row each: every metric with its interval, unrounded."""
        from reports.leaderboard.text import flat_rows

        return data_frame(flat_rows(self))

    def _repr_html_(self) -> str:
        from reports.leaderboard.text import html_tables

        return html_tables(self)

    def __str__(self) -> str:
        from reports.leaderboard.text import terminal_text

        return terminal_text(self)


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
