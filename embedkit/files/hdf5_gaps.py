"""Which rows of an HDF5 dataset are there: HDF5 gives those that are not as zeros, without a word."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.hdf5 import COPY, OWN, folder_of, follow, open_beside, text

_MOST_NESTED = 8  # virtual datasets of virtual datasets


@dataclass(frozen=True)
class Gaps:
    """Which rows of a dataset are not in the file.

    Parameters
    ----------
    rows : (n,) bool
        True where at least one value is not there, and would be read as zero.
    why
        What is missing, in a few words; empty where nothing is.
    """

    rows: NDArray[np.bool_]
    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.rows.any())


def gaps(dataset: h5py.Dataset, where: str) -> Gaps:
    """Return the rows of a dataset that are not there: chunks never written, virtual sources missing.

    Parameters
    ----------
    dataset
        Of n rows; a single value counts as one.
    where
        Names the dataset in a message.

    Raises
    ------
    EmbedkitError
        Its values lie in a file outside its folder, or need a filter that is not installed.
    """
    return _gaps(dataset, _Place(where, folder_of(dataset), _MOST_NESTED))


def check_filters(dataset: h5py.Dataset, where: str) -> None:
    """Refuse a dataset whose compression nothing here can undo; hdf5plugin is asked where it is installed.

    Raises
    ------
    EmbedkitError
        A filter that is not there, by name.
    """
    properties = dataset.id.get_create_plist()
    if properties.get_layout() != h5py.h5d.CHUNKED:
        return
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if h5py.h5z.filter_avail(code):
            continue
        with contextlib.suppress(ImportError):
            importlib.import_module("hdf5plugin")  # registers its filters
        if not h5py.h5z.filter_avail(code):
            called = f"{text(name)!r} (number {code})" if name else f"number {code}"
            raise EmbedkitError(
                f"{where}: compressed with the HDF5 filter {called}, which is not installed here; the file "
                "is not broken. `pip install hdf5plugin` brings the usual ones; or write it again with "
                "compression='gzip' (h5repack -f GZIP=4)."
            )


@dataclass(frozen=True)
class _Place:
    """Where a virtual dataset is looked at: what it is called, its folder, and how deep one may still go."""

    where: str
    folder: Path
    nested: int


def _gaps(dataset: h5py.Dataset, place: _Place) -> Gaps:
    n = dataset.shape[0] if dataset.shape else 1
    if not dataset.shape or 0 in dataset.shape:
        absent = bool(dataset.shape == () and dataset.id.get_storage_size() == 0)
        return Gaps(np.full(n, absent), "never written" if absent else "")
    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        return _virtual_gaps(dataset, place)
    if properties.get_external_count():
        raw = text(properties.get_external(0)[0])
        raise EmbedkitError(
            f"{place.where}: its values lie in {raw!r}, outside the HDF5 file, and are not read from there. "
            f"{COPY}."
        )
    check_filters(dataset, place.where)
    if layout == h5py.h5d.CHUNKED:
        return _unwritten(dataset)
    absent = layout == h5py.h5d.CONTIGUOUS and dataset.id.get_storage_size() == 0
    return Gaps(np.full(n, absent), "never written" if absent else "")


def _unwritten(dataset: h5py.Dataset) -> Gaps:
    """Rows of a chunked dataset whose chunks are not all in the file."""
    shape, chunks = dataset.shape, dataset.chunks
    per_band = prod(ceil(s / c) for s, c in zip(shape[1:], chunks[1:], strict=True))
    bands = ceil(shape[0] / chunks[0])
    stored = int(dataset.id.get_num_chunks())
    if stored == bands * per_band:
        return Gaps(np.zeros(shape[0], np.bool_))
    counts = np.zeros(bands, np.int64)

    def count(chunk: Any) -> None:
        counts[chunk.chunk_offset[0] // chunks[0]] += 1

    dataset.id.chunk_iter(count)
    rows = np.repeat(counts < per_band, chunks[0])[: shape[0]]
    return Gaps(rows, f"{bands * per_band - stored:,} of {bands * per_band:,} chunks were never written")


def _virtual_gaps(dataset: h5py.Dataset, place: _Place) -> Gaps:
    """Rows of a virtual dataset that no source gives, or whose source is not there."""
    if place.nested == 0:
        raise EmbedkitError(f"{place.where}: virtual datasets of virtual datasets without end. {COPY}.")
    n, per_row = dataset.shape[0], prod(dataset.shape[1:])
    covered = np.zeros(n, np.int64)
    absent = np.zeros(n, np.bool_)
    why: list[str] = []
    opened: dict[str, h5py.File | None] = {OWN: dataset.file}
    for source in dataset.virtual_sources():
        if "%" in source.file_name + source.dset_name:
            raise EmbedkitError(
                f"{place.where}: its virtual sources are numbered by a pattern ({source.file_name}: "
                f"{source.dset_name}), which is not followed. {COPY}."
            )
        rows, points = _rows_of(source.vspace, n)
        np.add.at(covered, rows, points)
        gone, reason = _source_gaps(dataset, source, int(points.sum()), opened, place)
        if len(gone) == len(rows):  # row by row
            absent[rows[gone]] = True
        elif gone.any():
            absent[rows] = True
        if reason:
            why.append(reason)
    if (covered < per_row).any():
        absent |= covered < per_row
        why.append("some of it has no source")
    more = f" (and {len(why) - 1:,} more)" if len(why) > 1 else ""
    return Gaps(absent, why[0] + more if why else "")


def _source_gaps(
    dataset: h5py.Dataset, source: Any, wanted: int, opened: dict[str, h5py.File | None], place: _Place
) -> tuple[NDArray[np.bool_], str]:
    """Which rows of one virtual source are not there, in the order that they are taken, and why."""
    all_gone = np.ones(1, np.bool_)
    name, inside = source.file_name, source.dset_name
    if name not in opened:
        opened[name] = open_beside(dataset, name, place.folder, place.where)
    file = opened[name]
    if file is None:
        return all_gone, f"the virtual source {name} is missing"
    item = follow(file, inside, place.folder)
    if not isinstance(item, h5py.Dataset) or not item.shape:
        return all_gone, f"the virtual source {name} holds no {inside}"
    whole = source.src_space.get_select_type() == h5py.h5s.SEL_ALL
    if not whole:
        rows, points = _rows_of(source.src_space, len(item))
        planned = source.src_space.shape[1:]
        short = (
            item.ndim != len(planned) + 1
            or (np.array(item.shape[1:]) < planned).any()
            or points.sum() < wanted
        )
    if item.size < wanted if whole else short:
        return all_gone, f"{inside} of the virtual source {name} is smaller ({item.shape}) than what is taken"
    inner = _Place(f"{place.where}, virtual source {name}", place.folder, place.nested - 1)
    found = _gaps(item, inner)
    if not found:
        return np.zeros(1, np.bool_), ""
    return found.rows if whole else found.rows[rows], f"{inside} of the virtual source {name}: {found.why}"


def _rows_of(space: h5py.h5s.SpaceID, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (first axis) of a selection, and how many values it takes of each."""
    kind = space.get_select_type()
    if kind == h5py.h5s.SEL_NONE:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if kind == h5py.h5s.SEL_ALL:
        return np.arange(n), np.full(n, prod(space.shape[1:]))
    if kind == h5py.h5s.SEL_HYPERSLABS and space.is_regular_hyperslab():
        start, stride, count, block = space.get_regular_hyperslab()
        some = min(count[0], n // stride[0] + 1)  # a selection without end ends with the data
        rows = start[0] + stride[0] * np.arange(some)[:, None] + np.arange(min(block[0], n))[None, :]
        rows = rows[rows < n]
        return rows, np.full(len(rows), min(prod(count[1:]) * prod(block[1:]), prod(space.shape[1:])))
    if kind == h5py.h5s.SEL_HYPERSLABS:
        boxes = space.get_select_hyper_blocklist()  # (blocks, 2, axes): first and last of each
    else:
        boxes = np.repeat(space.get_select_elem_pointlist()[:, None, :], 2, axis=1)
    sides = boxes[:, 1].astype(np.int64) - boxes[:, 0].astype(np.int64) + 1
    rows = np.concatenate([np.arange(box[0][0], box[1][0] + 1) for box in boxes.astype(np.int64)])
    return rows, np.repeat(sides[:, 1:].prod(axis=1), sides[:, 0])
