"""The tables that rooms exchange as CSV: each declared once, written and read here.

`TABLES` is their specification; ``docs/reference/tables.md`` says the same for readers.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.aside import aside
from embedkit.files.columns import INTEGER, NUMBER, TEXT, Column, TableKind
from embedkit.files.group_tables import GROUPS, NAMED, TREE
from embedkit.files.regular import check_input, read_bytes

MOST_BYTES = 2**32
_DTYPES: dict[str, type[np.generic]] = {TEXT: np.str_, INTEGER: np.int64, NUMBER: np.float64}
# What a spreadsheet takes for the beginning of a formula, after any apostrophes that stand before it.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


@dataclass(frozen=True)
class Table:
    """A table as read: columns by name.

    Parameters
    ----------
    kind
        What it is.
    columns
        Name in the header to (n,) str, int64 or float64; NaN where a number is not known.
    """

    kind: TableKind
    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    def repeated(self, name: str) -> dict[str, NDArray[Any]]:
        """Return the column of each class or target, by its name."""
        return {
            full.removeprefix(f"{name}:"): values
            for full, values in self.columns.items()
            if full.startswith(f"{name}:")
        }

    def take(self, index: NDArray[Any]) -> Table:
        """Return the rows at `index` (integers or a boolean mask)."""
        return Table(self.kind, {name: values[index] for name, values in self.columns.items()})

    def among(self, ids: NDArray[np.str_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the place in `ids` (n,) of each row that is among them, and which rows those are."""
        row_of = {str(name): row for row, name in enumerate(ids)}
        inside = [i for i, name in enumerate(self["id"].tolist()) if name in row_of]
        rows = [row_of[self["id"][i]] for i in inside]
        return np.array(rows, np.int64), np.array(inside, np.int64)


_ID = Column("id", TEXT, "the row's id in the feature file")
_SPLIT = Column("split", TEXT, "`validation` or `test`; with several folds only `test`")
_FOLD = Column("fold", INTEGER, "number of the split that the row was tested in, from 1")
_DRAW = Column("draw", INTEGER, "number of the draw of a label budget, from 1", optional=True)

ASSIGNMENTS = TableKind(
    "cluster assignments",
    "embedkit cluster",
    (
        _ID,
        Column("cluster", INTEGER, "number of the row's cluster, from 0; -1 is noise"),
        Column(
            "distance",
            NUMBER,
            "to the centre of its cluster, in the space that was clustered; empty for noise",
            optional=True,
            empty=True,
        ),
        Column(
            "probability",
            NUMBER,
            "strength of membership in its cluster, of methods that have one",
            optional=True,
            empty=True,
        ),
        Column(
            "membership",
            NUMBER,
            "how much the row belongs to this cluster; with `--memberships`",
            optional=True,
            repeated=True,
        ),
        Column(
            "class",
            TEXT,
            "of a saved model: the class that the cluster stands for; empty where it stands for none",
            optional=True,
            empty=True,
        ),
        Column("node", INTEGER, "of HDBSCAN: the last group of the density tree that held it", optional=True),
        Column("density", NUMBER, "of HDBSCAN: at which the row left that group", optional=True),
    ),
    key=("id",),
)
CLASS_PREDICTIONS = TableKind(
    "predicted classes",
    "embedkit probe",
    (
        _ID,
        _SPLIT,
        _FOLD,
        _DRAW,
        Column("true", TEXT, "the row's class"),
        Column("predicted", TEXT, "the most probable class"),
        Column("probability", NUMBER, "of the predicted class"),
    ),
    key=("id", "fold", "draw"),
)
TARGET_PREDICTIONS = TableKind(
    "predicted targets",
    "embedkit probe",
    (
        _ID,
        _SPLIT,
        _FOLD,
        _DRAW,
        Column("true", NUMBER, "the row's target", repeated=True),
        Column("predicted", NUMBER, "what the model says of it", repeated=True),
        Column("squared_error", NUMBER, "mean over the targets of the squared difference"),
    ),
    key=("id", "fold", "draw"),
)
APPLIED_CLASSES = TableKind(
    "classes by a saved model",
    "embedkit probe --apply` or `embedkit predict",
    (
        _ID,
        Column("true", TEXT, "the row's class; empty where it has none", optional=True, empty=True),
        Column("predicted", TEXT, "the most probable class"),
        Column("probability", NUMBER, "of the predicted class"),
        Column("probability", NUMBER, "of this class", repeated=True),
    ),
    key=("id",),
)
APPLIED_TARGETS = TableKind(
    "targets by a saved model",
    "embedkit probe --apply` or `embedkit predict",
    (
        _ID,
        Column(
            "true", NUMBER, "the row's target; empty where unknown", optional=True, repeated=True, empty=True
        ),
        Column("predicted", NUMBER, "what the model says of it", repeated=True),
    ),
    key=("id",),
)
LABELLED = TableKind(
    "labels and what to label next",
    "embedkit label",
    (
        _ID,
        Column("label", TEXT, "the class that was given; empty where none was", empty=True),
        Column(
            "next",
            NUMBER,
            "place among the images to label next, from 1; empty for all others",
            empty=True,
        ),
        Column("predicted", TEXT, "the most probable class", optional=True),
        Column("probability", NUMBER, "of the predicted class, calibrated out of fold", optional=True),
        Column(
            "fold",
            INTEGER,
            "of a row with a label, the fold that it was predicted in by a probe that never saw it; "
            "0 where the probe of all labels predicts",
            optional=True,
        ),
        Column("probability", NUMBER, "of this class", optional=True, repeated=True),
    ),
    key=("id",),
)
SIMILAR = TableKind(
    "similar images",
    "embedkit similar",
    (
        _ID,
        Column("place", INTEGER, "from 1, the most similar"),
        Column("similarity", NUMBER, "cosine similarity of the features to the image that was asked about"),
        Column("query", TEXT, "the image that was asked about"),
        Column("label", TEXT, "the row's class; empty where it has none", optional=True, empty=True),
    ),
    key=("id",),
)
OUTLIERS = TableKind(
    "outliers",
    "embedkit outliers",
    (
        _ID,
        Column("place", INTEGER, "from 1, the farthest from all others"),
        Column("distance", NUMBER, "1 less the cosine similarity to its k-th nearest row"),
        Column("nearest", TEXT, "id of its nearest row"),
        Column("label", TEXT, "the row's class; empty where it has none", optional=True, empty=True),
        Column(
            "strength",
            NUMBER,
            "of membership in its cluster, where a clustering with strengths is there; empty where unknown",
            optional=True,
            empty=True,
        ),
    ),
    key=("id",),
)
COPIES = TableKind(
    "pairs of copies",
    "embedkit leaks --pairs",
    (
        Column("kind", TEXT, "`exact`, `near`, `sky`, `identical` or `embedding`: how the two were found"),
        Column("id", TEXT, "id of the row that stands first in the feature file"),
        Column("other", TEXT, "id of the other row"),
    ),
    key=("kind", "id", "other"),
)
TABLES = (
    ASSIGNMENTS,
    CLASS_PREDICTIONS,
    TARGET_PREDICTIONS,
    LABELLED,  # before what it has all columns of
    APPLIED_CLASSES,
    APPLIED_TARGETS,
    SIMILAR,
    OUTLIERS,
    COPIES,
    GROUPS,
    NAMED,
    TREE,
)


