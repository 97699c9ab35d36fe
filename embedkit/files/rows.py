"""What is known of every image besides its pixels; datasets provide it and feature files keep it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.words import SPLITS, label_words, split_word

# As long as a path may be. Text becomes an array as wide as its longest entry: one id of 50 MB among 42 took
# over 3 GiB.
MOST_CHARACTERS = 4096
# And one of 4,096 among a million rows would take 16 GiB, where all others fill a thousandth of it.
MOST_EMPTY_BYTES, MOST_EMPTY = 2**32, 16


@contextmanager
def in_file(where: str) -> Iterator[None]:
    """Have an error about rows name the file that they were read from."""
    try:
        yield
    except EmbedkitError as error:
        if f"{error}".startswith(where):
            raise
        raise type(error)(f"{where}: {error}") from error


@dataclass(frozen=True)
class Rows:
    """The annotations of n images, in the dataset's order.

    Parameters
    ----------
    ids : (n,) str
        Unique, never empty.
    labels : (n,) int64, optional
        Index into `class_names`; -1 where an image has no label.
    class_names
        Names of the classes, each different and none empty; a class may have no image.
    targets : (n, t) float32, optional
        Regression targets such as vote fractions; NaN where missing.
    target_names
        Names of the t targets.
    asked : (n, t) float64, optional
        Of targets that are shares of votes: how many people answered the question of each; NaN where nobody
        says so.
    split : (n,) str, optional
        ``train``, ``validation``, ``test``, or empty where a row belongs to none; other words for them, such
        as ``val`` and ``dev``, become these.
    group : (n,) str, optional
        Rows of one group belong on the same side of every split.
    coordinates : (n, 2) float64, optional
        Right ascension and declination in degrees (J2000); NaN where missing.

    Raises
    ------
    EmbedkitError
        An annotation of another length, a duplicate or empty id, a class without a name of its own, text that
        no file can hold or of more than `MOST_CHARACTERS`, a label that is no index of a class, a target that
        float32 can't hold, or an unknown split.
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    targets: NDArray[np.float32] | None = None
    target_names: tuple[str, ...] = ()
    split: NDArray[np.str_] | None = None
    group: NDArray[np.str_] | None = None
    coordinates: NDArray[np.float64] | None = None
    asked: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "ids", text_array(self.ids, "ids").reshape(-1))
        set_field(self, "class_names", tuple(str(name) for name in self.class_names))
        set_field(self, "target_names", tuple(str(name) for name in self.target_names))
        if self.labels is not None:
            set_field(self, "labels", _whole_numbers(self.labels))
        if self.targets is not None:
            set_field(self, "targets", _float32(self.targets))
        if self.split is not None:
            split = text_array(self.split, "split")
            words = {str(word): split_word(str(word)) for word in np.unique(split)}
            if any(word != known for word, known in words.items()):
                split = np.array([words[str(word)] for word in split.ravel()], np.str_).reshape(split.shape)
            set_field(self, "split", split)
        if self.group is not None:
            set_field(self, "group", text_array(self.group, "group"))
        if self.coordinates is not None:
            set_field(self, "coordinates", np.asarray(self.coordinates, dtype=np.float64))
        if self.asked is not None:
            set_field(self, "asked", np.asarray(self.asked, dtype=np.float64))
        self._check()

    def _check(self) -> None:
        n = len(self.ids)
        shapes = {
            "labels": (n,),
            "targets": (n, len(self.target_names)),
            "split": (n,),
            "group": (n,),
            "coordinates": (n, 2),
            "asked": (n, len(self.target_names)),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and values.shape != shape:
                raise EmbedkitError(f"{name} has shape {values.shape}, expected {shape} for {n} images.")
        if (self.ids == "").any():
            raise EmbedkitError(
                f"row {int(np.argmax(self.ids == ''))} has an empty id. Give every image one."
            )
        self._check_text()
        unique, counts = np.unique(self.ids, return_counts=True)
        if len(unique) < n:
            raise EmbedkitError(
                f"{n - len(unique)} duplicate ids, such as {str(unique[counts > 1][0])!r}. "
                "Ids name the rows, so each must occur once: remove the copies or name an id column."
            )
        if self.labels is not None:
            bad = (self.labels < -1) | (self.labels >= len(self.class_names))
            if bad.any():
                raise EmbedkitError(
                    f"label {int(self.labels[bad][0])} of {str(self.ids[bad][0])!r} is outside the "
                    f"{len(self.class_names)} classes; -1 stands for no label."
                )
        if self.split is not None:
            bad = ~np.isin(self.split, (*SPLITS, ""))
            if bad.any():
                raise EmbedkitError(
                    f"split {str(self.split[bad][0])!r} of {str(self.ids[bad][0])!r} is not one of "
                    f"{', '.join(SPLITS)}. Rename it, or leave it empty to keep the row out of every split."
                )

    def _check_text(self) -> None:
        for name in ("ids", "split", "group"):
            values = getattr(self, name)
            if values is None or is_text("".join(values)):
                continue
            bad = next(value for value in values.tolist() if not is_text(value))
            raise EmbedkitError(f"{name} hold {bad!r}, which is no text that a file can keep. Rename it.")
        for name in (*self.class_names, *self.target_names):
            if len(name) > MOST_CHARACTERS or not is_text(name):
                raise EmbedkitError(
                    f"a class or target is called {name[:40]!r} ({len(name):,} characters), which is no text "
                    f"of at most {MOST_CHARACTERS:,} that a file can keep. Rename it."
                )
        if "" in self.class_names:
            raise EmbedkitError("a class has an empty name. Name it; label -1 stands for no label.")
        if len(set(self.class_names)) < len(self.class_names):
            twice = next(name for name in self.class_names if self.class_names.count(name) > 1)
            raise EmbedkitError(f"two classes are called {twice!r}. Make them one, or rename one.")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: NDArray[Any] | slice | Sequence[int]) -> Rows:
        """Return the rows at `index` (integers, a boolean mask or a slice)."""
        index = np.arange(len(self))[index]
        per_row = ("ids", "labels", "targets", "split", "group", "coordinates", "asked")
        changed = {
            field.name: getattr(self, field.name)[index]
            for field in fields(self)
            if field.name in per_row and getattr(self, field.name) is not None
        }
        return replace(self, **changed)


