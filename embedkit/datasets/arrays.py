"""Arrays of images in a .npy, .npz or .h5 file, read one image at a time."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.dataset import Dataset, fingerprint, short_name
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.files.rows import Rows, labels_from_names

# Beside images and labels; each is optional and has one entry an image, except the two lists of names.
ANNOTATIONS = ("ids", "split", "group", "targets", "target_names", "class_names", "ra", "dec")

MAX_CHUNK_CACHE = 2**29

# Where a chunk spans many images: an image of 256 x 256 takes 4.4 ms alone and 2.3 ms in a block of eight.
BLOCK = 8


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
    """

    path: str
    open: Callable[[], Any]
    block: int = 1

    def __post_init__(self) -> None:
        self._array: Any = None
        self._pid = -1
        self._kept: tuple[int, NDArray[Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_array": None, "_pid": -1, "_kept": None}

    def where(self, row: int) -> str:
        """Return the file and the row of one image."""
        return f"{self.path}[{row}]"

    def read(self, row: int) -> NDArray[Any]:
        """Return one image as it is stored; raises `ImageError` where the file is damaged."""
        try:
            # HDF5 handles must not be shared with a forked worker, so each process opens its own.
            if self._array is None or self._pid != os.getpid():
                self._array, self._pid = self.open(), os.getpid()
            if self.block == 1:
                return np.asarray(self._array[row])
            start = row // self.block * self.block
            kept = self._kept  # one reference, so that another thread's block can't be taken for this one
            if kept is None or kept[0] != start:
                kept = self._kept = (start, np.asarray(self._array[start : start + self.block]))
            return np.asarray(kept[1][row - start])
        except (OSError, RuntimeError, ValueError, zipfile.BadZipFile) as error:
            raise ImageError(
                f"{self.where(row)}: cannot be read ({error}). Restore the file, or leave such images out "
                "with --on-error skip."
            ) from error


@dataclass(frozen=True)
class _Mapped:
    """An array at an offset of a file, mapped into memory."""

    path: str
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool

    def __call__(self) -> NDArray[Any]:
        array: NDArray[Any] = np.memmap(
            self.path,
            dtype=self.dtype,
            mode="r",
            offset=self.offset,
            shape=self.shape,
            order="F" if self.fortran_order else "C",
        )
        return array


@dataclass(frozen=True)
class _Inflated:
    """A compressed member of a .npz, held in memory."""

    path: str
    key: str

    def __call__(self) -> NDArray[Any]:
        with np.load(self.path, allow_pickle=False) as file:
            array: NDArray[Any] = file[self.key]
        return array


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


def load_npy(source: str) -> Dataset:
    """Read a .npy of (n, h, w) or (n, h, w, 3) images, mapped into memory; ids are the row numbers."""
    path = Path(source).resolve()
    with path.open("rb") as file:
        layout = _npy_layout(file, path, str(path), stored=path.stat().st_size)
    _check_images(layout.shape, layout.dtype, str(path))
    images = ArrayImages(str(path), layout)
    return _dataset(images, layout.shape, layout.dtype, {}, {"source": str(path)})


def load_npz(source: str, *, images_key: str | None = None, labels_key: str | None = None) -> Dataset:
    """Read a .npz with `images` and, where they are there, `labels` and the `ANNOTATIONS`.

    An uncompressed file (`numpy.savez`) is read from the disk image by image; a compressed one is held in
    memory by every process that reads it.
    """
    path = Path(source).resolve()
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise EmbedkitError(
            f"{path}: not a .npz file, or cut off ({error}). Write it again with numpy.savez."
        ) from error
    layouts: dict[str, _Mapped] = {}
    compressed: dict[str, bool] = {}
    with archive, path.open("rb") as file:
        for member in archive.infolist():
            key = member.filename.removesuffix(".npy")
            where = f"{path}: {key}"
            compressed[key] = member.compress_type != zipfile.ZIP_STORED
            with archive.open(member) as head:
                layouts[key] = _npy_layout(head, path, where, stored=None)
            if not compressed[key]:
                start = _member_start(file, member)
                file.seek(start)
                layouts[key] = _npy_layout(file, path, where, stored=start + member.file_size)
    key = _images_key(path, {name: layout.shape for name, layout in layouts.items()}, images_key)
    layout = layouts[key]
    _check_images(layout.shape, layout.dtype, f"{path}: {key}")
    wanted = _wanted_keys(path, layouts, labels_key)
    with np.load(path, allow_pickle=False) as arrays:
        annotations = {name: arrays[stored] for name, stored in wanted.items()}
    reader: _Mapped | _Inflated = layout
    if compressed[key]:
        reader = _Inflated(str(path), key)
        size = prod(layout.shape) * layout.dtype.itemsize / 1e6
        note(
            f"{path}: compressed, so each worker holds all images ({size:,.0f} MB). numpy.savez avoids that."
        )
    images = ArrayImages(str(path), reader)
    return _dataset(images, layout.shape, layout.dtype, annotations, _origin(path, images_key, labels_key))


def load_h5(source: str, *, images_key: str | None = None, labels_key: str | None = None) -> Dataset:
    """Read an HDF5 file with `images` and, where they are there, `labels` and the `ANNOTATIONS`."""
    path = Path(source).resolve()
    with open_hdf5(path) as file:
        shapes: dict[str, tuple[int, ...]] = {}
        file.visititems(
            lambda name, item: shapes.update({name: item.shape}) if isinstance(item, h5py.Dataset) else None
        )
        key = _images_key(path, shapes, images_key)
        images = file[key]
        _check_images(images.shape, images.dtype, f"{path}: {key}")
        reader = hdf5_images(path, images)
        annotations = {
            name: read_hdf5(file, stored) for name, stored in _wanted_keys(path, shapes, labels_key).items()
        }
        return _dataset(
            reader, images.shape, images.dtype, annotations, _origin(path, images_key, labels_key)
        )


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file of images; raises `EmbedkitError` on a damaged one or a feature file."""
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise EmbedkitError(f"{path}: not an HDF5 file, or cut off ({error}). Restore the file.") from error
    if file.attrs.get("format") == "embedkit-features":
        file.close()
        raise UsageError(
            f"{path}: a feature file, not a dataset of images. Give it to `embedkit cluster`, `probe` or "
            "`report`; extract wants the images."
        )
    return file


def read_hdf5(file: h5py.File, key: str) -> NDArray[Any]:
    """Read a whole small array, strings as str."""
    item = file[key]
    values: NDArray[Any] = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
    return np.asarray(values)


def hdf5_images(path: Path, images: h5py.Dataset) -> ArrayImages:
    """Return what reads `images` in a worker, with a cache as large as its chunks ask for.

    h5py's own choice of chunks for 17,736 x 256 x 256 x 3 is (555, 16, 16, 1): one image touches 768 chunks
    that hold 109 MB. With the usual cache of a few MB every image inflates all of them again; with room for
    them, reading in order inflates each chunk once (0.2 s against 0.004 s an image).
    """
    n_bytes, n_chunks, block = 2**20, 1, 1
    if images.chunks is not None and images.chunks[0] > 1:
        n_chunks = prod(ceil(s / c) for s, c in zip(images.shape[1:], images.chunks[1:], strict=True))
        n_bytes = n_chunks * prod(images.chunks) * images.dtype.itemsize
        block = BLOCK
    if n_bytes > MAX_CHUNK_CACHE:
        note(
            f"{path}: one image lies in chunks of {n_bytes / 1e6:,.0f} MB, more than is cached, so reading "
            "is slow. Store it with chunks of one image: chunks=(1, h, w, 3)."
        )
    opener = _InHdf5(
        str(path),
        images.name,
        cache_bytes=min(n_bytes, MAX_CHUNK_CACHE) + 2**20,
        cache_slots=20 * n_chunks + 501,
    )
    return ArrayImages(str(path), opener, block)


def make_rows(
    n: int, annotations: Mapping[str, NDArray[Any]], where: str, class_names: tuple[str, ...] = ()
) -> Rows:
    """Turn stored arrays into rows: ids default to row numbers, integers without names to classes."""
    found = dict(annotations)
    names = tuple(str(name) for name in found.pop("class_names", ())) or class_names
    target_names = tuple(str(name) for name in found.pop("target_names", ()))
    for name, values in found.items():
        if len(np.shape(values)) == 0 or len(values) != n:
            raise EmbedkitError(
                f"{where}: {name} has shape {np.shape(values)}, but there are {n:,} images. Store one entry "
                "an image."
            )
    labels, names = _labels(found["labels"], names, where) if "labels" in found else (None, names)
    targets = found.get("targets")
    if targets is not None:
        targets = np.asarray(targets, dtype=np.float32).reshape(n, -1)
        target_names = target_names or tuple(f"target_{t}" for t in range(targets.shape[1]))
    coordinates = None
    if "ra" in found and "dec" in found:
        coordinates = np.stack([found["ra"], found["dec"]], axis=1).astype(np.float64)
    return Rows(
        ids=_text(found["ids"]) if "ids" in found else np.arange(n).astype(np.str_),
        labels=labels,
        class_names=names if labels is not None else (),
        targets=targets,
        target_names=target_names if targets is not None else (),
        split=_text(found["split"]) if "split" in found else None,
        group=_text(found["group"]) if "group" in found else None,
        coordinates=coordinates,
    )


def _labels(
    values: NDArray[Any], class_names: tuple[str, ...], where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if values.ndim != 1:
        raise EmbedkitError(f"{where}: labels has shape {values.shape}, expected one class an image.")
    if values.dtype.kind in "USO":
        return labels_from_names(list(_text(values)))
    numbers = np.where(np.isfinite(values), values, -1).astype(np.int64)
    if values.dtype.kind == "f" and not np.array_equal(
        numbers[np.isfinite(values)], values[np.isfinite(values)]
    ):
        raise EmbedkitError(f"{where}: labels are not whole numbers. Store classes, or numbers as targets.")
    if class_names:
        return numbers, class_names
    known = np.unique(numbers[numbers >= 0])
    return np.where(numbers >= 0, np.searchsorted(known, numbers), -1), tuple(str(label) for label in known)


def _text(values: NDArray[Any]) -> NDArray[np.str_]:
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8")
    return values.astype(np.str_)


def _dataset(
    images: ArrayImages,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    annotations: Mapping[str, NDArray[Any]],
    origin: Mapping[str, Any],
) -> Dataset:
    path = Path(images.path)
    rows = make_rows(shape[0], annotations, str(path))
    content = {"shape": list(shape), "dtype": dtype.str, "bytes": path.stat().st_size}
    return Dataset(short_name(path), rows, images.read, images.where, fingerprint(rows, content), origin)


def _origin(path: Path, images_key: str | None, labels_key: str | None) -> dict[str, Any]:
    given = {"images_key": images_key, "labels_key": labels_key}
    return {"source": str(path)} | {name: key for name, key in given.items() if key is not None}


def _images_key(path: Path, shapes: Mapping[str, tuple[int, ...]], wanted: str | None) -> str:
    known = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
    if wanted is not None:
        if wanted not in shapes:
            raise UsageError(f"{path}: no array {wanted!r} for --images-key. Its arrays: {known}.")
        return wanted
    if "images" in shapes:
        return "images"
    likely = [name for name, shape in shapes.items() if len(shape) in (3, 4)]
    if len(likely) != 1:
        flat = not likely and any(len(shape) == 2 for shape in shapes.values())
        vectors = " Vectors that were computed already are for `embedkit import`." if flat else ""
        raise UsageError(
            f"{path}: {'several arrays' if likely else 'no array'} could be the images. Name one with "
            f"--images-key; its arrays: {known}.{vectors}"
        )
    return likely[0]


def _wanted_keys(path: Path, stored: Mapping[str, Any], labels_key: str | None) -> dict[str, str]:
    if labels_key is not None and labels_key not in stored:
        raise UsageError(
            f"{path}: no array {labels_key!r} for --labels-key. Its arrays: {', '.join(stored) or 'none'}."
        )
    keys = {"labels": labels_key or "labels"} | {name: name for name in ANNOTATIONS}
    return {name: key for name, key in keys.items() if key in stored}


def _check_images(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
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
    if len(shape) == 4 and shape[3] not in (1, 3, 4) and shape[1] not in (1, 3, 4):
        raise EmbedkitError(
            f"{where}: an array of shape {shape} has no axis of 1, 3 or 4 channels. {expected}"
        )
    if dtype.kind not in "buif":
        raise EmbedkitError(f"{where}: an array of {dtype} holds no images. {expected}")


def _npy_layout(file: BinaryIO | Any, path: Path, where: str, stored: int | None) -> _Mapped:
    """Read the header of an array at the file's position; `stored` is where its bytes must have ended."""
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran_order, dtype = read[version](file)
    except (ValueError, KeyError, EOFError) as error:
        raise EmbedkitError(
            f"{where}: not a NumPy array ({error}). Write it again with numpy.save."
        ) from error
    if dtype.hasobject:
        raise EmbedkitError(
            f"{where}: holds Python objects, which can only be read by running code from the file. Store a "
            "plain array: numpy.stack the images, and strings as dtype str."
        )
    layout = _Mapped(str(path), file.tell(), shape, dtype, fortran_order)
    if stored is not None and layout.offset + prod(shape) * dtype.itemsize > stored:
        raise EmbedkitError(f"{where}: cut off: its header promises {shape} of {dtype}. Restore the file.")
    return layout


def _member_start(file: BinaryIO, member: zipfile.ZipInfo) -> int:
    # The local header repeats the name and has an extra field of its own length (APPNOTE.TXT, 4.3.7).
    file.seek(member.header_offset)
    header = file.read(30)
    return (
        member.header_offset
        + 30
        + int.from_bytes(header[26:28], "little")
        + int.from_bytes(header[28:30], "little")
    )
