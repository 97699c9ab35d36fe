"""Is the text in an HDF5 file laid out so that reading it ends?

HDF5 keeps text of free length, attributes too, in global heaps, each a run of objects that says how long it
is. An object of number 0 and length 0, as zeros on a damaged disk are, has HDF5 (up to 2.0 at least) stand
still for ever. The heaps are walked here first, all at once.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

_MARK = b"GCOL\x01\0\0\0"  # of version 1, the only one
_HEAD = 16  # bytes of a heap's head, and of an object's
_MOST_OBJECTS = 2**16  # objects are numbered in 16 bits; 0 is what is free
_LARGE = 2**20  # bytes of an array that is not searched for heaps


def damaged_heap(file: h5py.File, path: Path) -> str | None:
    """Return what is wrong with the first heap that HDF5 would not come out of; None where all are sound.

    Parameters
    ----------
    file
        Open, of whose text nothing was read yet.
    path
        The same file.
    """
    if not path.stat().st_size:
        return None
    arrays = _arrays(file)
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        starts = np.array(list(_heaps(data, arrays)), dtype=np.int64)
    return _walk(np.memmap(path, np.uint8, "r"), starts) if len(starts) else None


def _arrays(file: h5py.File) -> list[tuple[int, int]]:
    """Begin and end of the large arrays of numbers, in which nothing is looked for."""
    found: list[tuple[int, int]] = []
    for name in file:
        # What can't be opened is searched like the rest; whoever reads it says what is wrong with it.
        with contextlib.suppress(LookupError, OSError, RuntimeError, ValueError, TypeError):
            if isinstance(file.get(name, getlink=True), h5py.HardLink):
                found += _array(file[name])
    return sorted(found)


def _array(item: h5py.Dataset | h5py.Group) -> list[tuple[int, int]]:
    """Begin and end of each piece of a large array of numbers."""
    if not isinstance(item, h5py.Dataset) or item.dtype.kind == "O" or item.id.get_storage_size() <= _LARGE:
        return []
    offset = item.id.get_offset()
    if offset is not None:
        return [(offset, offset + item.id.get_storage_size())]
    found: list[tuple[int, int]] = []
    if item.chunks is not None:
        item.id.chunk_iter(lambda one: found.append((one.byte_offset, one.byte_offset + one.size)))
    return found


def _heaps(data: mmap.mmap, arrays: list[tuple[int, int]]) -> Iterator[int]:
    """Where heaps begin, outside the arrays."""
    begin = 0
    for start, stop in (*arrays, (len(data), len(data))):
        at = data.find(_MARK, begin, start)
        while at >= 0:
            yield at
            at = data.find(_MARK, at + len(_MARK), start)
        begin = max(begin, stop)


def _walk(content: NDArray[np.uint8], starts: NDArray[np.int64]) -> str | None:
    """Go from object to object, in all heaps at once."""
    sizes = _whole(content, starts + 8)
    if sizes is None or (starts + sizes > len(content)).any() or (sizes < _HEAD).any():
        return "a heap of text reaches beyond the file"
    ends = starts + sizes
    at = starts + _HEAD
    for _ in range(_MOST_OBJECTS):
        inside = at + _HEAD <= ends
        at, ends = at[inside], ends[inside]
        if not len(at):
            return None
        number = content[at].astype(np.int64) + (content[at + 1].astype(np.int64) << 8)
        size = _whole(content, at + 8)
        if size is None:
            return "a heap of text holds a length that no file has"
        step = np.where(number > 0, _HEAD + (size + 7) // 8 * 8, size)
        if (step < _HEAD).any():
            return f"a heap of text is broken at byte {int(at[np.argmax(step < _HEAD)]):,}"
        if (at + step > ends).any():
            return "a heap of text is shorter than what it holds"
        at = at + step
    return "a heap of text has no end"


def _whole(content: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The lengths of eight bytes at these places; None where one is beyond 2**47."""
    if (at + 8 > len(content)).any():
        return None
    eight = content[at[:, None] + np.arange(8)].copy().view("<u8").ravel()
    return None if (eight >> 47).any() else eight.astype(np.int64)
