"""Which of two feature sets is better, in the words of `embedkit compare`, from results that are there."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedkit.files.results import Result
from embedkit.files.store import FeatureFile
from embedkit.scoring.outcomes import Outcomes, TrueClasses, read_outcomes
from embedkit.workflows.compare_options import CompareOptions
from embedkit.workflows.measures import measure_of, measures
from embedkit.workflows.verdict import compare_measures, sentence, verdict
from reports.leaderboard.cells import telling_settings
from reports.leaderboard.significance import outcomes_by_rows, paired_runs

Runs = Sequence[tuple[Path, Result]]
# Where the rows were divided; what came of it is in the outcomes, which must be of the same rows anyway.
_DIVISION = ("split_file",)


def verdict_words(
    runs: tuple[Runs, Runs], files: tuple[FeatureFile, FeatureFile], names: tuple[str, str], *, where: Path
) -> list[str]:
    """Return the verdict, a sentence a measure, and what could not be compared.

    Parameters
    ----------
    runs
        Of A and of B: results with the folder that each stands in, none twice.
    files
        Open, of the same images.
    names
        What they are called.
    where
        Where a comparison would stand, for the advice where there is none.
    """
    if all(file.rows.labels is None for file in files):
        return ["There are no labels, so nothing says which of the two is better."]
    found, missing = _measures(runs, TrueClasses(files))
    if not found:
        ours, theirs = (set(file.rows.ids[file.ok].tolist()) for file in files)
        some = [] if ours == theirs else ["--common"]
        paths = [str(file.path) for file in files]
        command = ["embedkit", "compare", *paths, *some, "-o", str(where / "compare")]
        return [
            f"No results of both say which is better. `{shlex.join(command)}` tests it; a report with "
            f"`--runs {shlex.quote(str(where))}` then says it here.",
            *missing,
        ]
    compared = compare_measures(found)
    return [verdict(compared, *names), *(sentence(one, *names) for one in compared), *missing]


def _measures(
    runs: tuple[Runs, Runs], classes: TrueClasses
) -> tuple[dict[str, list[tuple[Outcomes, Outcomes]]], list[str]]:
    """Return by name what both were scored by on the same rows, and what is missing of the others."""
    folders = {id(result): folder for side in runs for folder, result in side}
    ours, theirs = (_alike([result for _, result in side]) for side in runs)
    # Of one measure of some images and of more, that of more is told.
    both = sorted((key for key in ours if key in theirs), key=lambda key: -ours[key][0].n)
    firsts = [ours[key][0] for key in both]
    found: dict[str, list[tuple[Outcomes, Outcomes]]] = {}
    missing = []
    for key in both:
        reasons: Counter[str] = Counter()
        name = _name(ours[key][0], firsts)
        of_a, of_b = (
            outcomes_by_rows(side, lambda run: read_outcomes(run, folders[id(run)], classes), reasons)
            for side in (ours[key], theirs[key])
        )
        pairs = paired_runs(of_a, of_b)
        if reasons:
            missing.append(f"{name} is not compared: {next(iter(reasons))}.")
        elif not pairs:
            missing.append(f"{name} is not compared: the two were tested on other rows or folds.")
        # Errors of targets are no accuracy.
        elif all(one.score.min() >= 0 for pair in pairs for one in pair):
            found.setdefault(name, pairs)
    # As `embedkit compare` has them; others after these.
    usual = list(measures(CompareOptions()))
    return {name: found[name] for name in sorted(found, key=lambda one: [*usual, one].index(one))}, missing


def _alike(results: Sequence[Result]) -> Mapping[str, list[Result]]:
    """Return runs by all that they were asked for but seed and split, and by their number of rows."""
    found: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda one: one.seed):
        params = {name: value for name, value in result.params.items() if name not in _DIVISION}
        key = json.dumps([result.task, result.method, params, result.n], sort_keys=True, default=str)
        found.setdefault(key, []).append(result)
    return found


def _name(result: Result, among: Sequence[Result]) -> str:
    """Name a measure as `embedkit compare` does, with the settings that tell it from its like."""
    name = measure_of(result)
    alike = [one for one in among if measure_of(one) == name]
    return f"{name} {telling_settings(result, alike)}".strip() if len(alike) > 1 else name
