"""Which differences of a leaderboard are real: paired tests on the same images, and ranks that tie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embedkit.console import counted
from embedkit.errors import EmbedkitError
from embedkit.files.results import Result
from embedkit.scoring.outcomes import Outcomes, compare_outcomes
from embedkit.scoring.paired import ALPHA, BOOTSTRAP, MCNEMAR, Difference, holm, rank_ranges


@dataclass(frozen=True)
class Pair:
    """The test of two rows of one group.

    Parameters
    ----------
    first, second
        Positions in the group.
    difference
        Second minus first: of accuracy, or of minus the mean squared error.
    p_holm
        Corrected over all pairs of the group that were tested.
    """

    first: int
    second: int
    difference: Difference
    p_holm: float


@dataclass(frozen=True)
class Significance:
    """What can be told apart within one group.

    Parameters
    ----------
    ranks
        Lowest and highest rank of each row: one more than the number that are significantly better, to
        the size of the group less the number that are significantly worse. A pair that could not be tested
        counts as one that can't be told apart.
    pairs
        Every pair that was tested.
    notes
        The family, and which pairs were not tested and why.
    """

    ranks: tuple[tuple[int, int], ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]


Read = Callable[[Result], Outcomes]


def significance(rows: Sequence[Sequence[Result]], read: Read) -> Significance:
    """Test every pair of rows that were scored on the same images.

    Parameters
    ----------
    rows
        The runs of each row, which differ in their seed, of one dataset and task.
    read
        Gives the outcomes of a run, or raises `EmbedkitError` with the reason why there are none.
    """
    reasons: Counter[str] = Counter()
    found = [outcomes_by_rows(runs, read, reasons) for runs in rows]
    m = len(rows)
    tested: list[tuple[int, int, Difference]] = []
    n_other = n_some = 0
    for i in range(m):
        for j in range(i + 1, m):
            if not found[i] or not found[j]:
                continue
            paired = paired_runs(found[i], found[j])
            if not paired:
                n_other += 1
                continue
            n_some += len(paired) < min(len(rows[i]), len(rows[j]))
            tested.append((i, j, compare_outcomes(paired)))
    adjusted = holm(np.array([difference.p for _, _, difference in tested]))
    pairs = tuple(Pair(i, j, d, float(p)) for (i, j, d), p in zip(tested, adjusted, strict=True))
    better = np.zeros((m, m), bool)
    for pair in pairs:
        if pair.p_holm <= ALPHA:
            up = pair.difference.value > 0
            better[pair.second if up else pair.first, pair.first if up else pair.second] = True
    ranks = tuple((int(low), int(high)) for low, high in rank_ranges(better))
    notes = [_family(pairs)] if pairs else []
    if n_some:
        notes.append(f"{counted(n_some, 'pair')} tested over the seeds that both have.")
    if n_other:
        notes.append(
            f"Not tested: {counted(n_other, 'pair')} with other test rows or folds. Give the same --split "
            "and --seed."
        )
    for reason, count in reasons.items():
        notes.append(f"Not tested: {counted(count, 'row')}, because {reason}.")
    return Significance(ranks, pairs, tuple(notes))


def outcomes_by_rows(runs: Sequence[Result], read: Read, reasons: Counter[str]) -> dict[str, list[Outcomes]]:
    """Return the outcomes of a row's runs by what they tested; none if those of any run are missing."""
    found: dict[str, list[Outcomes]] = {}
    try:
        for run in runs:
            outcomes = read(run)
            found.setdefault(outcomes.rows, []).append(outcomes)
    except EmbedkitError as error:
        reasons[str(error)] += 1
        return {}
    return found


def paired_runs(
    a: Mapping[str, list[Outcomes]], b: Mapping[str, list[Outcomes]]
) -> list[tuple[Outcomes, Outcomes]]:
    """Pair the runs of two rows, by what they tested, on the rows that both tested."""
    return [both for rows in a if rows in b for both in _paired(a[rows], b[rows])]


def _paired(a: list[Outcomes], b: list[Outcomes]) -> list[tuple[Outcomes, Outcomes]]:
    """Pair runs on the same rows, in the order of their seeds; a single one meets each of the other's."""
    if 1 in (len(a), len(b)):
        return [(one, other) for one in a for other in b]
    return list(zip(a, b, strict=False))


def _family(pairs: Sequence[Pair]) -> str:
    """Say what was tested how, and over how many pairs the p values are corrected."""
    count = Counter(pair.difference.test for pair in pairs)
    words = {MCNEMAR: "exact McNemar tests", BOOTSTRAP: "paired bootstrap tests"}
    how = " and ".join(
        text if len(count) == 1 else f"{text} ({count[name]})" for name, text in words.items() if count[name]
    )
    return (
        f"Ranks: {how} on the same images, Holm-corrected over {counted(len(pairs), 'pair')}; rows whose "
        "ranks overlap are not all told apart at 5 %."
    )
