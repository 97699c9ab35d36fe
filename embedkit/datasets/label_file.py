"""`--labels FILE`: what a table, an array or a list of lines says of rows that are known already."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.annotations import check_size, decoded
from embedkit.datasets.arrays import NO_OBJECTS
from embedkit.datasets.class_labels import class_labels, of_flags
from embedkit.datasets.named_columns import (
    IDS,
    LABELS,
    Annotations,
    annotations_in,
    as_labels,
    as_numbers,
    as_text,
    known_as,
)
from embedkit.datasets.npz import stored_array, stored_arrays
from embedkit.datasets.text_table import read_table
from embedkit.errors import EmbedkitError, UsageError, listed
from embedkit.files.regular import check_input, read_bytes
from embedkit.files.tables import restored
from embedkit.files.words import label_words
from embedkit.options import nearest

ARRAYS = ".npz"
TABLES = (".csv", ".tsv", ARRAYS)
_OF_CLASSES = ("class_names", "target_names")  # not of lines
_COMPARED = 20_000  # ids that a near miss is looked for among
_FIX = "Give a .csv with a header, a .npz, a .txt with one entry a line, or a .npy."
_FIX_BY_ID = "Give a .csv, .tsv or .npz with a column of ids and one called label."
_MOST_BYTES = 2**30


@dataclass(frozen=True)
class LabelsById:
    """What a table says of n rows.

    Parameters
    ----------
    labels : (n,) int64
        Index into `class_names`; -1 where the table has no label.
    class_names
        Of the classes.
    column
        What the column was called.
    remarks
        How many rows have a label, and what of the table was not used.
    """

    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    column: str
    remarks: tuple[str, ...]


def check_table(path: Path) -> None:
    """Refuse what is no table of labels by id, or is not there."""
    if path.suffix.lower() not in TABLES:
        raise UsageError(
            f"--labels {path}: not a table by its ending. {_FIX_BY_ID} Labels without ids, in the order of "
            "the rows, go into a feature file with `embedkit import`."
        )
    if not path.exists():
        raise UsageError(f"--labels {path}: no such file. {_FIX_BY_ID}")


def read_labels_by_id(path: Path, ids: NDArray[np.str_], where: str) -> LabelsById:
    """Read the labels that a table has for rows of known ids.

    Parameters
    ----------
    path
        A .csv or .tsv with a header, or a .npz: a column of ids and one of labels.
    ids : (n,) str
        Of the rows.
    where
        Names the rows in a message.

    Raises
    ------
    UsageError
        No table, or no column that is called label.
    EmbedkitError
        No such file, an id of two labels, none of the ids, or no label at all.
    """
    check_table(path)
    columns = _columns(path)
    column, theirs = _id_column(path, columns, ids)
    named = [name for name in columns if name != column]
    of_labels = _one_hot(columns, named) or _label_column(path, named)
    if column is None:  # the names of none are known, so its first are shown
        others = [name for name in named if name != of_labels]
        if not others:
            raise EmbedkitError(f"{path}: no column of ids beside {of_labels!r}. {_FIX_BY_ID}")
        column, theirs = others[0], as_text(columns[others[0]])
    class_names = columns.get(known_as(named, ("class_names",)) or "", np.array([], dtype=np.str_))
    values = as_labels(columns[of_labels])
    words = np.array(label_words(values.tolist())) if values.dtype.kind in "US" else values
    place, remarks = _places(path, {"label": words}, theirs, ids, where)
    labels, names = class_labels(
        _placed({"labels": values}, place)["labels"], tuple(as_text(class_names).tolist()), str(path)
    )
    if (labels >= max(len(names), 1)).any():
        raise EmbedkitError(
            f"{path}: label {labels.max()} has none of its {len(names)} class_names. Name all."
        )
    if labels.ndim > 1:
        raise EmbedkitError(f"{path}: {of_labels} has rows of several classes. Give one class a row.")
    n_labelled = int((labels >= 0).sum())
    if not n_labelled:
        raise EmbedkitError(
            f"{path}: column {of_labels!r} has no label for any row of {where}. Fill it, or name "
            "another table."
        )
    rest = "every row" if n_labelled == len(ids) else f"{n_labelled:,} of {len(ids):,} rows"
    said = f"Labels of {path.name}, column {of_labels!r}: {rest} of {len(names):,} classes"
    said += "." if n_labelled == len(ids) else "; the others have none."
    unused = [name for name in named if name.strip() and name not in (of_labels, column)]
    unused = [name for name in unused if name.casefold() not in _OF_CLASSES]
    if unused:
        remarks = [*remarks, f"{path}: not used: {listed(unused, 8)}."]
    return LabelsById(labels, names, of_labels, (said, *remarks))


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
    columns = _columns(path)
    column, theirs = _id_column(path, columns, ids)
    named = [name for name in columns if name != column]
    if target_columns:
        labels = known_as(named, LABELS)
    else:
        labels = _one_hot(columns, named) or _label_column(path, named, targets=True)
    found = annotations_in(
        {name: columns[name] for name in named}, str(path), labels=labels, target_columns=target_columns
    )
    found.arrays.pop("ids", None)
    if ids is None or column is None:
        lines = columns[column or labels or target_columns[0]]
        _check_length(path, n, len(lines))
        if column is not None:
            found.arrays["ids"], found.taken["ids"] = theirs, column
        return found
    of_lines = {what: values for what, values in found.arrays.items() if what not in _OF_CLASSES}
    place, remarks = _places(path, of_lines, theirs, ids, "the vectors")
    n_without = int((place < 0).sum())
    if n_without:
        note(f"{path}: {n_without:,} of {len(ids):,} rows have no line, and so no label.")
    for remark in remarks:
        note(remark)
    return Annotations(found.arrays | _placed(of_lines, place), found.taken)


def _columns(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a table, or the arrays of a .npz that can be some."""
    check_input(path, _FIX)
    if path.suffix.lower() != ARRAYS:
        table = read_table(path).columns
        # A table that embedkit wrote, or the report's page, holds nothing that a spreadsheet would run.
        return {
            name: np.array([restored(cell) for cell in cells], dtype=np.str_) for name, cells in table.items()
        }
    stored = stored_arrays(path)
    labels = known_as(list(stored), LABELS)
    columns = {}
    for name, array in stored.items():
        if len(array.shape) == 1 or (name == labels and len(array.shape) == 2):
            if array.objects:
                raise EmbedkitError(f"{path}: {name} {NO_OBJECTS}")
            if array.dtype.kind not in "USbiuf" and name != labels:  # such as times
                continue
            check_size(name, array.shape, array.dtype, array.shape[0], str(path))
            values = decoded(np.array(array.read()), name, str(path))
            columns[name] = values.reshape(-1) if values.shape[1:] == (1,) else values
    return columns


