"""Images in .npy and .npz files: mapped into memory where that can be, checked before anything is read."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.arrays import ArrayImages, Stored, array_dataset
from embedkit.datasets.dataset import Dataset
from embedkit.errors import EmbedkitError
from embedkit.files.regular import check_input, resolved

_AGAIN = "Write it again with numpy.savez."

# A header of numpy.save takes about 100 bytes; of structured types some thousands. Version 2 may declare one
# of 4 GiB, which NumPy reads before it looks.
_HEADER = 2**16
_DEFLATED = 1032  # no deflated byte gives more (zlib.net/zlib_tech.html)


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
    """A member of a .npz that is held in memory."""

    path: str
    key: str

    def __call__(self) -> NDArray[Any]:
        with _reading(f"{self.path}: {self.key}"), np.load(self.path, allow_pickle=False) as file:
            array: NDArray[Any] = np.asarray(file[self.key])
        return array


def load_npy(source: str) -> Dataset:
    """Read a .npy of (n, h, w) or (n, h, w, 3) images, mapped into memory; ids are the row numbers."""
    path = resolved(source)
    return array_dataset(path, {"images": stored_array(path)}, images_key=None, labels_key=None)


def stored_array(path: Path) -> Stored:
    """Return the array of a .npy, mapped into memory when it is asked for.

    Raises
    ------
    EmbedkitError
        Not there, no array, or cut off.
    """
    check_input(path, "Give a .npy file.")
    with path.open("rb") as file:
        layout = _layout(file.read(_HEADER), 0, path, str(path))
    _check_end(layout, path.stat().st_size, str(path))

    def images() -> ArrayImages:
        return ArrayImages(str(path), layout)

    return Stored(layout.shape, layout.dtype, layout, images, objects=layout.dtype.hasobject)


def load_npz(source: str, *, images_key: str | None = None, labels_key: str | None = None) -> Dataset:
    """Read a .npz with `images` and, where they are there, `labels` and the `ANNOTATIONS`.

    An uncompressed file (`numpy.savez`) is read from the disk image by image; a compressed one is held in
    memory by every process that reads it.

    Raises
    ------
    EmbedkitError
        Damaged, encrypted, or an array that can't be read.
    """
    path = resolved(source)
    return array_dataset(path, stored_arrays(path), images_key=images_key, labels_key=labels_key)


def stored_arrays(path: Path) -> dict[str, Stored]:
    """Return the arrays of a .npz by name, each read when it is asked for.

    Raises
    ------
    EmbedkitError
        Damaged, encrypted, or an array that can't be read.
    """
    check_input(path, "Give a .npz file.")
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, RuntimeError, struct.error, EOFError) as error:
        with path.open("rb") as stream:
            if stream.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:
                raise EmbedkitError(f"{path}: one array and no archive. Rename it to .npy.") from error
        raise EmbedkitError(f"{path}: not a .npz file, or cut off ({error}). {_AGAIN}") from error
    stored: dict[str, Stored] = {}
    with archive, path.open("rb") as file:
        for member in archive.infolist():
            key = member.filename.removesuffix(".npy")
            if key == member.filename:  # no array
                continue
            if key in stored:
                raise EmbedkitError(f"{path}: holds {key} twice. {_AGAIN}")
            stored[key] = _member(archive, member, file, path)
    return stored


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: BinaryIO, path: Path) -> Stored:
    key = member.filename.removesuffix(".npy")
    where = f"{path}: {key}"
    with _reading(where), archive.open(member) as stream:
        head = stream.read(_HEADER)
    layout = _layout(head, 0, path, where)
    _check_end(layout, member.file_size, where)
    inflated = _Inflated(str(path), key)
    n_bytes = prod(layout.shape) * layout.dtype.itemsize

    def read() -> NDArray[Any]:
        if member.compress_type != zipfile.ZIP_STORED:
            _check_memory(n_bytes, where)
        return inflated()

    if member.compress_type == zipfile.ZIP_STORED:
        start = _member_start(file, member, where)
        layout = _layout(head, start, path, where)
        _check_end(layout, path.stat().st_size, where)
        mapped_images = partial(ArrayImages, str(path), layout)
        return Stored(layout.shape, layout.dtype, read, mapped_images, objects=layout.dtype.hasobject)
    most = _DEFLATED * (member.compress_size + 1)
    if member.compress_type == zipfile.ZIP_DEFLATED and member.file_size > most:
        raise EmbedkitError(
            f"{where}: {member.compress_size:,} bytes can't inflate to the {member.file_size:,} that are "
            f"declared. {_AGAIN}"
        )

    def images() -> ArrayImages:
        _check_memory(n_bytes, where)
        note(
            f"{path}: compressed, so each worker holds all images ({n_bytes / 1e6:,.0f} MB). numpy.savez "
            "avoids that."
        )
        return ArrayImages(str(path), inflated)

    return Stored(layout.shape, layout.dtype, read, images, objects=layout.dtype.hasobject)


@contextlib.contextmanager
def _reading(where: str) -> Iterator[None]:
    """Name what is wrong with a damaged member: zipfile, its decoders and NumPy raise nearly any type."""
    try:
        yield
    except (EmbedkitError, PermissionError):
        raise
    except Exception as error:
        reason = f"{error}".strip().rstrip(".") or type(error).__name__
        if "password required" in reason:
            raise EmbedkitError(
                f"{where}: encrypted, so it can't be read. Write it without a password."
            ) from error
        if "compression" in reason:
            raise EmbedkitError(
                f"{where}: compressed in a way that isn't known ({reason}). {_AGAIN}"
            ) from error
        raise EmbedkitError(f"{where}: damaged ({reason}). Restore the file.") from error


def _check_memory(n_bytes: int, where: str) -> None:
    """Refuse to inflate what the machine can't hold."""
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if n_bytes > room // 2:
        raise EmbedkitError(
            f"{where}: compressed, and {n_bytes / 1e9:,.1f} GB in memory, of {room / 1e9:,.1f} GB that the "
            "machine has. Write it again with numpy.savez, which is read from the disk."
        )


