"""Arrays of images that are all alike, read many at a time into memory that is there already."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.arrays import ArrayImages
from embedkit.datasets.dataset import Dataset
from embedkit.errors import ImageError

# One call of the system gives at most 2 GiB less a page.
_AT_ONCE = 2**30
_FAILURES = (OSError, RuntimeError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class _Bytes:
    """Where the bytes of an array lie, one image after the other, in a file that can be read beside HDF5."""

    descriptor: int
    offset: int
    each: int

    def read_into(self, start: int, out: NDArray[np.uint8]) -> None:
        """Fill `out` with the images from `start` on; the interpreter lock is not held meanwhile."""
        flat = out.data.cast("B")
        done, place = 0, self.offset + start * self.each
        while done < len(flat):
            got = os.preadv(self.descriptor, [flat[done : done + _AT_ONCE]], place + done)
            if not got:
                raise OSError("the file ends before its images do")
            done += got

    def __del__(self) -> None:
        os.close(self.descriptor)


@dataclass
class Stack:
    """The images of a dataset as one array of uint8, all of one size.

    Parameters
    ----------
    images
        What reads them one at a time, and says what is wrong with one.
    shape
        (h, w, 3) of each.
    """

    images: ArrayImages
    shape: tuple[int, int, int]
    _bytes: _Bytes | None = None
    _array: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def parallel(self) -> bool:
        """Whether threads read it side by side: not through HDF5, which has one lock for all."""
        return self._bytes is not None

    def read_into(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> list[str]:
        """Fill `out` (b, h, w, 3) with images; returns what is wrong with each, in words, or ''.

        Runs of rows are read in one go. An image that can't be read is left as zeros.
        """
        errors = [""] * len(rows)
        for at in _runs(rows):
            try:
                self._check_there(rows[at])
                self._read(int(rows[at.start]), out[at])
            except (*_FAILURES, ImageError):
                for place in range(at.start, at.stop):  # which of them it is
                    errors[place] = self._read_one(int(rows[place]), out[place])
        return errors

    def _check_there(self, rows: NDArray[np.int64]) -> None:
        if self.images.absent is not None and self.images.absent[rows].any():
            raise ImageError("one of them is not in the file")

    def _read(self, start: int, out: NDArray[np.uint8]) -> None:
        if self._bytes is not None:
            self._bytes.read_into(start, out)
            return
        with self._lock:
            if isinstance(self._array, h5py.Dataset):
                self._array.read_direct(out, np.s_[start : start + len(out)])
            else:
                out[:] = self._array[start : start + len(out)]

    def _read_one(self, row: int, out: NDArray[np.uint8]) -> str:
        try:
            if self._bytes is not None:
                self._bytes.read_into(row, out)
            else:
                with self._lock:
                    out[:] = self.images.read(row)
        except ImageError as error:
            out[:] = 0
            return str(error)
        except OSError as error:
            out[:] = 0
            return f"{self.images.where(row)}: cannot be read ({error}). Restore the file."
        return ""


def stack_of(dataset: Dataset) -> Stack | None:
    """Return the images of a dataset as one array; None where they are files, or not all alike in uint8."""
    images = getattr(dataset.read, "__self__", None)
    if not isinstance(images, ArrayImages) or dataset.read != images.read:
        return None
    try:
        array = images.open()
        shape, dtype = tuple(array.shape), array.dtype
    except _FAILURES:  # the images say so one by one
        return None
    if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or shape[1] in (1, 3, 4):
        return None  # the last: which axis the channels are, `channels_last` decides image by image
    stack = Stack(images, (int(shape[1]), int(shape[2]), 3), _array=array)
    stack._bytes = _plain_bytes(array, stack)
    return stack


def _plain_bytes(array: Any, stack: Stack) -> _Bytes | None:
    """Where the array lies in its file as it is in memory; None where HDF5 has to be asked."""
    each = int(np.prod(stack.shape))
    try:
        if isinstance(array, np.memmap) and array.flags.c_contiguous and array.filename is not None:
            place, offset = str(array.filename), int(array.offset)
        elif isinstance(array, h5py.Dataset) and array.chunks is None and not array.is_virtual:
            if array.external or array.file.driver != "sec2" or array.id.get_offset() is None:
                return None
            place, offset = array.file.filename, int(array.id.get_offset())
        else:
            return None
        found = _Bytes(os.open(place, os.O_RDONLY | os.O_CLOEXEC), offset, each)
        # Asked once both ways: a layout that isn't what it seems would give noise that looks like features.
        for row in {0, len(array) - 1}:
            out = np.empty((1, *stack.shape), np.uint8)
            found.read_into(row, out)
            if not np.array_equal(out[0], array[row]):
                return None
    except _FAILURES:
        return None
    return found


def _runs(rows: NDArray[np.int64]) -> Iterator[slice]:
    """Cut row numbers into slices of ones that follow each other."""
    ends = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    yield from (slice(start, stop) for start, stop in pairwise(ends))
