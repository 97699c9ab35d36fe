"""What one call of `embedkit leaderboard` does: results read, or taken as they are, ranked and written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.guard import guarded
from embedkit.files.regular import resolved
from embedkit.files.results import Result, locate_results
from embedkit.files.store import FeatureFile
from embedkit.options import RUNS
from embedkit.scoring.outcomes import TrueClasses
from reports.leaderboard.options import ALL, LeaderboardOptions, LeaderboardPlaces
from reports.leaderboard.table import Leaderboard, rank

Located = tuple[Path, Result]


@guarded()
def leaderboard(
    runs: str | os.PathLike[str] | Iterable[Result | Located] = RUNS,
    options: LeaderboardOptions | None = None,
    places: LeaderboardPlaces | None = None,
    *,
    files: Iterable[FeatureFile] = (),
) -> Leaderboard:
    """Rank results, one table a dataset and task, and say which differences are real.

    Parameters
    ----------
    runs
        A folder of results, or one results.jsonl. Or results themselves, each with the folder that its
        predictions or assignments are in, as `embedkit.files.results.locate_results` reads them; those
        without a folder are looked for in the working folder.
    options
        What is kept, and what ranks.
    places
        Where it is written, if anywhere.
    files
        Feature files that are open already: clusterings take their true classes from these.

    Returns
    -------
    Leaderboard
        It prints as tables, shows itself in a notebook, and ``to_pandas()`` gives its rows.

    Raises
    ------
    UsageError
        A dataset, task, method, feature set, budget or metric that no result has; the message lists those
        that exist.
    EmbedkitError
        No results, or a line that is none.
    """
    options, places = options or LeaderboardOptions(), places or LeaderboardPlaces()
    title, where = "Leaderboard", "the results"
    if isinstance(runs, (str, os.PathLike)):
        title, where = f"Leaderboard: {resolved(runs).name}", str(runs)
        located = locate_results(runs)
    else:
        located = [(Path(), one) if isinstance(one, Result) else one for one in runs]
    board = rank(_kept(located, options), task=options.task, sort=options.sort, classes=TrueClasses(files))
    if not board.entries:
        raise EmbedkitError(f"{where}: no results yet. Run `embedkit cluster` or `embedkit probe` first.")
    board = replace(board, title=title, folders=tuple(dict.fromkeys(folder for folder, _ in located)))
    if places.html is not None:
        board.write(places.html, "html")
    if places.output is not None:
        board.write(places.output, places.style)
    return board


def _kept(located: Sequence[Located], options: LeaderboardOptions) -> Sequence[Located]:
    """Results that the filters leave; an unknown dataset, method or feature set lists the known ones."""
    for name in ("dataset", "method", "features"):
        wanted = getattr(options, name)
        if wanted is None:
            continue
        known = sorted({getattr(result, name) for _, result in located})
        located = [
            (folder, result)
            for folder, result in located
            if (wanted in getattr(result, name) if name == "features" else wanted == getattr(result, name))
        ]
        if not located and known:
            raise UsageError(f"--{name} {wanted}: no such result. There are: {', '.join(known)}.")
    if options.budget is None:
        return located
    budgets = [_budget(result) for _, result in located]
    wanted = _word(options.budget)
    if budgets and wanted not in budgets:
        known = sorted(set(budgets))
        raise UsageError(f"--budget {options.budget}: no such result. There are: {', '.join(known)}.")
    return [one for one, budget in zip(located, budgets, strict=True) if budget == wanted]


def _budget(result: Result) -> str:
    """Name a result's label budget as it is asked for: ``5``, ``5%``, or ``all`` where it has none."""
    budget = result.params.get("budget")
    return ALL if budget is None else _word(str(budget))


def _word(budget: str) -> str:
    """Return ``5`` of ``5 per class`` and of ``5 images``, ``5%`` of ``5 %``."""
    return budget.replace(" per class", "").replace(" images", "").replace(" ", "")
