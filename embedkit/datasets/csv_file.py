"""A table of image files: file, label and, where there are such columns, split, group, position, targets."""

from __future__ import annotations

import csv
import difflib
import os
import posixpath
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.dataset import Dataset, fingerprint, short_name
from embedkit.datasets.folder import IMAGE_ENDINGS, ImageFiles
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.rows import Rows
from embedkit.files.words import SPLIT_NAMES

FILE_COLUMNS = ("file", "filename", "file_name", "path", "image")
SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Table:
    """The cells of a text table: `columns` maps a name to its n cells, `lines` gives their line numbers."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str, option: str) -> list[str]:
        """Return a column that the user has asked for with `option`."""
        if name not in self.columns:
            close = difflib.get_close_matches(name, self.columns, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise UsageError(
                f"{self.path}: no column {name!r} for {option}.{hint} Its columns are "
                f"{', '.join(self.columns)}."
            )
        return self.columns[name]

    def numbers(self, name: str, option: str) -> NDArray[np.float64]:
        """Return a column as numbers; an empty cell is NaN."""
        values = np.full(len(self), np.nan)
        for row, cell in enumerate(self.column(name, option)):
            if cell:
                try:
                    values[row] = float(cell)
                except ValueError as error:
                    raise EmbedkitError(
                        f"{self.path}, line {self.lines[row]}: {cell!r} in column {name!r} is no number. "
                        "Correct it, or leave it empty."
                    ) from error
        return values


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a text table with a header line; the separator is the one of ``, ; tab`` the header has most of.

    Cells are stripped of blanks; empty lines are skipped; quotes and a byte-order mark are understood.

    Raises
    ------
    EmbedkitError
        Not UTF-8 text, no rows, a column named twice, or a line with more or fewer cells than the header.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise EmbedkitError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}). Save it again as CSV in UTF-8."
        ) from error
    header_line = text.partition("\n")[0]
    separator = max(SEPARATORS, key=header_line.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True)
    lines: list[int] = []
    cells: list[list[str]] = []
    try:
        header = [cell.strip() for cell in next(reader, [])]
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                raise EmbedkitError(
                    f"{path}, line {reader.line_num}: {len(row)} cells, but the header has {len(header)}. "
                    "Quote cells that contain the separator."
                )
            lines.append(reader.line_num)
            cells.append([cell.strip() for cell in row])
    except csv.Error as error:
        raise EmbedkitError(
            f"{path}, line {reader.line_num}: not a CSV table ({error}). Check the quotes on that line."
        ) from error
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise EmbedkitError(f"{path}: the header names {twice[0]!r} more than once. Rename one of them.")
    if not cells:
        raise EmbedkitError(f"{path}: no rows below the header. Is it the right file?")
    columns = {name: [row[i] for row in cells] for i, name in enumerate(header)}
    return Table(path, columns, lines)


def load_csv(
    source: str,
    *,
    root: str | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
) -> Dataset:
    """Read a table of image files.

    Columns named file (or filename, file_name, path, image), label, split, group, and ra with dec (degrees)
    are used unless an option names another; ids are the file names unless `id_column` is given, and targets
    are the columns in `target_columns`. An empty label is no label.

    Raises
    ------
    EmbedkitError
        Files that don't exist, the same file twice, or a cell that is not what its column must be.
    UsageError
        A column that isn't there.
    """
    path = Path(source).resolve()
    folder = Path(root).resolve() if root is not None else path.parent
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: --root is not a folder. Give the folder that file names are relative to."
        )
    table = read_table(path)
    names = table.column(_file_column(table, file_column), "--file-column")
    check_names(table, names)
    sizes = file_sizes(table, folder, names)
    note_unnamed(table, folder, names)
    labels, class_names = _labels(table, label_column)
    target_names = (
        [name.strip() for name in target_columns.split(",")]
        if isinstance(target_columns, str)
        else list(target_columns or [])
    )
    rows = Rows(
        ids=np.array(names if id_column is None else table.column(id_column, "--id-column"), dtype=np.str_),
        labels=labels,
        class_names=class_names,
        targets=np.stack([table.numbers(name, "--target-columns") for name in target_names], axis=1).astype(
            np.float32
        )
        if target_names
        else None,
        target_names=tuple(target_names),
        split=_split(table, split_column),
        group=_optional(table, group_column, "group"),
        coordinates=_coordinates(table),
    )
    files = ImageFiles(folder, names)
    given = {
        "root": None if root is None else str(folder),
        "file_column": file_column,
        "label_column": label_column,
        "split_column": split_column,
        "group_column": group_column,
        "id_column": id_column,
        "target_columns": target_names or None,
    }
    return Dataset(
        name=short_name(path),
        rows=rows,
        read=files.read,
        where=files.where,
        fingerprint=fingerprint(rows, {"files": names, "sizes": sizes}),
        origin={"source": str(path)} | {name: value for name, value in given.items() if value is not None},
    )


def _file_column(table: Table, wanted: str | None) -> str:
    if wanted is not None:
        return wanted
    known = [name for name in FILE_COLUMNS if name in table.columns]
    if len(known) != 1:
        names = list(table.columns)
        some = ", ".join(names[:20]) + (f" and {len(names) - 20:,} more" if len(names) > 20 else "")
        raise UsageError(
            f"{table.path}: {'several columns' if known else 'no column'} could hold the file names. Its "
            f"columns are {some}; name one with --file-column. A table of vectors is for `embedkit import`."
        )
    return known[0]


def check_names(table: Table, names: Sequence[str]) -> None:
    """Refuse an empty file name, or one file on two lines."""
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if not name:
            raise EmbedkitError(
                f"{table.path}, line {table.lines[row]}: no file name. Fill it, or remove the line."
            )
        same = seen.setdefault(posixpath.normpath(name), row)
        if same != row:
            raise EmbedkitError(
                f"{table.path}: {name!r} stands on line {table.lines[same]} and again on line "
                f"{table.lines[row]}. Each file may occur once: remove one of them."
            )


def file_sizes(
    table: Table, folder: Path, names: Sequence[str], *, fix: str | None = None
) -> NDArray[np.int64]:
    """Return the (n,) sizes in bytes; raises `EmbedkitError` where files don't exist."""
    sizes = np.full(len(names), -1, dtype=np.int64)
    missing = []
    for row, name in enumerate(names):
        try:
            sizes[row] = os.stat(os.path.join(folder, name)).st_size  # noqa: PTH116, PTH118 - once an image
        except (OSError, ValueError):
            missing.append(row)
    if missing:
        some = ", ".join(f"{names[row]!r} (line {table.lines[row]})" for row in missing[:3])
        more = ", ..." if len(missing) > 3 else ""
        raise EmbedkitError(
            f"{table.path}: {len(missing):,} of {len(names):,} files don't exist below {folder}: "
            f"{some}{more}. {fix or _missing_hint(folder, names[missing[0]], len(missing) == len(names))}"
        )
    return sizes