def is_text(value: str) -> bool:
    """Whether HDF5 and UTF-8 can hold it: no NUL, no half of a surrogate pair."""
    return "\0" not in value and value.encode(errors="replace").decode() == value


def row_numbers(rows: slice | NDArray[Any] | None, n: int) -> NDArray[np.int64]:
    """Return the numbers of the rows that a slice, a mask, an index or None for all takes of n rows."""
    if rows is None or isinstance(rows, slice):
        return np.arange(*(rows or slice(None)).indices(n))
    rows = np.asarray(rows)
    if rows.dtype.kind == "i" and rows.ndim == 1 and (not len(rows) or (rows.min() >= 0 and rows.max() < n)):
        return rows.astype(np.int64, copy=False)  # without a list of all n for each block that is read
    return np.asarray(np.arange(n)[rows])


def text_array(values: Any, name: str) -> NDArray[np.str_]:
    """Return text as an array of str; bytes are UTF-8, None is empty, numbers are written out.

    Raises
    ------
    EmbedkitError
        Bytes that are no UTF-8, numbers that are no characters, an entry of more than `MOST_CHARACTERS`, or
        one that is so much longer than the others that they would fill the memory; `name` says of what.
    """
    array = values if isinstance(values, np.ndarray) else np.array(values, dtype=object)
    if array.dtype.kind == "U":
        _check_characters(array, name)
        if array.dtype.itemsize <= 4 * MOST_CHARACTERS:
            return array
    if array.dtype.kind not in "USO":
        return array.astype(np.str_)
    cells = [_cell(cell, name) for cell in array.ravel().tolist()]
    longest = max(cells, key=len, default="")
    if len(longest) > MOST_CHARACTERS:
        raise EmbedkitError(
            f"{name} hold {longest[:40]!r}... of {len(longest):,} characters; at most {MOST_CHARACTERS:,} "
            "are taken. Shorten it."
        )
    room = 4 * len(longest) * len(cells)
    if room > MOST_EMPTY_BYTES and room > MOST_EMPTY * 4 * sum(map(len, cells)):
        raise EmbedkitError(
            f"{name} hold {longest[:40]!r}... of {len(longest):,} characters among {len(cells):,} rows. In "
            f"memory all are as wide as the longest, {room / 2**30:.0f} GiB in all. Shorten it."
        )
    return np.array(cells, dtype=np.str_).reshape(array.shape)


def _check_characters(array: NDArray[Any], name: str) -> None:
    """Refuse numbers beyond the last character, which NumPy makes into text that nothing can write."""
    if not array.size or not array.dtype.itemsize:
        return
    order = ">" if array.dtype.byteorder == ">" else "="
    largest = int(np.ascontiguousarray(array).view(f"{order}u4").max())
    if largest > sys.maxunicode:
        raise EmbedkitError(
            f"{name} hold a character of number {largest:,}, and the last one is {sys.maxunicode:,}: they "
            "are damaged. Restore the file."
        )


def _cell(value: Any, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise EmbedkitError(f"{name} hold {value[:40]!r}, which is no UTF-8 text. Decode it.") from error
    return str(value)


def _whole_numbers(values: Any) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype.kind == "O" or not array.size:
        array = np.array(array.tolist())
    if array.dtype.kind in "bi":
        return array.astype(np.int64)
    if array.dtype.kind not in "uf":
        raise EmbedkitError(
            f"labels are {array.dtype}, not whole numbers. Give each row the index of its class in "
            "class_names (`labels_from_names` makes both of names), and -1 for none."
        )
    # 2**53: beyond it a float is no certain whole number, and no one has as many classes.
    bad = ~(np.isfinite(array) & (array == np.floor(array)) & (np.abs(array) < 2**53))
    if bad.any():
        raise EmbedkitError(
            f"label {array[bad].ravel()[0]:g} is not the index of a class. Give whole numbers, -1 for no "
            "label, or store such numbers as targets."
        )
    return array.astype(np.int64)


def _float32(values: Any) -> NDArray[np.float32]:
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":
            raise ValueError("complex numbers")
        with np.errstate(over="ignore"):
            found = array.astype(np.float32)
        lost = np.isinf(found) & ~np.isinf(array.astype(np.float64))
    except (ValueError, TypeError) as error:
        raise EmbedkitError(f"targets are not numbers ({error}). Give one a target and row.") from error
    if lost.any():
        raise EmbedkitError(
            f"target {array[lost].ravel()[0]:g} is beyond what float32 holds (3.4e38). Give its logarithm, "
            "or another unit."
        )
    return found


def labels_from_names(names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Turn class names into labels: classes sorted by name; what `label_words` takes for none is -1."""
    words = label_words(names)
    class_names = tuple(sorted(set(words) - {""}))
    index = {name: label for label, name in enumerate(class_names)} | {"": -1}
    return np.array([index[word] for word in words], dtype=np.int64), class_names
