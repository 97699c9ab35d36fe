"""Vectors in .npy, .npz and HDF5 files."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.arrays import NO_OBJECTS
from embedkit.datasets.hdf5_attributes import names_in_attributes
from embedkit.datasets.npz import stored_array, stored_arrays
from embedkit.errors import EmbedkitError, UsageError, first_line
from embedkit.extraction.vectors.source import Vectors, check_shape, choose
from embedkit.files.hdf5 import contents, open_hdf5
from embedkit.files.hdf5_gaps import gaps

# What reading a damaged file ends in.
_ERRORS = (ValueError, OSError, EOFError, RuntimeError, LookupError, TypeError, AttributeError, MemoryError)
DAMAGED: tuple[type[Exception], ...] = (*_ERRORS, zipfile.BadZipFile, zlib.error)
_NAMES = ("class_names", "target_names")


def open_npy(path: Path, key: str | None) -> Vectors:
    """Open a .npy of (n, d), mapped into memory."""
    if key is not None:
        raise EmbedkitError(f"{path}: a .npy holds one array, so --key does not apply. Leave it out.")
    stored = stored_array(path)
    if stored.objects:
        raise EmbedkitError(f"{path}: {NO_OBJECTS}")
    check_shape(str(path), stored.shape, stored.dtype, path)
    x = stored.read()
    return Vectors(str(path), x.shape, x.dtype, lambda start, stop: np.asarray(x[start:stop]))


def open_npz(path: Path, key: str | None) -> Vectors:
    """Open a .npz with vectors and, where they are there, ids, labels and other annotations."""
    stored = stored_arrays(path)
    shapes = {name: (array.shape, array.dtype) for name, array in stored.items()}
    key = choose(path, shapes, key)
    check_shape(f"{path}: {key}", *shapes[key], path)
    x = stored[key].read()
    per_row = {
        name: array.read()
        for name, array in stored.items()
        if name != key and not array.objects and len(array.shape) in (1, 2) and array.shape[0] == len(x)
    }
    names = {name: stored[name].read() for name in _NAMES if name in stored}
    unread = [
        f"{name} (Python objects)" if array.objects else f"{name} {array.shape}"
        for name, array in stored.items()
        if name not in (key, *per_row, *names)
    ]
    said = f"{x.shape[1]:,} dimensions from {key}"
    where = f"{path}: {key}"
    return Vectors(
        where, x.shape, x.dtype, lambda start, stop: x[start:stop], per_row, said, names, unread=unread
    )


def open_h5(path: Path, key: str | None) -> Vectors:
    """Open an HDF5 file with a 2-D dataset and, beside it or at the root, annotations."""
    try:
        with open_hdf5(path, "Restore it.") as file:
            return _of_hdf5(path, file, key)
    except DAMAGED as error:
        raise EmbedkitError(
            f"{path}: not a readable HDF5 file ({first_line(error)}). Restore the file."
        ) from error


def _small(item: h5py.Dataset) -> NDArray[Any]:
    """Read a whole array; text as it is stored, which `embedkit.files.rows` decodes."""
    return np.asarray(item[()])


def _check_not_one_each(path: Path, numeric: Sequence[tuple[str, tuple[int, ...]]]) -> None:
    """Refuse arrays that are a row each, or a column each: nothing says which."""
    if len(numeric) > 2 and len({shape for _, shape in numeric}) == 1 and len(numeric[0][1]) == 1:
        raise UsageError(
            f"{path}: {len(numeric):,} arrays of shape {numeric[0][1]}, such as {numeric[0][0]}, and none of "
            "vectors. If each is the vector of one image, store numpy.stack of them as `features`, and their "
            "names as `ids`; if each is one dimension, numpy.stack(..., axis=1)."
        )


def _of_hdf5(path: Path, file: h5py.File, key: str | None) -> Vectors:
    found = contents(file)
    datasets = found.datasets
    shapes = {name: (item.shape, item.dtype) for name, item in datasets.items() if item.shape is not None}
    if key is None:
        _check_not_one_each(path, [(name, shape) for name, (shape, t) in shapes.items() if t.kind in "fiu"])
    key = choose(path, shapes, key)
    check_shape(f"{path}: {key}", *shapes[key], path)
    (n, d), dtype = shapes[key]
    lost = gaps(datasets[key], f"{path}: {key}")
    if lost.rows.any():
        raise EmbedkitError(
            f"{path}: {key}: {int(lost.rows.sum()):,} of {n:,} rows are not in the file, the first "
            f"{int(np.argmax(lost.rows))}. {lost.why} Write it again."
        )
    folder = key.rpartition("/")[0]
    per_row: dict[str, NDArray[Any]] = {}
    names = dict[str, NDArray[Any]](names_in_attributes(found, str(path)))
    unread = [f"{name} {shape}" for name, (shape, _) in shapes.items() if name != key]
    for name, (shape, _) in sorted(shapes.items(), key=lambda one: one[0].rpartition("/")[0] == folder):
        above, _, last = name.rpartition("/")
        if name == key or above not in ("", folder):
            continue
        if last in _NAMES:
            names[last] = _small(datasets[name])
            unread.remove(f"{name} {shape}")
        elif len(shape) in (1, 2) and shape[0] == n:
            per_row[last] = _small(datasets[name])
            unread.remove(f"{name} {shape}")

    def read(start: int, stop: int) -> NDArray[Any]:
        try:
            with open_hdf5(path, "Restore it.") as again:
                return np.asarray(contents(again).datasets[key][start:stop])
        except DAMAGED as error:
            raise EmbedkitError(
                f"{path}: {key}: cannot be read ({first_line(error)}). Restore it."
            ) from error

    said = f"{d:,} dimensions from {key}"
    return Vectors(f"{path}: {key}", (n, d), dtype, read, per_row, said, names, unread=unread)
