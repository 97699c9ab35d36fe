"""How many people answered each question about each image, where a table of votes says so."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.text_table import Table
from embedkit.errors import EmbedkitError
from embedkit.files.vote_tree import Branch, VoteTree

EVERYBODY = "total_classifications"


def count_columns(table: Table, tree: VoteTree) -> tuple[str, ...]:
    """Return the columns of a table that `asked_of` reads."""
    found = [name for branch in tree.branches for name in _columns(table, branch, tree)]
    return tuple(dict.fromkeys([*found, *([EVERYBODY] if EVERYBODY in table.columns else [])]))


def asked_of(table: Table, tree: VoteTree, shares: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return how many people answered the question of each of the (n, t) shares; None where nothing says so.

    A question's ``NAME_total-votes`` says it (Galaxy Zoo DECaLS), else the counts of its answers,
    ``NAME_count``, are summed (Galaxy Zoo 2, Willett et al. 2013). Else it is everybody's
    ``total_classifications`` times the share of the answer that leads to the question.

    Raises
    ------
    EmbedkitError
        A count below 0, or one that is no number.
    """
    everybody = _counted(table, (EVERYBODY,)) if EVERYBODY in table.columns else None
    found = np.full(shares.shape, np.nan)
    for branch in tree.branches:
        columns = _columns(table, branch, tree)
        if columns:
            found[:, list(branch.columns)] = _counted(table, columns)[:, None]
        elif everybody is not None:
            of_all = 1.0 if branch.parent is None else shares[:, branch.parent]
            found[:, list(branch.columns)] = (everybody * of_all)[:, None]
    return None if np.isnan(found).all() else found


def _columns(table: Table, branch: Branch, tree: VoteTree) -> tuple[str, ...]:
    total = f"{branch.question.name}_total-votes"
    if total in table.columns:
        return (total,)
    counts = tuple(f"{tree.answers[column].name}_count" for column in branch.columns)
    return counts if all(name in table.columns for name in counts) else ()


def _counted(table: Table, names: tuple[str, ...]) -> NDArray[np.float64]:
    counts = np.stack([table.numbers(name, "") for name in names], axis=1)
    with np.errstate(invalid="ignore"):
        below = counts < 0
    if below.any():
        row, column = (int(one) for one in np.argwhere(below)[0])
        raise EmbedkitError(
            f"{table.path}, line {table.lines[row]}: {names[column]} is {counts[row, column]:g}, and nobody "
            "is counted below 0. Correct it, or leave it empty."
        )
    total: NDArray[np.float64] = counts.sum(axis=1)
    return total
