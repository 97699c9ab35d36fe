"""The density tree that a clustering left beside its assignments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.group_tables import TREE
from embedkit.files.tables import Table, read_table

AGAIN = "Run `embedkit cluster` again."


@dataclass(frozen=True)
class DensityTree:
    """Groups of rows, as `embedkit.files.group_tables.TREE` has them, and where each row of a page was last.

    Parameters
    ----------
    parent : (m,) int64
        -1 of group 0, which is all rows.
    birth, death, stability : (m,) float64
    size : (m,) int64
        Rows of the file, as the group parts.
    cluster : (m,) int64
        -1 where the group is none.
    node : (n,) int64
        The last group of each row; -1 where the assignments don't mention the row.
    density : (n,) float64
        At which it left that group; NaN where it is in none.
    """

    parent: NDArray[np.int64]
    birth: NDArray[np.float64]
    death: NDArray[np.float64]
    stability: NDArray[np.float64]
    size: NDArray[np.int64]
    cluster: NDArray[np.int64]
    node: NDArray[np.int64]
    density: NDArray[np.float64]


def read_tree(
    path: Path, assignments: Table, rows: NDArray[np.int64], inside: NDArray[np.int64], n: int
) -> DensityTree:
    """Read the table of a tree.

    Parameters
    ----------
    path
        The file.
    assignments
        Of the same clustering.
    rows, inside : (r,) int64
        Rows of the page that the assignments have, and where they have them.
    n
        Rows of the page.

    Raises
    ------
    EmbedkitError
        No such file, no tree in it, or assignments of another tree.
    """
    table = read_table(path, TREE)
    m = len(table)
    if "node" not in assignments or "density" not in assignments:
        raise EmbedkitError(f"{path}: its assignments don't say in which group each row is. {AGAIN}")
    numbers = np.arange(m)
    if not m or (table["node"] != numbers).any() or (table["parent"] >= numbers).any():
        raise EmbedkitError(f"{path}: its groups are not numbered from 0, each after its parent. {AGAIN}")
    if (table["parent"][1:] < 0).any() or (table["rows"] < 1).any():
        raise EmbedkitError(f"{path}: a group without parent or rows. {AGAIN}")
    found = assignments["node"][inside]
    if (found < 0).any() or (found >= m).any():
        raise EmbedkitError(f"{path}: {m} groups, and assignments to others. {AGAIN}")
    if any((column < 0).any() for column in (table["birth"], table["death"], assignments["density"][inside])):
        raise EmbedkitError(f"{path}: a density below 0, there or in its assignments. {AGAIN}")
    node, density = np.full(n, -1, np.int64), np.full(n, np.nan)
    node[rows], density[rows] = found, assignments["density"][inside]
    return DensityTree(
        parent=table["parent"],
        birth=table["birth"],
        death=table["death"],
        stability=table["stability"],
        size=table["rows"],
        cluster=table["cluster"],
        node=node,
        density=density,
    )
