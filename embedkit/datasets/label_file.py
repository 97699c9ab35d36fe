"""`--labels FILE`: what a table, an array or a list of lines says of rows that are known already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.annotations import check_size, decoded
from embedkit.datasets.arrays import NO_OBJECTS
from embedkit.datasets.named_columns import LABELS, Annotations, annotations_in, as_text, known_as
from embedkit.datasets.npz import stored_array
from embedkit.datasets.text_table import read_table
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.regular import check_input, read_bytes

TABLES = (".csv", ".tsv")
_FIX = "Give a .csv with a header, a .txt with one entry a line, or a .npy."
_MOST_BYTES = 2**30


def read_label_file(
    path: Path, n: int, ids: NDArray[np.str_] | None, *, target_columns: tuple[str, ...] = ()
) -> Annotations:
    """Read labels, and what else stands beside them, for n rows.

    Parameters
    ----------
    path
        A table with a header, whose rows are found by id; or a .txt or .npy of n entries in the order of
        the rows.
    n
        Number of rows.
    ids
        Of the rows, where they have names of their own. Without them a table has to be of n rows in the
        same order, and its ids are taken.
    target_columns
        Columns of the table that are numbers to predict.

    Raises
    ------
    EmbedkitError
        No such file, another number of entries, an id twice, or none of the ids.
    """
    if path.suffix.lower() not in TABLES:
        if target_columns:
            raise UsageError(f"{path}: only a table has columns for --target-columns. Give a .csv.")
        values = read_entries(path, n, "--labels")
        return Annotations({"labels": values}, {"labels": path.name})
    check_input(path, _FIX)
    table = read_table(path)
    columns = {name: np.array(cells, dtype=np.str_) for name, cells in table.columns.items()}
    column, theirs = _id_column(columns, ids)
    named = [name for name in columns if name != column]
    labels = known_as(named, LABELS) or (named[0] if len(named) == 1 and not target_columns else None)
    if labels is None and not target_columns:
        raise UsageError(
            f"{path}: none of its columns {', '.join(columns)} is called label. Rename the one that is, or "
            "name numbers to predict with --target-columns."
        )
    found = annotations_in(
        {name: columns[name] for name in named}, str(path), labels=labels, target_columns=target_columns
    )
    found.arrays.pop("ids", None)
    if ids is None or column is None:
        _check_length(path, n, len(table))
        if column is not None:
            found.arrays["ids"], found.taken["ids"] = theirs, column
        return found
    return Annotations(_placed(path, found.arrays, theirs, ids), found.taken)


def read_entries(path: Path, n: int, option: str) -> NDArray[Any]:
    """Read n entries in the order of the rows: lines of text, or an array."""
    check_input(path, _FIX)
    if path.suffix.lower() == ".npy":
        stored = stored_array(path)
        if stored.objects:
            raise EmbedkitError(f"{path}: {NO_OBJECTS}")
        _check_length(path, n, stored.shape[0] if stored.shape else 0)
        name = option.removeprefix("--")
        check_size(name, stored.shape, stored.dtype, n, str(path))
        values: NDArray[Any] = decoded(np.array(stored.read()), name, str(path))
    elif path.suffix.lower() in (".txt", ""):
        try:
            text = read_bytes(path, _FIX, at_most=_MOST_BYTES).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise EmbedkitError(f"{path}: not UTF-8 text ({error}). Save it again in UTF-8.") from error
        values = np.array([line.strip() for line in text.splitlines()], dtype=np.str_)
    else:
        raise UsageError(f"{option} {path}: not known by its ending. {_FIX}")
    _check_length(path, n, len(values) if values.ndim else 0)
    return values


def read_id_file(path: Path, n: int) -> NDArray[np.str_]:
    """Read the ids of n rows in their order, of a table's id column or of lines."""
    if path.suffix.lower() not in TABLES:
        return as_text(read_entries(path, n, "--ids"))
    check_input(path, _FIX)
    table = read_table(path)
    name = next(iter(table.columns)) if len(table.columns) == 1 else None
    found = annotations_in(
        {name: np.array(cells, dtype=np.str_) for name, cells in table.columns.items()}, str(path), ids=name
    )
    if "ids" not in found.arrays:
        raise UsageError(
            f"{path}: none of its columns {', '.join(table.columns)} is called id or file. Rename the one."
        )
    _check_length(path, n, len(table))
    return found.arrays["ids"]


def _check_length(path: Path, n: int, found: int) -> None:
    if found != n:
        raise EmbedkitError(
            f"{path}: {found:,} entries for {n:,} rows. Without ids on both sides they are matched by order: "
            "give one entry a row, or a table with a column id and vectors with ids."
        )


def _id_column(
    columns: dict[str, NDArray[np.str_]], ids: NDArray[np.str_] | None
) -> tuple[str | None, NDArray[np.str_]]:
    """Return the column of ids: the one that has most of the rows' ids, else by its name."""
    none = np.array([], dtype=np.str_)
    if ids is not None:
        known = set(ids.tolist())
        hits = {name: sum(cell in known for cell in cells.tolist()) for name, cells in columns.items()}
        best = max(hits, key=lambda name: hits[name])
        if hits[best]:
            return best, columns[best]
    found = annotations_in(columns, "")
    if "ids" not in found.arrays:
        return None, none
    return found.taken["ids"], found.arrays["ids"]


def _placed(
    path: Path, arrays: dict[str, NDArray[Any]], theirs: NDArray[np.str_], ids: NDArray[np.str_]
) -> dict[str, NDArray[Any]]:
    """Put a table's values where the rows of their ids are; a row without a line has none."""
    line: dict[str, int] = {}
    for number, name in enumerate(theirs.tolist()):
        if line.setdefault(name, number) != number:
            raise EmbedkitError(f"{path}: the id {name!r} stands in it twice. Remove one of the lines.")
    place = np.array([line.get(name, -1) for name in ids.tolist()], dtype=np.int64)
    there = place >= 0
    if not there.any():
        raise EmbedkitError(
            f"{path}: none of its ids, such as {str(theirs[0])!r}, is among the rows, which are called "
            f"{str(ids[0])!r} and so on. Write the ids alike."
        )
    if not there.all():
        note(f"{path}: {int((~there).sum()):,} of {len(ids):,} rows have no line, and so no label.")
    unused = len(theirs) - int(there.sum())
    if unused:
        note(f"{path}: {unused:,} of its {len(theirs):,} lines are of no row.")
    placed = {}
    for name, values in arrays.items():
        if name in ("class_names", "target_names"):
            placed[name] = values
            continue
        empty = {"f": np.nan, "i": -1, "u": -1}.get(values.dtype.kind, "")
        kind = np.int64 if values.dtype.kind == "u" else values.dtype
        full = np.full((len(ids), *values.shape[1:]), empty, dtype=kind)
        full[there] = values[place[there]]
        placed[name] = full
    return placed
