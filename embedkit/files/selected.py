"""Some rows of a feature file, as a feature file: what `--rows`, `--only-class` and their like leave."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, UsageError, listed
from embedkit.files.regular import read_bytes
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile
from embedkit.options import Selection, flag_of, nearest

# Classes that a name lists; more are counted, with a digest that tells them from others.
MOST_NAMED = 4
MOST_BYTES = 1 << 30


class SelectedFile(FeatureFile):
    """Rows of a feature file; `select` makes it.

    It has the ids, annotations and features of these rows alone, numbered from 0, and a dataset name that
    says which they are, so that no result is ranked beside one of other rows. What is pooled over all images,
    such as the covariance within views, and the digest are the file's.

    Parameters
    ----------
    base
        The whole file.
    index : (n,) int64
        Its rows that are kept, rising.
    keep
        Numbers of the classes that are kept.
    name
        What is kept, in words.
    record
        What results keep of it.
    remarks
        What a reader must know.
    """

    def __init__(
        self,
        base: FeatureFile,
        index: NDArray[np.int64],
        *,
        keep: NDArray[np.int64],
        name: str,
        record: dict[str, Any],
        remarks: tuple[str, ...],
    ) -> None:
        self.path = base.path
        self.base, self.index, self.keep = base, index, keep
        self.name, self.record, self.remarks = name, record, remarks
        self.selection = record

    def _file(self) -> h5py.File:
        return self.base._file()

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def close(self) -> None:
        """Close the whole file's handle."""
        self.base.close()

    @property
    def n(self) -> int:
        """Number of rows kept, failed images included."""
        return len(self.index)

    @property
    def dataset_name(self) -> str:
        """Name of the dataset, with what is kept of it."""
        return f"{self.base.dataset_name} [{self.name}]"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the whole file's bytes."""
        return self.base.sha256

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """How the features were made."""
        return self.base.provenance

    @cached_property
    def rows(self) -> Rows:
        """Ids and annotations; classes that are left out have no number here."""
        rows = self.base.rows.take(self.index)
        if rows.labels is None or len(self.keep) == len(rows.class_names):
            return rows
        number = np.full(len(rows.class_names) + 1, -1)
        number[self.keep] = np.arange(len(self.keep))
        return Rows(
            **{
                **vars(rows),
                "labels": number[rows.labels],
                "class_names": tuple(rows.class_names[i] for i in self.keep),
            }
        )

    @cached_property
    def ok(self) -> NDArray[np.bool_]:
        """(n,) False where the image could not be read."""
        return self.base.ok[self.index]

    @cached_property
    def errors(self) -> dict[str, str]:
        """Id to reason, for every kept image that could not be read."""
        kept = set(self.rows.ids.tolist())
        return {name: reason for name, reason in self.base.errors.items() if name in kept}

    def read(self, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return features of kept rows (rows, d): all, a slice, or those of a mask or index."""
        return self.base.read(self.index if rows is None else self.index[rows])

    def read_view_mean(self, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return view means of kept rows (rows, d)."""
        return self.base.read_view_mean(self.index if rows is None else self.index[rows])


class FewerTargets(SelectedFile):
    """A feature file with some of its targets; `with_targets` makes it."""

    def __init__(self, base: FeatureFile, names: Sequence[str]) -> None:
        of = base.selection or {"asked": {}}
        super().__init__(
            base,
            np.arange(base.n),
            keep=np.arange(len(base.rows.class_names)),
            name=_class_words("targets", names).replace("classes", "targets"),
            record={**of, "targets": list(names)},
            remarks=base.remarks if isinstance(base, SelectedFile) else (),
        )
        self.targets = tuple(names)

    @cached_property
    def rows(self) -> Rows:
        """Ids and annotations, with these targets in this order."""
        rows = self.base.rows
        assert rows.targets is not None
        columns = [rows.target_names.index(name) for name in self.targets]
        return replace(rows, targets=rows.targets[:, columns], target_names=self.targets)

    def read(self, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return features as (rows, d) float32, as the base does."""
        return self.base.read(rows)

    def read_view_mean(self, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return view means (rows, d), as the base does."""
        return self.base.read_view_mean(rows)


def with_targets(file: FeatureFile, names: Sequence[str] | None) -> FeatureFile:
    """Return a file with these targets alone; the file itself where they are all.

    Raises
    ------
    UsageError
        A target that the file doesn't have, or one twice.
    """
    there = file.rows.target_names
    if names is None or tuple(names) == there:
        return file
    for name in names:
        if name not in there:
            known = f"There are: {listed(there)}." if there else "It has none."
            raise UsageError(
                f"--targets {name}: {file.path} has no such target.{nearest(name, there)} {known}"
            )
        if list(names).count(name) > 1:
            raise UsageError(f"--targets names {name} twice. Name each once.")
    return FewerTargets(file, names)


@contextmanager
def selected(features: str | os.PathLike[str] | FeatureFile, asked: Selection) -> Iterator[FeatureFile]:
    """Yield the rows of a feature file, or of its path, that are asked for; see `select`."""
    with FeatureFile.opened(features) as file:
        yield select(file, asked)


def select(file: FeatureFile, asked: Selection) -> FeatureFile:
    """Return the rows that are asked for; the file itself where that is all of them.

    Raises
    ------
    UsageError
        A class, a group or a split that the file doesn't have; the message names the nearest.
    EmbedkitError
        No row is left, or an id that the file doesn't have.
    """
    if not asked.selected or (isinstance(file, SelectedFile) and file.record["asked"] == _plain(asked)):
        return file
    rows = file.rows
    kept, named = _asked_rows(file, asked.rows)
    out = _classes_out(file, asked, kept)
    labels = rows.labels if rows.labels is not None else np.full(file.n, -1)
    kept &= ~np.isin(labels, out)
    if asked.only_class:
        kept &= labels >= 0
    if not kept.any():
        given = " ".join(f"{flag_of(name)} {_words(value)}" for name, value in asked.selected.items())
        raise EmbedkitError(f"{file.path}: {given} leaves no row. Ask for less.")
    if kept.all() and not len(out):
        return file
    keep = np.setdiff1d(np.arange(len(rows.class_names)), out)
    named += _names_of_classes(rows.class_names, keep, out, only=bool(asked.only_class))
    counts = {rows.class_names[c]: int((labels == c).sum()) for c in out}
    record = {"asked": _plain(asked), "rows": int(kept.sum()), "of": file.n, "classes_left_out": counts}
    remarks = [f"Rows taken, {', '.join(named)}: {int(kept.sum()):,} of {file.n:,}."]
    if asked.min_per_class is not None and len(rare := _rare(file, asked, out)):
        few = listed([f"{rows.class_names[c]} ({counts[rows.class_names[c]]})" for c in rare], 10)
        remarks.append(f"Left out classes of fewer than {asked.min_per_class} rows: {few}.")
    return SelectedFile(
        file, np.flatnonzero(kept), keep=keep, name=", ".join(named), record=record, remarks=tuple(remarks)
    )


def _plain(asked: Selection) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asked.selected.items()}


def _words(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _asked_rows(file: FeatureFile, words: Sequence[str]) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which rows (n,) the words ask for, and names for them."""
    kept, named = np.ones(file.n, dtype=bool), []
    by_key: dict[str, list[str]] = {}
    for word in words:
        key, equals, value = word.partition("=")
        by_key.setdefault(key if equals and key in ("split", "group") else "ids", []).append(
            value if equals and key in ("split", "group") else word
        )
    for key, values in by_key.items():
        if key == "ids":
            ids = np.concatenate([_read_ids(file, Path(path)) for path in values])
            kept &= np.isin(file.rows.ids, ids)
            digest = hashlib.sha256("\n".join(np.unique(ids)).encode()).hexdigest()[:8]
            named.append(f"ids of {' and '.join(Path(path).name for path in values)} {digest}")
            continue
        column = getattr(file.rows, key)
        if column is None:
            raise UsageError(f"--rows {key}={values[0]}: {file.path} has no {key} column.")
        for value in values:
            if not (column == value).any():
                there = np.unique(column[column != ""]).tolist()
                raise UsageError(
                    f"--rows {key}={value}: {file.path} has no such rows.{nearest(value, there)} "
                    f"There are: {listed(there)}."
                )
        kept &= np.isin(column, values)
        named.append(" or ".join(f"{key}={value}" for value in sorted(values)))
    return kept, named


def _read_ids(file: FeatureFile, path: Path) -> NDArray[np.str_]:
    fix = "Give a text file with an id a line."
    try:
        text = read_bytes(path, fix, at_most=MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EmbedkitError(f"--rows {path}: no text in UTF-8 ({error}). {fix}") from error
    ids = np.array([line for line in text.splitlines() if line], dtype=np.str_)
    if len(strange := np.setdiff1d(ids, file.rows.ids)):
        raise EmbedkitError(
            f"--rows {path}: {len(strange):,} of its {len(ids):,} ids are not in {file.path}, such as "
            f"{str(strange[0])!r}.{nearest(str(strange[0]), file.rows.ids[:100_000].tolist())}"
        )
    return ids


def _classes_out(file: FeatureFile, asked: Selection, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the numbers of the classes that are left out."""
    if not (asked.only_class or asked.exclude_class or asked.min_per_class is not None):
        return np.empty(0, np.int64)
    names = file.rows.class_names
    if file.rows.labels is None:
        flag = next(flag_of(name) for name in asked.selected if "class" in name)
        raise UsageError(f"{flag}: {file.path} has no labels.")
    for flag, wanted in (("--only-class", asked.only_class), ("--exclude-class", asked.exclude_class)):
        for name in wanted:
            if name not in names:
                raise UsageError(
                    f"{flag} {name}: {file.path} has no such class.{nearest(name, names)} "
                    f"There are: {listed(names)}."
                )
    out = [
        i
        for i, name in enumerate(names)
        if name in asked.exclude_class or (asked.only_class and name not in asked.only_class)
    ]
    return np.union1d(np.array(out, np.int64), _few(file, asked.min_per_class, kept))


def _few(file: FeatureFile, least: int | None, kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the classes with some, and too few, of the rows that could be read."""
    labels = file.rows.labels
    if least is None or labels is None:
        return np.empty(0, np.int64)
    counts = np.bincount(labels[kept & file.ok & (labels >= 0)], minlength=len(file.rows.class_names))
    return np.flatnonzero(counts < least)


def _rare(file: FeatureFile, asked: Selection, out: NDArray[np.int64]) -> list[int]:
    """Return the classes that were left out for want of rows alone."""
    names = file.rows.class_names
    return [
        int(c)
        for c in out
        if names[c] not in asked.exclude_class and (not asked.only_class or names[c] in asked.only_class)
    ]


def _names_of_classes(
    names: Sequence[str], keep: NDArray[np.int64], out: NDArray[np.int64], *, only: bool
) -> list[str]:
    if not len(out):
        return []
    if only:
        return [_class_words("classes", [names[c] for c in keep])]
    return [_class_words("without", [names[c] for c in out])]


def _class_words(word: str, classes: Sequence[str]) -> str:
    if len(classes) <= MOST_NAMED:
        return f"{word} {', '.join(classes)}"
    digest = hashlib.sha256("\0".join(sorted(classes)).encode()).hexdigest()[:8]
    return f"{'' if word == 'classes' else word + ' '}{len(classes)} classes {digest}"