def neutral(text: str) -> str:
    """Write text so that no spreadsheet executes it: an apostrophe before what begins like a formula.

    Text in which such a beginning already stands behind apostrophes gets one more, so that `restored` gives
    every text back as it was.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def restored(cell: str) -> str:
    """Undo `neutral`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_table(path: str | os.PathLike[str], kind: TableKind, columns: Mapping[str, ArrayLike]) -> Path:
    """Write a table as CSV, whole or not at all.

    Numbers are written to six digits, which a spreadsheet reads as numbers; text is made `neutral`.

    Parameters
    ----------
    path
        File to write; its folder is made.
    kind
        What it holds.
    columns
        Name to (n,) values, in any order. Optional columns may be missing.

    Raises
    ------
    EmbedkitError
        A number that is none, in a column without empty cells.
    ValueError
        Columns that the table doesn't have, or lacks.
    """
    path = Path(path)
    declared = _declared(kind, list(columns))
    missing = _missing(kind, list(columns))
    if missing or len(declared) != len(columns):
        unknown = [name for name in columns if name not in declared]
        raise ValueError(f"{kind.name}: missing {missing}, unknown {unknown}")
    cells = [_written(path, name, column, columns[name]) for name, column in declared.items()]
    with aside(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        for line in (list(declared), *zip(*cells, strict=True)):
            stream.write(",".join(map(_quoted, line)) + "\n")
    return path


def read_table(path: str | os.PathLike[str], *kinds: TableKind) -> Table:
    """Read a table that is of one of these kinds; columns that are not declared are passed over.

    Raises
    ------
    EmbedkitError
        No such file, no table of these kinds, a column missing, a line of another length, a value of another
        type, or one row twice: the message names file, line and fix.
    """
    path, again = Path(path), f"Restore the file, or run `{kinds[0].command}` again."
    check_input(path, "Name a file, such as one in it." if path.is_dir() else again)
    if not path.is_file():
        raise EmbedkitError(f"{path}: no such file. {again}")
    numbers: list[int] = []
    lines: list[list[str]] = []
    for number, line in _lines(path, again):
        if not lines and len(line) == 1 and (other := re.search(r"[;\t|]", line[0])):
            raise EmbedkitError(
                f"{path}: its columns are divided by {other[0]!r}. Save it with commas between them, and "
                "with points in its numbers."
            )
        if lines and len(line) != len(lines[0]):
            raise EmbedkitError(
                f"{path}:{number}: {len(line)} cells, where the header has {len(lines[0])}. {again}"
            )
        numbers.append(number)
        lines.append(line)
    if not lines:
        raise EmbedkitError(f"{path}: an empty file. {again}")
    header, *lines = lines
    kind = _kind_of(path, header, kinds, again)
    if twice := [name for name in header if header.count(name) > 1]:
        raise EmbedkitError(f"{path}:{numbers[0]}: two columns {twice[0]}. {again}")
    by_name = dict(zip(header, zip(*lines, strict=True), strict=True)) if lines else dict.fromkeys(header, ())
    columns: dict[str, NDArray[Any]] = {}
    for name, column in _declared(kind, header).items():
        values = []
        for number, cell in zip(numbers[1:], by_name[name], strict=True):
            try:
                values.append(_read(column, cell))
            except ValueError as error:
                raise EmbedkitError(f"{path}:{number}: {name} {cell!r} is {error}. {again}") from None
        columns[name] = np.array(values, dtype=_DTYPES[column.dtype])
    table = Table(kind, columns)
    _check_key(path, table, numbers[1:], again)
    return table


def _declared(kind: TableKind, header: Sequence[str]) -> dict[str, Column]:
    """Return which declaration each name of a header has, in the order of the declarations."""
    return {name: column for column in kind.columns for name in column.names(header)}


def _missing(kind: TableKind, header: Sequence[str]) -> list[str]:
    return [column.title for column in kind.columns if not column.optional and not column.names(header)]


def _kind_of(path: Path, header: list[str], kinds: Sequence[TableKind], again: str) -> TableKind:
    """Return the kind that lacks nothing, or say what the nearest of them lacks."""
    nearest = min(kinds, key=lambda kind: len(_missing(kind, header)))
    if missing := _missing(nearest, header):
        other = f"It is another table: name one that `{kinds[0].command}` wrote."
        fix = again if _declared(nearest, header) else other
        raise EmbedkitError(
            f"{path}: no table of {' or '.join(kind.name for kind in kinds)}, for it has no column "
            f"{' and no column '.join(missing)}. {fix}"
        )
    return nearest


def _lines(path: Path, again: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the cells of each line that is not blank."""
    raw = read_bytes(path, again, at_most=MOST_BYTES)
    try:
        # A spreadsheet may have put a byte-order mark first.
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise EmbedkitError(f"{path}:{number}: no CSV in UTF-8 ({error}). {again}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for line in reader:
            if line:
                yield reader.line_num, line
    except csv.Error as error:
        raise EmbedkitError(f"{path}:{reader.line_num}: no CSV in UTF-8 ({error}). {again}") from error


def _quoted(cell: str) -> str:
    """Quote a cell where CSV needs it; `csv.writer` forgets a carriage return before Python 3.13."""
    return '"' + cell.replace('"', '""') + '"' if re.search('[,"\r\n]', cell) else cell


def _written(path: Path, name: str, column: Column, values: ArrayLike) -> list[str]:
    if column.dtype == TEXT:
        return [neutral(str(value)) for value in np.asarray(values, dtype=np.str_)]
    if column.dtype == INTEGER:
        return [str(value) for value in np.asarray(values, dtype=np.int64)]
    numbers = np.asarray(values, dtype=np.float64)
    wrong = np.isinf(numbers) if column.empty else ~np.isfinite(numbers)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise EmbedkitError(
            f"{path}: not written, because {name} of row {row} is {numbers[row]}. Look for features or "
            "targets that are far too large."
        )
    return ["" if math.isnan(value) else f"{value:.6g}" for value in numbers]


def _read(column: Column, cell: str) -> str | int | float:
    """Return the value of a cell; the text of a ValueError says what it is instead."""
    if column.dtype == TEXT:
        if not cell and not column.empty:
            raise ValueError("empty")
        return restored(cell)
    if column.dtype == INTEGER:
        if not re.fullmatch(r"\s*[+-]?\d{1,18}\s*", cell, flags=re.ASCII):
            raise ValueError("no integer")
        return int(cell)
    if not cell.strip():
        if column.empty:
            return math.nan
        raise ValueError("no number")
    try:
        value = float(cell)
    except ValueError:
        raise ValueError("no number") from None
    if not math.isfinite(value) or "_" in cell:
        raise ValueError("no number")
    return value


def _check_key(path: Path, table: Table, numbers: Sequence[int], again: str) -> None:
    names = [name for name in table.kind.key if name in table]
    first: dict[tuple[Any, ...], int] = {}
    for number, key in zip(numbers, zip(*(table[name].tolist() for name in names), strict=True), strict=True):
        before = first.setdefault(key, number)
        if before != number:
            words = ", ".join(f"{name} {value!r}" for name, value in zip(names, key, strict=True))
            raise EmbedkitError(f"{path}:{number}: {words} stands in line {before} already. {again}")
