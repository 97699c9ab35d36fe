"""Room on the disk, taken before HDF5 writes: on a full one it neither fails cleanly nor names the file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files.rows import Rows

SLACK = 2**16  # headers, attributes and the trees of HDF5


def room_for(rows: Rows) -> int:
    """Return how many bytes the annotations of a feature file take at most."""
    numbers = (rows.labels, rows.targets, rows.coordinates, rows.asked)
    strings = (rows.ids, rows.split, rows.group)
    n_bytes = sum(values.nbytes for values in numbers if values is not None)
    n_bytes += sum(room_for_text(values) for values in strings if values is not None)
    names = (*rows.class_names, *rows.target_names)
    return n_bytes + room_for_text(names)


def room_for_text(values: Iterable[Any] | NDArray[Any]) -> int:
    """Return how many bytes strings take at most: a reference each, and heaps that are half empty."""
    return sum(2 * len(str(value).encode()) + 64 for value in values)


def reserve(path: Path, n_bytes: int) -> None:
    """Take so many bytes of the disk for a file; it is as long then.

    Raises
    ------
    OSError
        The disk's own, naming the file, where it would not fit.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    try:
        with path.open("ab") as stream:
            os.posix_fallocate(stream.fileno(), 0, n_bytes)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def give_back(path: Path) -> None:
    """Cut a closed HDF5 file where its superblock says that it ends, as HDF5 itself would have left it."""
    with path.open("r+b") as stream:
        head = stream.read(64)
        # By version of the superblock: after the signature, versions and sizes, and one or two addresses.
        start = {0: 40, 1: 44}.get(head[8], 28)
        stream.truncate(int.from_bytes(head[start : start + 8], "little"))


def reserve_more(file: Any, n_bytes: int) -> None:
    """Take so many bytes more for an HDF5 file that is being written."""
    path = Path(file.filename)
    reserve(path, path.stat().st_size + n_bytes + SLACK)


def room_for_features(shape: tuple[int, int], dtype: Any, *, views: bool) -> int:
    """Return how many bytes features (n, d) take, and with `views` their statistics."""
    n, d = shape
    return n * d * int(np.dtype(dtype).itemsize) + (n * d * 4 + d * d * 8 if views else 0) + SLACK
