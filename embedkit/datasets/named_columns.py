"""Which columns of a table, or arrays of a file, say what of its rows: by name, or as the user names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.csv_file import FILE_COLUMNS
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.rows import text_array
from embedkit.files.words import label_words, number
from embedkit.options import nearest

# Tried in this order, in any case of letters. pandas writes its index without a name into CSV, and as
# __index_level_0__ into Parquet.
IDS = (
    *("ids", "id", *FILE_COLUMNS, "filenames", "files", "paths", "image_id", "objid", "names", "name"),
    *("specobjid", "dr7objid", "dr8objid", "object_id", "objectid", "galaxyid", "galaxy_id", "source_id"),
    *("targetid", "asset_id", "sample_id", "file_id", "file_ids", "uid", "iauname", "__index_level_0__"),
    *("index", "unnamed: 0", ""),
)
LABELS = ("labels", "label", "class", "y")
OTHERS = ("split", "group", "ra", "dec", "targets", "target_names", "class_names", "coordinates")


@dataclass(frozen=True)
class Annotations:
    """What columns say of n rows.

    Parameters
    ----------
    arrays
        By what they are, as `embedkit.datasets.annotations.make_rows` takes them.
    taken
        What each of them was called in the file.
    """

    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)


def known_as(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    """Return the first of the wanted names that is there, in whatever case."""
    there = {name.casefold(): name for name in reversed(names)}
    return next((there[name] for name in wanted if name in there), None)


def column(columns: Mapping[str, NDArray[Any]], name: str, option: str, where: str) -> NDArray[Any]:
    """Return a column that the user has named with an option; raises `UsageError` that lists those there."""
    if name not in columns:
        raise UsageError(
            f"{where}: no column, array or file {name!r} for {option}.{nearest(name, columns)} There are "
            f"{', '.join(map(repr, columns)) or 'none'}."
        )
    return columns[name]


def annotations_in(
    columns: Mapping[str, NDArray[Any]],
    where: str,
    *,
    ids: str | None = None,
    labels: str | None = None,
    target_columns: Sequence[str] = (),
) -> Annotations:
    """Find ids, labels, split, group, positions and targets among columns.

    Parameters
    ----------
    columns
        Name to (n, ...) values.
    where
        Names the file in a message.
    ids, labels
        Names that the user has given.
    target_columns
        Columns of numbers to predict.
    """
    found = Annotations()

    def take(what: str, name: str | None, values: NDArray[Any]) -> None:
        found.arrays[what] = values
        found.taken[what] = str(name)

    name = ids or known_as(list(columns), IDS)
    if name is not None:
        take("ids", name, as_text(column(columns, name, "--ids", where)))
    name = labels or known_as(list(columns), LABELS)
    if name is not None:
        take("labels", name, as_labels(column(columns, name, "--labels", where)))
    for what in OTHERS:
        name = known_as(list(columns), (what,))
        if name is not None and what not in target_columns:
            take(what, name, columns[name])
    for what in ("split", "group", "class_names", "target_names"):
        if what in found.arrays:
            found.arrays[what] = as_text(found.arrays[what], what)
    if target_columns:
        values = [
            numbers(column(columns, one, "--target-columns", where), one, where) for one in target_columns
        ]
        take("targets", ", ".join(target_columns), np.stack(values, axis=1))
        found.arrays["target_names"] = np.array(list(target_columns))
    _positions(found, where)
    return found


def _positions(found: Annotations, where: str) -> None:
    """Make numbers of right ascension and declination; what are none, such as 12:30:49, are left out."""
    both = found.arrays.pop("coordinates", None)
    if both is not None and both.ndim == 2 and both.shape[1] == 2:
        found.arrays["ra"], found.arrays["dec"] = both[:, 0], both[:, 1]
    try:
        for name in ("ra", "dec"):
            if name in found.arrays:
                found.arrays[name] = numbers(found.arrays[name], name, where)
    except EmbedkitError:
        for name in ("ra", "dec"):
            found.arrays.pop(name, None)
            found.taken.pop(name, None)


def as_text(values: NDArray[Any], name: str = "ids") -> NDArray[np.str_]:
    """Return values as text; whole numbers without a point, bytes as UTF-8."""
    if values.dtype.kind == "f" and (np.abs(values) < 2**53).all() and (values == np.round(values)).all():
        return values.astype(np.int64).astype(np.str_)
    return text_array(values, name)


def as_labels(values: NDArray[Any]) -> NDArray[Any]:
    """Return labels as whole numbers where text is nothing but these, so that class 10 comes after 9.

    Numbers are written in one way only: 007 and 7 are two names.
    """
    if values.dtype.kind not in "USO":
        return values
    text = text_array(values, "labels")
    if text.ndim != 1:
        return text
    words = label_words(text.tolist())
    if not all(word == "" or _is_whole(word) for word in words) or not any(words):
        return text
    return np.array([int(word) if word else -1 for word in words], dtype=np.int64)


def _is_whole(cell: str) -> bool:
    return cell.isascii() and cell.removeprefix("-").isdigit() and len(cell) < 19 and str(int(cell)) == cell


def numbers(values: NDArray[Any], name: str, where: str) -> NDArray[np.float64]:
    """Return a column as numbers; an empty cell is NaN.

    Raises
    ------
    EmbedkitError
        A cell that is none; the message names it.
    """
    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    read = as_numbers(values)
    if read is None:
        bad = next(
            str(cell) for cell in values.tolist() if cell and as_numbers(np.array([str(cell)])) is None
        )
        raise EmbedkitError(
            f"{where}: {bad!r} in column {name!r} is no number. Correct it, or leave it empty."
        )
    return read


def as_numbers(cells: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return text as numbers, an empty cell as NaN; None where any is no number."""
    try:
        return np.array([number(cell) if cell else np.nan for cell in cells.tolist()], dtype=np.float64)
    except ValueError:
        return None
