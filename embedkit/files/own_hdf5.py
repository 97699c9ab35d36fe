"""Is an HDF5 file one that embedkit could have written: whole, alone, and readable to its end?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import h5py

from embedkit.files.hdf5 import elsewhere, links_elsewhere
from embedkit.files.hdf5_heaps import damaged_heap


def unsound(file: h5py.File, path: Path) -> str | None:
    """Return what keeps a file from being read, a few words; None for a sound one.

    HDF5 itself stands still in a zeroed heap, reads what was never written as zeros, and follows links and
    external storage into any file that may be read. No text and no array is read for this.
    """
    return damaged_heap(file, path) or next(_wrong_members(file), None)


def _wrong_members(group: h5py.Group) -> Iterator[str]:
    for name, target in links_elsewhere(group):
        yield f"{name} is a link to {target}, and such a file stands alone"
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _wrong_members(item)
        elif isinstance(item, h5py.Dataset):
            if where := elsewhere(item):
                yield f"{item.name}: {where}, and such a file stands alone"
            elif _never_written(item):
                yield f"{item.name} was not written to its end"


def _never_written(item: h5py.Dataset) -> bool:
    """Whether an array has places that nothing was written to, which HDF5 reads as zeros."""
    if not item.size:
        return False
    properties = item.id.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.CHUNKED:
        chunks = math.prod(-(-n // size) for n, size in zip(item.shape, properties.get_chunk(), strict=True))
        return bool(item.id.get_num_chunks() < chunks)
    return bool(
        layout == h5py.h5d.CONTIGUOUS
        and item.id.get_storage_size() < item.size * item.id.get_type().get_size()
    )
