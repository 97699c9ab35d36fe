"""A table of image files: file, label and, where there are such columns, split, group, position, targets."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.annotations import check_ids, check_targets, groups, looks_like_labels
from embedkit.datasets.class_labels import class_labels, of_flags
from embedkit.datasets.dataset import Dataset, fingerprint, short_name
from embedkit.datasets.folder import ImageFiles
from embedkit.datasets.table_paths import found_names, missing_hint
from embedkit.datasets.text_table import Table, read_table
from embedkit.datasets.vote_counts import asked_of, count_columns
from embedkit.errors import EmbedkitError, UsageError, listed
from embedkit.files.endings import IMAGE_ENDINGS
from embedkit.files.regular import resolved
from embedkit.files.rows import Rows, in_file
from embedkit.files.vote_tree import tree_of
from embedkit.files.words import label_words

FILE_COLUMNS = ("file", "filename", "file_name", "path", "image")
_NO_CLASSES = ("split", "group", "ra", "dec")
_FLAGS = {"0", "1", "0.0", "1.0"}


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
        Files that don't exist, the same file twice, a cell that is not what its column must be, or votes
        that don't sum up their tree.
    UsageError
        A column that isn't there.
    """
    path = resolved(source)
    folder = resolved(root) if root is not None else path.parent
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: --root is not a folder. Give the folder that file names are relative to."
        )
    table = read_table(path)
    of_files = _file_column(table, file_column)
    written = table.column(of_files, "--file-column")
    names = found_names(path, folder, written)
    check_names(table, names)
    sizes = file_sizes(table, folder, names)
    note_unnamed(table, folder, names)
    target_names, targets = _targets(table, target_columns)
    taken = (of_files, split_column, group_column, id_column, *target_names)
    labels, class_names, marks = _labels(table, label_column, taken)
    tree = tree_of(target_names)
    with in_file(str(path)):
        rows = Rows(
            ids=np.array(written, dtype=np.str_)
            if id_column is None
            else check_ids(np.array(table.column(id_column, "--id-column"), dtype=np.str_), str(path)),
            labels=labels,
            class_names=class_names,
            # Rows looks whether float32 holds them.
            targets=targets,
            target_names=tuple(target_names),
            split=_optional(table, split_column, "split"),
            group=groups(_optional(table, group_column, "group")),
            coordinates=_coordinates(table),
            asked=None if targets is None or tree is None else asked_of(table, tree, targets),
        )
    check_targets(rows, str(path))
    used = (*taken, label_column, *marks, *(() if tree is None else count_columns(table, tree)))
    _note_unused(table, {name for name in used if name}, labelled=labels is not None)
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
    known = [column for name in FILE_COLUMNS if (column := table.called(name)) is not None]
    if len(known) != 1:
        data = any(posixpath.splitext(name)[1].lower() in IMAGE_ENDINGS for name in table.columns)
        hint = " Its first line looks like data: put a header above it." if data else ""
        raise UsageError(
            f"{table.path}: {'several columns' if known else 'no column'} could hold the file names. Its "
            f"columns are {listed(list(table.columns))}; name one with --file-column. A table of vectors is "
            f"for `embedkit import`.{hint}"
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
            found = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 - once an image
            if not stat.S_ISREG(found.st_mode):
                raise EmbedkitError(
                    f"{table.path}, line {table.lines[row]}: {name!r} is a folder, pipe or device, not an "
                    "image file. Remove the line."
                )
            sizes[row] = found.st_size
        except (OSError, ValueError):
            missing.append(row)
    if missing:
        some = ", ".join(f"{names[row]!r} (line {table.lines[row]})" for row in missing[:3])
        more = ", ..." if len(missing) > 3 else ""
        lost = [names[row] for row in missing]
        raise EmbedkitError(
            f"{table.path}: {len(missing):,} of {len(names):,} files don't exist below {folder}: "
            f"{some}{more}. {fix or missing_hint(folder, lost, len(lost) == len(names))}"
        )
    return sizes


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
            f"{table.path}: {len(extra):,} images beside those that it names have no line, such as "
            f"{min(extra)!r}: left out. To take one in, give it a line; its label may be empty."
        )


def _labels(
    table: Table, column: str | None, taken: Sequence[str | None]
) -> tuple[NDArray[np.int64] | None, tuple[str, ...], tuple[str, ...]]:
    """Return the labels, the classes' names, and where each class has a column of its own, these."""
    column = column or table.called("label") or table.called("labels")
    marks: tuple[str, ...] = ()
    if column is not None:
        cells = table.column(column, "--label-column")
    else:
        known = {table.called(name) for name in _NO_CLASSES} | set(taken)
        free = {name: words for name, words in table.columns.items() if name and name not in known}
        flags = {name: np.array(words, np.float64) for name, words in free.items() if set(words) <= _FLAGS}
        classes = of_flags(flags)
        if classes is None:
            return None, (), ()
        cells, marks = classes.tolist(), tuple(flags)
        note(f"{table.path}: labels from the columns {listed(list(marks), 8)}, a class each.")
    names = sorted(set(label_words(cells)) - {""}, key=_natural)
    labels, _ = class_labels(cells, tuple(names), str(table.path))
    return (labels, tuple(names), marks) if names else (None, (), ())


def _targets(table: Table, columns: str | Sequence[str] | None) -> tuple[list[str], NDArray[Any] | None]:
    """Return the names of the targets and their values (n, t), None where there are none."""
    names = [name.strip() for name in columns.split(",")] if isinstance(columns, str) else list(columns or [])
    if not names:
        return names, None
    return names, np.stack([table.numbers(name, "--target-columns") for name in names], axis=1)


def _natural(name: str) -> tuple[bool, int, str]:
    # Classes 0 ... 10 in the order of their numbers, before and apart from names.
    number = name.isdecimal() and len(name) < 19
    return (False, int(name), name) if number else (True, 0, name)


def _note_unused(table: Table, used: set[str], *, labelled: bool) -> None:
    """Say which columns were left aside, and which of them may hold the labels."""
    known = ("label", "labels", *_NO_CLASSES)
    used = used | {column for name in known if (column := table.called(name)) is not None}
    unused = [name for name in table.columns if name and name not in used]
    if not unused:
        return
    likely = [name for name in unused if looks_like_labels(name)]
    likely = likely or [name for name in unused if 1 < len(set(table.columns[name])) <= len(table) // 2]
    hint = ""
    if not labelled and likely:
        one_of = " or ".join(f"--label-column {name}" for name in likely[:3])
        hint = f" So there are no labels; if one of them is, name it: {one_of}."
    note(f"{table.path}: columns not used: {listed(unused, 8)}.{hint}")


def _optional(table: Table, column: str | None, default: str) -> NDArray[np.str_] | None:
    column = column or table.called(default)
    if column is None:
        return None
    return np.array(table.column(column, f"--{default}-column"), dtype=np.str_)


def _coordinates(table: Table) -> NDArray[np.float64] | None:
    ra, dec = table.called("ra"), table.called("dec")
    if ra is None or dec is None:
        return None
    try:
        return np.stack([table.numbers(ra, ""), table.numbers(dec, "")], axis=1)
    except EmbedkitError:
        note(f"{table.path}: ra and dec are not in degrees, so the positions are left out.")
        return None
