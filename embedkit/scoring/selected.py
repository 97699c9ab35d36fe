"""Some rows of a feature file, as a feature file: what `--rows`, `--only-class` and `--labels` make of it."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, UsageError, listed
from embedkit.files.feature_set import opened
from embedkit.files.regular import read_bytes
from embedkit.files.selected_file import AnnotatedFile, SelectedFile
from embedkit.files.store import FeatureFile
from embedkit.options import Selection, flag_of, nearest
from embedkit.scoring.labelled import with_labels

# Classes that a name lists; more are counted, with a digest that tells them from others.
MOST_NAMED = 4
MOST_BYTES = 1 << 30


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
    assert file.rows.targets is not None
    columns = [there.index(name) for name in names]
    return AnnotatedFile(
        file,
        replace(
            file.rows,
            targets=file.rows.targets[:, columns],
            target_names=tuple(names),
            asked=None if file.rows.asked is None else file.rows.asked[:, columns],
        ),
        name=_class_words("targets", names).replace("classes", "targets"),
        record={**(file.selection or {"asked": {}}), "targets": list(names)},
        remarks=file.remarks,
    )


@contextmanager
def selected(features: str | os.PathLike[str] | FeatureFile, asked: Selection) -> Iterator[FeatureFile]:
    """Yield the rows of a feature file, or of its path, that are asked for; see `select`."""
    with opened(features) as file:
        yield select(file, asked)


def select(file: FeatureFile, asked: Selection) -> FeatureFile:
    """Return the rows that are asked for, with the labels that are; the file itself where nothing is.

    Raises
    ------
    UsageError
        A class, a group or a split that the file doesn't have; the message names the nearest.
    EmbedkitError
        No row is left, or an id that the file doesn't have.
    """
    asked = _as_written(file, asked)
    if not asked.selected or (isinstance(file, SelectedFile) and file.record["asked"] == _plain(asked)):
        return file
    plain = _plain(asked)
    if asked.labels is not None:
        file = with_labels(file, asked.labels, plain)
        asked = _as_written(file, asked)
        plain = _plain(asked)
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
    record = {
        **(file.selection or {}),
        "asked": plain,
        "rows": int(kept.sum()),
        "of": file.n,
        "classes_left_out": counts,
    }
    remarks = [*file.remarks, f"Rows taken, {', '.join(named)}: {int(kept.sum()):,} of {file.n:,}."]
    if asked.min_per_class is not None and len(rare := _rare(file, asked, out)):
        few = listed([f"{rows.class_names[c]} ({counts[rows.class_names[c]]})" for c in rare], 10)
        remarks.append(f"Left out classes of fewer than {asked.min_per_class} rows: {few}.")
    return SelectedFile(
        file, np.flatnonzero(kept), keep=keep, name=", ".join(named), record=record, remarks=tuple(remarks)
    )


def _as_written(file: FeatureFile, asked: Selection) -> Selection:
    """Return the options with accents of classes as the file stores them, apart from letters or with them."""
    left_out = file.record.get("classes_left_out", ()) if isinstance(file, SelectedFile) else ()
    names = (*file.rows.class_names, *left_out)
    stored = {unicodedata.normalize("NFC", name): name for name in names}

    def spelled(wanted: Sequence[str]) -> tuple[str, ...]:
        others = (stored.get(unicodedata.normalize("NFC", name), name) for name in wanted)
        return tuple(name if name in names else other for name, other in zip(wanted, others, strict=True))

    only, out = spelled(asked.only_class), spelled(asked.exclude_class)
    if (only, out) == (asked.only_class, asked.exclude_class):
        return asked
    return replace(asked, only_class=only, exclude_class=out)


def _plain(asked: Selection) -> dict[str, Any]:
    made = {name: list(v) if isinstance(v, tuple) else v for name, v in asked.selected.items()}
    return {name: str(v) if isinstance(v, Path) else v for name, v in made.items()}


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