def _missing_hint(folder: Path, name: str, all_missing: bool) -> str:
    if all_missing:
        for below in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
            if (below / name).is_file():
                return f"They seem to lie in {below}: give --root {below}."
        for ending in sorted(IMAGE_ENDINGS):
            if (folder / f"{name}{ending}").is_file():
                return f"The names lack their ending {ending!r}: add it to the column."
        return "Give the folder that the names are relative to with --root."
    return "Remove these lines, or restore the files."


def note_unnamed(table: Table, folder: Path, names: Sequence[str]) -> None:
    """Say how many images lie beside those that the table names."""
    # Only the folders that the table's files lie in: its own folder may be somebody's home.
    named = {posixpath.normpath(name) for name in names}
    extra = []
    for below in sorted({posixpath.dirname(name) for name in named}):
        try:
            entries = os.listdir(folder / below)  # noqa: PTH208 - names alone are wanted
        except OSError:  # a folder that may be entered but not listed
            continue
        extra += [
            posixpath.join(below, entry)
            for entry in entries
            if os.path.splitext(entry)[1].lower() in IMAGE_ENDINGS  # noqa: PTH122 - once an image
            and not entry.startswith(".")
            and posixpath.join(below, entry) not in named
        ]
    if extra:
        note(
            f"{table.path}: {len(extra):,} images in {folder} have no line, such as {min(extra)!r}: left "
            "out. To take one in, give it a line; its label may be empty."
        )


def _labels(table: Table, column: str | None) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    if column is None and "label" not in table.columns:
        return None, ()
    cells = table.column(column or "label", "--label-column")
    names = sorted(set(cells) - {""}, key=_natural)
    if not names:
        return None, ()
    index = {name: label for label, name in enumerate(names)} | {"": -1}
    return np.array([index[cell] for cell in cells], dtype=np.int64), tuple(names)


def _natural(name: str) -> tuple[bool, int, str]:
    # Classes 0 ... 10 in the order of their numbers, before and apart from names.
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def _split(table: Table, column: str | None) -> NDArray[np.str_] | None:
    cells = _optional(table, column, "split")
    if cells is None:
        return None
    return np.array([SPLIT_NAMES.get(str(cell).lower(), str(cell)) for cell in cells], dtype=np.str_)


def _optional(table: Table, column: str | None, default: str) -> NDArray[np.str_] | None:
    if column is None and default not in table.columns:
        return None
    return np.array(table.column(column or default, f"--{default}-column"), dtype=np.str_)


def _coordinates(table: Table) -> NDArray[np.float64] | None:
    if not {"ra", "dec"} <= table.columns.keys():
        return None
    try:
        return np.stack([table.numbers("ra", ""), table.numbers("dec", "")], axis=1)
    except EmbedkitError:
        note(f"{table.path}: ra and dec are not in degrees, so the positions are left out.")
        return None