def _label_column(path: Path, named: Sequence[str], *, targets: bool = False) -> str:
    """Return the column of labels: the one called so, or the only one."""
    ours = [name for name in named if name.casefold() not in _OF_CLASSES]
    found = known_as(ours, LABELS) or (ours[0] if len(ours) == 1 else None)
    if found is None:
        other = ", or name numbers to predict with --target-columns" * targets
        if not ours:
            raise UsageError(f"{path}: no column of labels. Add one called label.")
        there = f"none of its columns {listed(ours, 8)} is called label"
        raise UsageError(f"{path}: {there}. Rename the one that is{other}.")
    return found


def _one_hot(columns: dict[str, NDArray[Any]], named: list[str]) -> str | None:
    """Make one column of labels of those that have a class each: 0 and 1 alone, one 1 a row; None without.

    Both arguments are changed: it takes their place.
    """
    ours = [name for name in named if name.casefold() not in _OF_CLASSES and columns[name].ndim == 1]
    if known_as(ours, LABELS) is not None:
        return None
    read = {name: as_numbers(as_text(columns[name])) for name in ours if columns[name].dtype.kind in "Uiuf"}
    flags = {name: values for name, values in read.items() if values is not None and _are_flags(values)}
    classes = of_flags(flags)
    if classes is None:
        return None
    label = f"{', '.join(list(flags)[:4])}{', ...' * (len(flags) > 4)} (a class each)"
    columns[label] = classes
    named[:] = [*(name for name in named if name not in flags), label]
    return label


def _are_flags(values: NDArray[np.float64]) -> bool:
    return bool(np.isin(values, (0, 1)).all())


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
    columns = _columns(path)
    name = next(iter(columns)) if len(columns) == 1 else known_as(list(columns), IDS)
    if name is None:
        there = (
            f"none of its columns {listed(list(columns), 8)} is called id or file" if columns else "no column"
        )
        raise UsageError(f"{path}: {there}. Rename the one.")
    ids = as_text(columns[name])
    _check_length(path, n, len(ids))
    return ids


def _check_length(path: Path, n: int, found: int) -> None:
    if found != n:
        raise EmbedkitError(
            f"{path}: {found:,} entries for {n:,} rows. Without ids on both sides they are matched by order: "
            "give one entry a row, or a table with a column id and vectors with ids."
        )


