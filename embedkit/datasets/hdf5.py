"""Images in HDF5 files: stacked in one dataset, encoded, or one dataset an image."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.annotations import decoded
from embedkit.datasets.arrays import ArrayImages, Stored, array_dataset
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.hdf5_attributes import names_in_attributes
from embedkit.datasets.hdf5_group import images_group, load_group
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.hdf5 import contents, reading
from embedkit.files.hdf5 import open_hdf5 as open_any
from embedkit.files.hdf5_gaps import gaps
from embedkit.files.hdf5_heaps import damaged_heap
from embedkit.files.regular import resolved

MAX_CHUNK_CACHE = 2**29

# Where a chunk spans many images: an image of 256 x 256 takes 4.4 ms alone and 2.3 ms in a block of eight.
BLOCK = 8


@dataclass(frozen=True)
class _InHdf5:
    """A dataset of an HDF5 file, with room for the chunks that one image lies in."""

    path: str
    key: str
    cache_bytes: int
    cache_slots: int

    def __call__(self) -> h5py.Dataset:
        file = h5py.File(
            self.path, "r", rdcc_nbytes=self.cache_bytes, rdcc_nslots=self.cache_slots, rdcc_w0=1.0
        )
        return file[self.key]


def load_h5(source: str, *, images_key: str | None = None, labels_key: str | None = None) -> Dataset:
    """Read an HDF5 file with `images` and, where they are there, `labels` and the `ANNOTATIONS`.

    Raises
    ------
    UsageError
        A feature file, or a key that isn't there.
    EmbedkitError
        Damaged, in use elsewhere, or with values that lie outside the folder of the file.
    """
    path = resolved(source)
    with open_hdf5(path) as file, reading(path, "Restore the file."):
        found = contents(file)
        stored = {name: _stored(path, name, item) for name, item in found.datasets.items()}
        for name, why in found.unreachable.items():
            if name in (images_key, labels_key):
                raise UsageError(f"{path}: {name}: {why}.")
            note(f"{path}: not used: {why.removeprefix(f'{path}: ').rstrip('.')}.")
        for name, values in names_in_attributes(found, str(path)).items():
            stored[name] = _in_memory(values)
        group = images_group(found, images_key)
        if group is not None or any(item.dtype.kind == "O" for item in found.datasets.values()):
            check_heaps(file, path)
        if group is not None:
            return load_group(path, found, stored, group, images_key=images_key, labels_key=labels_key)
        return array_dataset(path, stored, images_key=images_key, labels_key=labels_key)


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file of images; raises `EmbedkitError` on a damaged one or a feature file."""
    file = open_any(path, "Restore the file.")
    with reading(path, "Restore the file."):
        if "format" in file.attrs:
            check_heaps(file, path)
        named = file.attrs.get("format")
        features = isinstance(named, str) and named == "embedkit-features"
    if features:
        file.close()
        raise UsageError(
            f"{path}: a feature file, not a dataset of images. Give it to `embedkit cluster`, `probe` or "
            "`report`; this wants the images."
        )
    return file


def check_heaps(file: h5py.File, path: Path) -> None:
    """Refuse a file whose text, or bytes of free length, HDF5 would read for ever."""
    wrong = damaged_heap(file, path)
    if wrong:
        raise EmbedkitError(f"{path}: damaged: {wrong.rstrip('.')}. Restore the file.")


def read_hdf5(dataset: h5py.Dataset, name: str, where: str) -> NDArray[Any]:
    """Read a whole small array, strings as text.

    Raises
    ------
    EmbedkitError
        Values that were never written, or can't be read.
    """
    missing = gaps(dataset, f"{where}: {name}")
    if missing:
        raise EmbedkitError(
            f"{where}: {name}: {int(missing.rows.sum()):,} entries are not in the file ({missing.why}), "
            "and would be read as zero. Write them."
        )
    try:
        values = np.asarray(dataset[()])
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise EmbedkitError(f"{where}: {name} can't be read ({error}). Restore the file.") from error
    names = h5py.check_enum_dtype(dataset.dtype)
    if names is not None:
        known = {value: name for name, value in names.items()}
        words = [known.get(value, "") for value in values.ravel().tolist()]
        return np.array(words, dtype=np.str_).reshape(values.shape)
    if h5py.check_ref_dtype(dataset.dtype) is not None:
        raise EmbedkitError(
            f"{where}: {name} holds references to other parts of the file, not values. Store the values."
        )
    info = h5py.check_string_dtype(dataset.dtype)
    fixed = info is not None and info.length is not None
    if fixed and dataset.id.get_type().get_strpad() == h5py.h5t.STR_SPACEPAD:  # as Fortran does
        values = np.char.rstrip(values, b" ")
    return decoded(values, name, where) if info is not None else values


def hdf5_images(path: Path, images: h5py.Dataset) -> ArrayImages:
    """Return what reads `images` in a worker, with a cache as large as its chunks ask for.

    h5py's own choice of chunks for 17,736 x 256 x 256 x 3 is (555, 16, 16, 1): one image touches 768 chunks
    that hold 109 MB. With the usual cache of a few MB every image inflates all of them again; with room for
    them, reading in order inflates each chunk once (0.2 s against 0.004 s an image).

    Raises
    ------
    EmbedkitError
        Not one of the images is in the file, or they lie where they are not read from.
    """
    missing = gaps(images, f"{path}: {images.name}")
    if missing and missing.rows.all():
        raise EmbedkitError(
            f"{path}: {images.name}: none of the {len(images):,} images is in the file: {missing.why}. "
            "Without that they would all be black. Restore what is missing."
        )
    if missing:
        n_missing = int(missing.rows.sum())
        note(f"{path}: {n_missing:,} of {len(images):,} images are not in the file: {missing.why}.")
    n_bytes, n_chunks, block = 2**20, 1, 1
    if images.chunks is not None and images.chunks[0] > 1:
        n_chunks = prod(ceil(s / c) for s, c in zip(images.shape[1:], images.chunks[1:], strict=True))
        n_bytes = n_chunks * prod(images.chunks) * images.dtype.itemsize
        block = BLOCK if images.ndim > 1 else 1
    if n_bytes > MAX_CHUNK_CACHE:
        note(
            f"{path}: one image lies in chunks of {n_bytes / 1e6:,.0f} MB, more than is cached, so reading "
            "is slow. Store it with chunks of one image: chunks=(1, h, w, 3)."
        )
    opener = _InHdf5(
        str(resolved(images.file.filename)),
        images.name,
        cache_bytes=min(n_bytes, MAX_CHUNK_CACHE) + 2**20,
        cache_slots=20 * n_chunks + 501,
    )
    return ArrayImages(str(path), opener, block, missing.rows, missing.why)


def is_encoded(dtype: np.dtype[Any]) -> bool:
    """Whether an entry may be the bytes of an image file: of any length, or opaque."""
    return h5py.check_vlen_dtype(dtype) in (np.uint8, np.int8) or (dtype.kind == "V" and dtype.names is None)


def _in_memory(values: NDArray[Any]) -> Stored:
    def no_images() -> ArrayImages:
        raise TypeError("names are no images")

    return Stored(values.shape, values.dtype, lambda: values, no_images)


def _stored(path: Path, name: str, item: h5py.Dataset) -> Stored:
    return Stored(
        tuple(item.shape or ()),
        item.dtype,
        lambda: read_hdf5(item, name, str(path)),
        lambda: hdf5_images(path, item),
        encoded=item.ndim == 1 and is_encoded(item.dtype),
    )
