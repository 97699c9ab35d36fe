"""What a map can be coloured by: labels, clusters, targets, split, group, sky position, neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.files.rows import Rows
from embedkit.files.words import SPLITS

# Beyond this many, categories can't be told apart on a map even by colour and symbol together.
MAX_CATEGORIES = 60
# A group column in which nearly every row is its own group says nothing as a colour.
MAX_GROUP_SHARE = 0.5


@dataclass(frozen=True)
class Category:
    """A column with a class a row.

    Parameters
    ----------
    key
        Name on the command line.
    title
        Name in the page.
    section
        Heading in the page's list of columns.
    codes : (n,) int64
        Index into `names`; -1 where the row has none.
    names
        The categories.
    missing
        What -1 stands for: ``no label``, ``noise``, ...
    stands_for
        The class that each category stands for, as a cluster for the class that it was matched to; empty
        where it stands for itself.
    """

    key: str
    title: str
    section: str
    codes: NDArray[np.int64]
    names: tuple[str, ...]
    missing: str
    stands_for: tuple[str, ...] = ()

    @property
    def alike(self) -> tuple[str, ...]:
        """`stands_for`, an entry a category."""
        return self.stands_for or ("",) * len(self.names)


@dataclass(frozen=True)
class Number:
    """A column with a number a row; NaN where it is missing.

    Parameters
    ----------
    key, title, section
        As in `Category`.
    values : (n,) float32
        The numbers.
    period
        After so much a number is the same again, as an angle; 0 where none is.
    """

    key: str
    title: str
    section: str
    values: NDArray[np.float32]
    period: float = 0.0


Column = Category | Number


def category(key: str, values: Sequence[str], *, title: str, section: str, missing: str) -> Category:
    """Make a column of strings; the empty string is missing."""
    array = np.asarray(values, dtype=np.str_)
    names, codes = np.unique(array[array != ""], return_inverse=True)
    full = np.full(len(array), -1, np.int64)
    full[array != ""] = codes
    return Category(key, title, section, full, tuple(str(name) for name in names), missing)


def limited(column: Category) -> Category:
    """Merge all but the 59 largest of more than 60 categories into ``other``."""
    if len(column.names) <= MAX_CATEGORIES:
        return column
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.names))
    keep = np.sort(np.argsort(-counts, kind="stable")[: MAX_CATEGORIES - 1])
    new_code = np.full(len(column.names), len(keep), np.int64)
    new_code[keep] = np.arange(len(keep))
    codes = np.where(column.codes < 0, -1, new_code[column.codes])
    names = (*(column.names[i] for i in keep), f"other ({len(column.names) - len(keep)} more)")
    alike = (*(column.alike[i] for i in keep), "")
    return Category(column.key, column.title, column.section, codes, names, column.missing, alike)


def annotation_columns(rows: Rows) -> list[Column]:
    """Return what the feature file itself knows of its rows."""
    columns: list[Column] = []
    if rows.labels is not None and rows.class_names:
        columns.append(
            Category(
                "label", "label", "Annotations", rows.labels.copy(), rows.class_names, missing="no label"
            )
        )
    if rows.split is not None and (rows.split != "").any():
        names = tuple(name for name in SPLITS if (rows.split == name).any())
        codes = np.array([names.index(str(s)) if s else -1 for s in rows.split], np.int64)
        columns.append(Category("split", "split", "Annotations", codes, names, missing="no split"))
    if rows.group is not None and 1 < len(np.unique(rows.group)) <= max(2, MAX_GROUP_SHARE * len(rows)):
        columns.append(
            category("group", rows.group.tolist(), title="group", section="Annotations", missing="no group")
        )
    if rows.coordinates is not None:
        for axis, (key, title) in enumerate((("ra", "right ascension (°)"), ("dec", "declination (°)"))):
            values = rows.coordinates[:, axis].astype(np.float32)
            columns.append(Number(key, title, "Annotations", values))
    if rows.targets is not None:
        for axis, name in enumerate(rows.target_names):
            columns.append(Number(name, name, "Targets", rows.targets[:, axis]))
    return columns


def agreement_column(labels: NDArray[np.int64], neighbours: NDArray[np.int64]) -> Number:
    """Return the share of each row's neighbours that bear its own label.

    Parameters
    ----------
    labels : (n,) int64
        -1 where a row has no label: its share is NaN, and such neighbours don't count.
    neighbours : (n, k) int64
        Row numbers.
    """
    known = labels[neighbours] >= 0
    same = (labels[neighbours] == labels[:, None]) & known
    n_known = known.sum(axis=1)
    share = np.divide(same.sum(axis=1), n_known, out=np.full(len(labels), np.nan), where=n_known > 0)
    share[labels < 0] = np.nan
    return Number(
        "knn-agreement",
        f"agreement with {neighbours.shape[1]} nearest neighbours",
        "Features",
        share.astype(np.float32),
    )