def _id_column(
    path: Path, columns: Mapping[str, NDArray[Any]], ids: NDArray[np.str_] | None
) -> tuple[str | None, NDArray[np.str_]]:
    """Return the column of ids: the one that names most of the rows, else by its name."""
    texts = {name: as_text(values) for name, values in columns.items() if _may_be_ids(name, values)}
    called = known_as(list(texts), IDS)
    if ids is not None and texts:
        known = set(ids.tolist())
        # Rows that it names, each once: a column of labels may hold numbers that are ids too.
        hits = {name: len(known.intersection(cells.tolist())) for name, cells in texts.items()}
        best = max(hits, key=lambda name: (hits[name], name == called))
        if hits[best]:
            if best in known and path.suffix.lower() != ARRAYS:
                raise EmbedkitError(
                    f"{path}: its first line looks like data ({best}): put a header above it."
                )
            return best, texts[best]
    return (None, np.array([], dtype=np.str_)) if called is None else (called, texts[called])


def _may_be_ids(name: str, values: NDArray[Any]) -> bool:
    return values.ndim == 1 and values.dtype.kind in "USiu" and name.casefold() not in _OF_CLASSES


def _places(
    path: Path,
    of_lines: Mapping[str, NDArray[Any]],
    theirs: NDArray[np.str_],
    ids: NDArray[np.str_],
    where: str,
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the line of each row (n,), -1 where it has none; and what is worth saying of other lines.

    An id may stand in several lines that say the same of it.
    """
    for what, values in of_lines.items():
        if len(values) != len(theirs):
            raise EmbedkitError(
                f"{path}: {len(values):,} entries of {what} for {len(theirs):,} ids. Save as many of both."
            )
    line: dict[str, int] = {}
    for number, name in enumerate(theirs.tolist()):
        first = line.setdefault(name, number)
        for what, values in of_lines.items() if first != number else ():
            one, other = repr(values[first].tolist()), repr(values[number].tolist())
            if one != other:
                raise EmbedkitError(
                    f"{path}: the id {name!r} stands in it twice, with the {what} {one} and {other}. Remove "
                    "one of the lines."
                )
    place = np.array([line.get(name, -1) for name in ids.tolist()], dtype=np.int64)
    if not len(theirs):
        raise EmbedkitError(f"{path}: no line. Is it the right file?")
    known = set(ids.tolist())
    strange = [name for name in line if name not in known]
    if not (place >= 0).any():
        raise EmbedkitError(
            f"{path}: none of its {len(line):,} ids, such as {strange[0]!r}, is among those of {where}, "
            f"which are called {str(ids[0])!r} and so on.{_near(strange, ids)} Write the ids alike."
        )
    if not strange:
        return place, []
    return place, [
        f"{path}: {len(strange):,} of its {len(line):,} ids are of no row of {where}, such as "
        f"{listed(list(map(repr, strange)), 3)}.{_near(strange, ids)}"
    ]


def _near(strange: Sequence[str], ids: NDArray[np.str_]) -> str:
    """Say what would make ids of a table those of rows, or which is the nearest."""
    ways: dict[str, Callable[[str], str]] = {
        "with / for \\": lambda name: name.replace("\\", "/"),
        "without folders": lambda name: name.replace("\\", "/").rpartition("/")[2],
        "without endings": lambda name: name.rpartition(".")[0],
        "without folders and endings": lambda name: PurePosixPath(name.replace("\\", "/")).stem,
        "in small letters": str.casefold,
        "with accents composed": lambda name: unicodedata.normalize("NFC", name),
        "without zeros and blanks in front": lambda name: name.strip().lstrip("0"),
    }
    for words, way in ways.items():
        there = {way(name) or name for name in ids.tolist()}
        agree = sum((way(name) or name) in there for name in strange)
        if agree:
            return f" {words.capitalize()}, {agree:,} of them would agree."
    return nearest(strange[0], ids[:_COMPARED].tolist())


def _placed(of_lines: Mapping[str, NDArray[Any]], place: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Put a table's values where the rows of their ids are; a row without a line has none."""
    there = place >= 0
    placed = {}
    for name, values in of_lines.items():
        empty = {"f": np.nan, "b": -1, "i": -1, "u": -1}.get(values.dtype.kind, "")
        if name == "labels" and values.ndim > 1:  # a column a class
            empty = 0
        kind = np.int64 if values.dtype.kind in "bu" else values.dtype
        full = np.full((len(place), *values.shape[1:]), empty, dtype=kind)
        full[there] = values[place[there]]
        placed[name] = full
    return placed
