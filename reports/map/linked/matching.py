"""Which rows of several feature files are of the same image: matched by id, and none left out in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, UsageError, listed
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile

# Ids that a note names; the page lists all.
NAMED = 2


@dataclass(frozen=True)
class Matched:
    """The images that all files have.

    Parameters
    ----------
    shared : (n,) bool
        Which rows of the first file are in all others, and could be read for each.
    left_out
        Note to ids (m,), of each file with images that are not in all others, or could not be read for each.
    notes
        What else speaks against the match.
    """

    shared: NDArray[np.bool_]
    left_out: dict[str, NDArray[np.str_]]
    notes: tuple[str, ...]


def match(files: Sequence[FeatureFile], names: Sequence[str]) -> Matched:
    """Match the rows of files by id.

    Parameters
    ----------
    files
        Open; the first says the order.
    names
        What they are called.

    Raises
    ------
    UsageError
        One file twice.
    EmbedkitError
        No image is in all of them.
    """
    first = files[0]
    for at, file in enumerate(files):
        twin = next((other for other in files[:at] if other.sha256 == file.sha256), None)
        if twin is not None:
            raise UsageError(f"{twin.path} and {file.path} are the same features. Name each file once.")
    readable = [file.rows.ids[file.ok] for file in files]
    shared = first.ok.copy()
    for file, ids in zip(files[1:], readable[1:], strict=True):
        here = first.ok & np.isin(first.rows.ids, ids)
        if not here.any():
            raise EmbedkitError(_strangers(first, file, readable[0], ids))
        shared &= here
    if not shared.any():
        raise EmbedkitError(
            f"{listed([str(file.path) for file in files])}: no image is in all of them. Give files of the "
            "same images, or two at a time."
        )
    everywhere = first.rows.ids[shared]
    left_out, notes = {}, []
    for name, file in zip(names, files, strict=True):
        alone = file.rows.ids[~np.isin(file.rows.ids, everywhere)]
        if n := len(alone):
            note = (
                f"{name}: {n:,} of its {file.n:,} images {'is' if n == 1 else 'are'} left out, not being in "
                f"every file or not readable for it: {listed([repr(str(one)) for one in alone], NAMED)}."
            )
            left_out[note] = alone
    for name, file in zip(names[1:], files[1:], strict=True):
        if file.dataset_name != first.dataset_name:
            notes.append(
                f"{names[0]} is of the dataset {first.dataset_name}, {name} of {file.dataset_name}: their "
                "images are matched by id alone."
            )
    return Matched(shared, left_out, tuple(notes))


def _strangers(a: FeatureFile, b: FeatureFile, of_a: NDArray[np.str_], of_b: NDArray[np.str_]) -> str:
    for file, ids in ((a, of_a), (b, of_b)):
        if not len(ids):
            return f"{file.path}: no row could be read when it was extracted: nothing to show."
    return (
        f"{a.path} and {b.path}: no image is in both. Ids such as {str(of_a[0])!r} meet none such as "
        f"{str(of_b[0])!r}. Give feature files of the same images, or make a report of each."
    )


def rows_by_id(file: FeatureFile, ids: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the rows (n,) of a file that have these ids (n,), all of which it has."""
    row_of = {str(name): row for row, name in enumerate(file.rows.ids)}
    return np.array([row_of[str(name)] for name in ids], np.int64)


def labelled(rows: Rows, files: Sequence[FeatureFile], names: Sequence[str]) -> tuple[Rows, tuple[str, ...]]:
    """Give rows the labels of the first file that has some, and say which others contradict them.

    Parameters
    ----------
    rows
        Of the first file, all of which the others have.
    files, names
        As `match` takes them.

    Returns
    -------
    Rows
        With labels where any file has some.
    tuple of str
        Where the labels are from, and where they differ.
    """
    notes, source = [], names[0]
    for name, file in zip(names[1:], files[1:], strict=True):
        theirs = file.rows.labels
        if theirs is None:
            continue
        theirs = theirs[rows_by_id(file, rows.ids)]
        if rows.labels is None:
            rows, source = replace(rows, labels=theirs, class_names=file.rows.class_names), name
            notes.append(f"{names[0]} has no labels: those of {name} are shown.")
            continue
        # The last is of rows without a label, -1.
        ours = np.array([*rows.class_names, ""])[rows.labels]
        other = np.array([*file.rows.class_names, ""])[theirs]
        if n := int((differ := (ours != other) & (ours != "") & (other != "")).sum()):
            row = int(np.argmax(differ))
            notes.append(
                f"{name} calls {n:,} of the images otherwise than {source}, such as {str(rows.ids[row])!r} "
                f"{str(other[row])!r} instead of {str(ours[row])!r}: those of {source} are shown."
            )
    return rows, tuple(notes)


def names_of(files: Sequence[FeatureFile]) -> tuple[str, ...]:
    """Name files by their stems, with the folder where these are alike; else by a letter."""
    stems = [file.path.stem for file in files]
    longer = [f"{file.path.parent.name}/{file.path.stem}" for file in files]
    for names in (stems, longer):
        if len(set(names)) == len(names):
            return tuple(names)
    return tuple(f"{chr(ord('A') + at % 26)}{at // 26 or ''}: {stem}" for at, stem in enumerate(stems))
