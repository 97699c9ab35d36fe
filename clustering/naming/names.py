"""A table of groups that somebody has named, held against the clustering that it is meant for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clustering.matching import I64
from embedkit.errors import EmbedkitError, listed
from embedkit.files.group_tables import GROUPS
from embedkit.files.rows import MOST_CHARACTERS
from embedkit.files.tables import Table, read_table
from embedkit.files.words import label_words, taken_for_nothing


def read_names(path: Path, n_groups: int, notes: list[str]) -> tuple[Table, dict[int, str]]:
    """Return the table, and the name of each group that has one.

    Names are read as labels are everywhere: without blanks around them, and ``none`` or ``nan`` is no name.

    Raises
    ------
    EmbedkitError
        No such table, a group that there is not, or no name at all.
    """
    table = read_table(path, GROUPS)
    numbers, given = table["group"], table["name"].tolist()
    strange = sorted(set(numbers.tolist()) - set(range(n_groups)))
    if strange:
        raise EmbedkitError(
            f"{path}: group {listed(list(map(str, strange)))}: the clustering has no such group, only 0 to "
            f"{n_groups - 1}. Name the clustering that the table was written for, or take those lines out."
        )
    words = label_words(given)
    names = {int(group): name for group, name in zip(numbers, words, strict=True) if name}
    if not names:
        raise EmbedkitError(
            f"{path}: its column name is empty throughout. Write in it what the images of each group are."
        )
    longest = max(names.values(), key=len)
    if len(longest) > MOST_CHARACTERS:  # a label that no verb would read
        raise EmbedkitError(
            f"{path}: the name {longest[:40]!r}... has {len(longest):,} characters; at most "
            f"{MOST_CHARACTERS:,} are taken. Shorten it."
        )
    for word, times in taken_for_nothing(given, words).items():
        notes.append(f"{word!r}, {times} times in {path}, is taken for no name.")
    return table, names


def check_same_groups(path: Path, table: Table, ids: NDArray[np.str_], clusters: I64) -> None:
    """Refuse a table whose central images are in other groups than it says: it is of another clustering.

    Images that are not among `ids` (n,), in the groups `clusters` (n,), tell nothing.
    """
    central = table.repeated("central")
    if not central:
        return
    groups = np.repeat(table["group"], len(central))
    named = np.column_stack(list(central.values())).ravel()
    order = np.argsort(ids)
    at = order[np.minimum(np.searchsorted(ids, named, sorter=order), len(ids) - 1)]
    there = np.flatnonzero((ids[at] == named) & (named != ""))
    wrong = there[clusters[at[there]] != groups[there]]
    if 2 * len(wrong) > len(there):
        one = wrong[0]
        raise EmbedkitError(
            f"{path}: written for another clustering. Of the {len(there):,} images that it lists "
            f"{len(wrong):,} are in other groups here: {str(named[one])!r} is in group {clusters[at[one]]}, "
            f"not {groups[one]}. Name the clustering that it was written for."
        )


def check_not_named(path: Path) -> None:
    """Refuse to replace a table that somebody wrote names in.

    Raises
    ------
    EmbedkitError
        It has names.
    """
    try:
        table = read_table(path, GROUPS)
    except EmbedkitError:
        return
    if any(label_words(table["name"].tolist())):
        raise EmbedkitError(
            f"{path}: somebody named groups in it. Give it as --names, or name another file for -o."
        )
