"""Which differences of a leaderboard are real: paired tests on the same images, and ranks that tie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from embedkit.errors import EmbedkitError
from embedkit.outcomes import Outcomes
from embedkit.paired import ALPHA, Difference, holm, paired_difference, rank_ranges
from embedkit.results import Result


@dataclass(frozen=True)
class Pair:
    """The test of two results of one group.

    Parameters
    ----------
    first, second
        Positions in the group.
    difference
        Second minus first.
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
        Lowest and highest rank of each result: one more than the number that are significantly better, to
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


def significance(results: Sequence[Result], read: Read) -> Significance:
    """Test every pair of results that were scored on the same images.

    Parameters
    ----------
    results
        Of one dataset and task.
    read
        Gives the outcomes of a result, or raises `EmbedkitError` with the reason why there are none.
    """
    found: list[Outcomes | None] = []
    reasons: Counter[str] = Counter()
    for result in results:
        try:
            found.append(read(result))
        except EmbedkitError as error:
            found.append(None)
            reasons[str(error)] += 1
    m = len(results)
    tested: list[tuple[int, int, Difference]] = []
    n_other = 0
    for i in range(m):
        for j in range(i + 1, m):
            a, b = found[i], found[j]
            if a is None or b is None:
                continue
            if a.rows != b.rows:
                n_other += 1
                continue
            tested.append((i, j, paired_difference(a.right, b.right)))
    adjusted = holm(np.array([difference.p for _, _, difference in tested]))
    pairs = tuple(Pair(i, j, d, float(p)) for (i, j, d), p in zip(tested, adjusted, strict=True))
    better = np.zeros((m, m), bool)
    for pair in pairs:
        if pair.p_holm <= ALPHA:
            up = pair.difference.value > 0
            better[pair.second if up else pair.first, pair.first if up else pair.second] = True
    ranks = tuple((int(low), int(high)) for low, high in rank_ranges(better))
    notes = []
    if pairs:
        pairs_text = f"{len(pairs)} pair{'s' * (len(pairs) != 1)}"
        notes.append(
            f"Ranks: exact McNemar tests of accuracy on the same images, Holm-corrected over {pairs_text}; "
            "rows whose ranks overlap are not all told apart at 5 %."
        )
    if n_other:
        notes.append(
            f"Not tested: {n_other} pair{'s' * (n_other != 1)} with other test rows or folds. Give the same "
            "--split and --seed."
        )
    for reason, count in reasons.items():
        notes.append(f"Not tested: {count} row{'s' * (count != 1)}, because {reason}.")
    return Significance(ranks, pairs, tuple(notes))