def _layout(head: bytes, start: int, path: Path, where: str) -> _Mapped:
    """Read the header of an array that begins at `start` of the file."""
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version == (3, 0):  # field names in UTF-8
            raise ValueError("a structured array of several fields")
        shape, fortran_order, dtype = read[version](stream)
        whole = all(isinstance(side, int) and not isinstance(side, bool) and side >= 0 for side in shape)
        if not whole or prod(shape) * max(dtype.itemsize, 1) >= 2**63:
            raise ValueError(f"a shape of {shape}")
    except Exception as error:  # the header is an expression of Python, with all that can be wrong with one
        reason = f"{error}".strip().rstrip(".").partition("\n")[0] or type(error).__name__
        raise EmbedkitError(
            f"{where}: not a NumPy array ({reason}). Write it again with numpy.save."
        ) from error
    return _Mapped(str(path), start + stream.tell(), shape, dtype, fortran_order)


def _check_end(layout: _Mapped, stored: int, where: str) -> None:
    if not layout.dtype.hasobject and layout.offset + prod(layout.shape) * layout.dtype.itemsize > stored:
        raise EmbedkitError(
            f"{where}: cut off: its header promises {layout.shape} of {layout.dtype}. Restore the file."
        )


def _member_start(file: BinaryIO, member: zipfile.ZipInfo, where: str) -> int:
    # The local header repeats the name and has an extra field of its own length (APPNOTE.TXT, 4.3.7).
    with _reading(where):
        file.seek(member.header_offset)
        header = file.read(30)
        if len(header) < 30 or not header.startswith(b"PK\3\4"):
            raise ValueError("no local header")
        name, extra = struct.unpack("<HH", header[26:30])
        return int(member.header_offset + 30 + name + extra)
