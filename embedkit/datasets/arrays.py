"""Arrays of images, read one image at a time, and what of a file's arrays the images are."""

from __future__ import annotations

import os
import re
import zipfile
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.annotations import check_size, make_rows, note_unused, wanted_keys
from embedkit.datasets.dataset import Dataset, fingerprint, short_name
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.files.words import SPLIT_NAMES
from embedkit.images.values import CHANNELS, MANY

NO_OBJECTS = (
    "holds Python objects, which can only be read by running code from the file. Store a plain array: "
    "numpy.stack the rows, and strings as dtype str."
)

# As MedMNIST (train_images, train_labels) and Keras (x_train, y_train) name the parts of a divided set.
_WHAT = {"images": "images?|imgs?|data|x", "labels": "labels?|targets?|y"}


@dataclass
class ArrayImages:
    """Read images of one array by row number; the array is opened once in each process.

    Parameters
    ----------
    path
        The file.
    open
        Opens the array; picklable.
    block
        Images that are read at once, and kept until one outside is wanted.
    absent : (n,) bool, optional
        True where an image is not in the file, though the array has a place for it; None where that can't be
        told.
    why_absent
        What happened to these.
    """

    path: str
    open: Callable[[], Any]
    block: int = 1
    absent: NDArray[np.bool_] | None = None
    why_absent: str = ""

    def __post_init__(self) -> None:
        self._array: Any = None
        self._pid = -1
        self._kept: tuple[int, NDArray[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_array": None, "_pid": -1, "_kept": None}

    def where(self, row: int) -> str:
        """Return the file and the row of one image."""
        return f"{self.path}[{row}]"

    def read(self, row: int) -> bytes | NDArray[Any]:
        """Return one image as it is stored; raises `ImageError` where it is damaged or not there."""
        if self.absent is not None and self.absent[row]:
            raise ImageError(
                f"{self.where(row)}: not in the file ({self.why_absent}), so it would be black. Write it."
            )
        try:
            # HDF5 handles must not be shared with a forked worker, so each process opens its own.
            if self._array is None or self._pid != os.getpid():
                self._array, self._pid = self.open(), os.getpid()
            if self.block == 1:
                return _as_stored(self._array[row])
            start = row // self.block * self.block
            kept = self._kept  # one reference, so that another thread's block can't be taken for this one
            if kept is None or kept[0] != start:
                kept = self._kept = (start, np.asarray(self._array[start : start + self.block]))
            return np.asarray(kept[1][row - start])
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ImageError(f"{self.where(row)}: cannot be read ({error}). Restore the file.") from error


@dataclass
class JoinedImages:
    """Read the images of several arrays, one after the other, by one row number.

    Parameters
    ----------
    parts
        Readers by the arrays' names.
    counts
        Images of each.
    """

    parts: Mapping[str, ArrayImages]
    counts: tuple[int, ...]

    @property
    def absent(self) -> NDArray[np.bool_] | None:
        """(n,) True where an image is not in the file."""
        found = [part.absent for part in self.parts.values()]
        known = [one for one in found if one is not None]
        return np.concatenate(known) if len(known) == len(found) else None

    @property
    def why_absent(self) -> str:
        """What happened to these."""
        return next((part.why_absent for part in self.parts.values() if part.why_absent), "")

    def _of(self, row: int) -> tuple[str, int]:
        starts = [0, *accumulate(self.counts)]
        part = bisect_right(starts, row) - 1
        return list(self.parts)[part], row - starts[part]

    def where(self, row: int) -> str:
        """Return the file, the array and the row of one image."""
        key, own = self._of(row)
        return f"{self.parts[key].path}: {key}[{own}]"

    def read(self, row: int) -> bytes | NDArray[Any]:
        """Return one image as it is stored."""
        key, own = self._of(row)
        return self.parts[key].read(own)


@dataclass(frozen=True)
class Stored:
    """An array of a file, as its header declares it.

    Parameters
    ----------
    shape, dtype
        Of the array.
    read
        Reads all of it.
    images
        Makes its reader of single images.
    encoded
        Whether each entry is the bytes of an image file.
    objects
        Whether it holds pickled Python objects.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[], NDArray[Any]]
    images: Callable[[], ArrayImages]
    encoded: bool = False
    objects: bool = False


def array_dataset(
    path: Path, stored: Mapping[str, Stored], *, images_key: str | None, labels_key: str | None
) -> Dataset:
    """Make a dataset of the arrays of one file: images, and what is stored beside them.

    Raises
    ------
    UsageError
        A key that isn't there, or none given where several arrays could be the images.
    EmbedkitError
        Arrays that hold no images, or annotations that are not what they must be.
    """
    where = str(path)
    shapes = {name: array.shape for name, array in stored.items()}
    divided = _divided(stored) if images_key is None and labels_key is None else {}
    parts = divided or {"": _images_key(path, stored, images_key)}
    for key in parts.values():
        if not stored[key].encoded:
            check_images(stored[key].shape, stored[key].dtype, f"{where}: {key}")
    n = sum(stored[key].shape[0] for key in parts.values())
    others = {name: array for name, array in stored.items() if name not in parts.values()}
    wanted = wanted_keys(where, others, labels_key)
    found = {}
    for name, key in wanted.items():
        if stored[key].objects:
            raise EmbedkitError(f"{where}: {key} {NO_OBJECTS}")
        check_size(name, stored[key].shape, stored[key].dtype, n, where)
        found[name] = stored[key].read()
    used = {*parts.values(), *wanted.values()}
    if divided:
        used |= _add_parts(found, stored, divided)
    rows = make_rows(n, found, where)
    unused = {name: shape for name, shape in shapes.items() if name not in used}
    note_unused(where, unused, n, labelled=rows.labels is not None or rows.targets is not None)
    readers = {key: stored[key].images() for key in parts.values()}
    given = {"images_key": images_key, "labels_key": labels_key}
    origin = {"source": where} | {name: key for name, key in given.items() if key is not None}
    content: dict[str, Any] = {"bytes": path.stat().st_size}
    if not divided:
        (key,) = readers
        content |= {"shape": list(shapes[key]), "dtype": stored[key].dtype.str}
        reader: ArrayImages | JoinedImages = readers[key]
    else:
        content |= {key: [list(shapes[key]), stored[key].dtype.str] for key in readers}
        reader = JoinedImages(readers, tuple(shapes[key][0] for key in readers))
    return Dataset(
        short_name(path),
        rows,
        reader.read,
        reader.where,
        fingerprint(rows, content),
        origin,
        reader.absent,
        reader.why_absent,
    )


def _add_parts(
    found: dict[str, NDArray[Any]], stored: Mapping[str, Stored], parts: Mapping[str, str]
) -> set[str]:
    """Put split, ids and labels of a divided set beside what was found; return the arrays that were used."""
    counts = {split: stored[key].shape[0] for split, key in parts.items()}
    found["split"] = np.repeat(list(counts), list(counts.values()))
    ids = [f"{split}/{i}" for split, count in counts.items() for i in range(count)]
    found.setdefault("ids", np.array(ids, dtype=np.str_))
    keys = {split: key for split in parts if (key := _part(stored, "labels", split)) is not None}
    if not keys:
        return set()
    labels = {}
    for split, key in keys.items():
        check_size(key, stored[key].shape, stored[key].dtype, counts[split], "labels")
        labels[split] = stored[key].read()
    some = next(iter(labels.values()))
    for split, count in counts.items():
        if split not in labels:  # as a test set that others keep the answers of
            nothing = "" if some.dtype.kind in "USO" else 0 if some.shape[1:] not in ((), (1,)) else -1
            labels[split] = np.full((count, *some.shape[1:]), nothing)
    if len({(values.shape[1:], values.dtype.kind in "USO") for values in labels.values()}) > 1:
        raise EmbedkitError(f"{', '.join(keys.values())}: labels of different kinds. Store them alike.")
    found["labels"] = np.concatenate([labels[split] for split in parts])
    return set(keys.values())


def _divided(stored: Mapping[str, Stored]) -> dict[str, str]:
    """Return split to the name of its images, for a file that holds train, validation, test apart."""
    found = {}
    for word in dict.fromkeys(SPLIT_NAMES.values()):
        key = _part(stored, "images", word)
        if key is not None and len(stored[key].shape) in (3, 4):
            found[word] = key
    return found if len(found) > 1 else {}


def _part(names: Mapping[str, Any], what: str, split: str) -> str | None:
    """Return the array of that name and split; None where there is none, or more than one."""
    words = "|".join(word for word, known in SPLIT_NAMES.items() if known == split)
    pattern = re.compile(rf"({words})[_ .-]?({_WHAT[what]})|({_WHAT[what]})[_ .-]?({words})", re.IGNORECASE)
    same = [name for name in names if pattern.fullmatch(name)]
    return same[0] if len(same) == 1 else None


def _as_stored(value: Any) -> bytes | NDArray[Any]:
    """An image, or the bytes of an image file: of one axis, or opaque."""
    array = np.asarray(value)
    if array.dtype.kind == "V" or (array.ndim == 1 and array.dtype in (np.uint8, np.int8)):
        return array.tobytes()
    return array


def _images_key(path: Path, stored: Mapping[str, Stored], wanted: str | None) -> str:
    known = ", ".join(f"{name} {array.shape}" for name, array in list(stored.items())[:20]) or "none"
    if wanted is not None:
        for name in (wanted, wanted.strip("/")):
            if name in stored:
                return name
        raise UsageError(f"{path}: no array {wanted!r} for --images-key. Its arrays: {known}.")
    if "images" in stored:
        return "images"
    likely = [name for name, array in stored.items() if len(array.shape) in (3, 4) or array.encoded]
    if len(likely) != 1:
        named = [name for name in likely if name.lower() == "images"]
        if len(named) == 1:
            return named[0]
        flat = not likely and any(len(array.shape) == 2 for array in stored.values())
        vectors = " Vectors that were computed already are for `embedkit import`." if flat else ""
        raise UsageError(
            f"{path}: {'several arrays' if likely else 'no array'} could be the images. Name one with "
            f"--images-key; its arrays: {known}.{vectors}"
        )
    return likely[0]


def check_images(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    """Refuse an array that can't be n images, by its shape and type."""
    if dtype.hasobject and dtype.metadata:  # as h5py marks them
        raise EmbedkitError(
            f"{where}: holds text, references or rows of free length, and no images. Store (n, h, w, 3), or "
            "the bytes of image files as uint8 of free length."
        )
    if dtype.hasobject:
        raise EmbedkitError(f"{where}: {NO_OBJECTS}")
    expected = "Images are (n, h, w) or (n, h, w, 3), of uint8, uint16 or floats from 0 to 1."
    if len(shape) == 2 and 0 not in shape and dtype.kind in "iuf":
        raise EmbedkitError(
            f"{where}: an array of shape {shape} holds no images. If these are vectors that were computed "
            f"already, `embedkit import` makes a feature file of them. {expected}"
        )
    if len(shape) not in (3, 4) or 0 in shape:
        raise EmbedkitError(f"{where}: an array of shape {shape} holds no images. {expected}")
    if len(shape) == 3 and shape[2] in (1, 3, 4):
        raise EmbedkitError(f"{where}: an array of shape {shape} looks like one image. {expected}")
    if len(shape) == 4 and shape[2] in CHANNELS and not {shape[1], shape[3]} & {*CHANNELS}:  # as of Matlab
        raise EmbedkitError(
            f"{where}: an array of shape {shape} has its images along the last axis. Store it with "
            "these first: numpy.moveaxis(x, -1, 0)."
        )
    if len(shape) == 4 and min(shape[1], shape[3]) > MANY:  # which of fewer are shown, --channels says
        raise EmbedkitError(f"{where}: an array of shape {shape} has no axis of channels. {expected}")
    if dtype.kind not in "buif":
        raise EmbedkitError(f"{where}: an array of {dtype} holds no images. {expected}")
