"""Results in the order that they are shown in, and what can be told apart among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from embedkit.files.results import Result
from embedkit.scoring.metrics import TESTED, ranking_metric
from reports.leaderboard.controls import control_notes
from reports.leaderboard.entry import Entry
from reports.leaderboard.significance import Read, Significance, significance


@dataclass(frozen=True)
class Board:
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
    folders
        Where the results are from; maps of their feature files that lie there are linked.
    """

    entries: tuple[Entry, ...]
    sort: str | None = None
    tested: Mapping[tuple[str, str], Significance] = field(default_factory=dict)
    title: str = "Leaderboard"
    folders: tuple[Path, ...] = ()

    @property
    def n_older(self) -> int:
        """Older runs of the same thing that were left out."""
        return sum(entry.n_older for entry in self.entries)

    @property
    def runs(self) -> tuple[Result, ...]:
        """Every run behind the rows."""
        return tuple(run for entry in self.entries for run in entry.runs)

    def with_ranks(self, read: Read) -> Self:
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
