"""A feature set as a folder of feature files, read as one without joining them."""

from __future__ import annotations

import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, FeatureFileError
from embedkit.files.provenance import Provenance
from embedkit.files.rows import Rows, row_numbers
from embedkit.files.store import FeatureFile, file_sha256

NAME = re.compile(r"part-(\d+)\.h5")
# Parts that are open at a time: a process may hold 1,024 files by default.
MOST_OPEN = 64
# In a part's root: how many parts there are. A part that somebody wrote by hand has none.
N_PARTS = "n_parts"
_COLUMNS = ("labels", "targets", "split", "group", "coordinates", "asked")


def part_name(number: int) -> str:
    """Return what the file of a part is called."""
    return f"part-{number:06d}.h5"


def _part_names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if NAME.fullmatch(one.name))


def is_feature_set(path: Path) -> bool:
    """Whether a path is a folder with parts of a feature set in it."""
    return path.is_dir() and bool(_part_names(path))


def is_nothing_else(path: Path) -> bool:
    """Whether a folder holds parts of a feature set alone."""
    return all(NAME.fullmatch(one.name) and one.is_file() for one in path.iterdir())


def opened_at(path: str | os.PathLike[str]) -> FeatureFile:
    """Open a feature file, or a folder of parts; see `FeatureFile` and `FeatureSet` for what it raises."""
    return FeatureSet(path) if is_feature_set(Path(path)) else FeatureFile(path)


@contextmanager
def opened(features: str | os.PathLike[str] | FeatureFile) -> Iterator[FeatureFile]:
    """Yield a feature file, or a folder of parts: as it is where it is open, else opened and closed."""
    if isinstance(features, FeatureFile):
        yield features
    else:
        with opened_at(features) as file:
            yield file


def file_or_set_sha256(path: Path) -> str:
    """SHA-256 of a feature file's bytes, or of the digests of a folder's parts in order."""
    if not path.is_dir():
        return file_sha256(path)
    digests = (file_sha256(path / name) for name in _part_names(path))
    return hashlib.sha256("".join(f"{digest}\n" for digest in digests).encode()).hexdigest()


class FeatureSet(FeatureFile):
    """The parts of a folder, ``part-000000.h5`` and so on, as one feature file.

    Each part is a feature file by itself, with features of the same kind: dimensions, views, classes, targets
    and columns are compared. Rows are those of the parts, one part after the other. What is pooled over
    images, the covariance within views, is pooled over the parts.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    FeatureFileError
        A part is missing, is no feature file, or is of another kind than the first.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        names = _part_names(self.path)
        found = [int(name[len("part-") : -len(".h5")]) for name in names]
        missing = sorted(set(range(max(found, default=0) + 1)) - set(found))
        if missing:
            raise self._missing(missing[0])
        self._parts = [FeatureFile(self.path / name) for name in names]
        self._open: OrderedDict[int, None] = OrderedDict()
        sizes = []
        for number, part in enumerate(self._parts):
            n_parts = part._file().attrs.get(N_PARTS, len(names))
            if int(n_parts) != len(names):
                raise self._missing(len(names))
            if difference := _difference(self._parts[0], part):
                raise FeatureFileError(
                    f"{part.path}: {difference}, unlike {names[0]}. The parts of a folder are of one "
                    "extraction: move what is of another elsewhere."
                )
            sizes.append(part.n)
            self._used(number)
        self._ends = np.cumsum(sizes)

    def _missing(self, number: int) -> FeatureFileError:
        return FeatureFileError(
            f"{self.path}: {part_name(number)} is missing. Copy it there, or extract again."
        )

    def _used(self, number: int) -> FeatureFile:
        """Return a part, and close the one that was not used for longest where too many are open."""
        self._open[number] = None
        self._open.move_to_end(number)
        if len(self._open) > MOST_OPEN:
            self._parts[self._open.popitem(last=False)[0]].close()
        return self._parts[number]

    def _file(self) -> h5py.File:
        return self._used(0)._file()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}

    def close(self) -> None:
        """Close all parts; the next read opens them again."""
        for part in self._parts:
            part.close()
        self._open.clear()

    @property
    def n(self) -> int:
        """Number of rows of all parts, failed images included."""
        return int(self._ends[-1])

    @cached_property
    def made(self) -> Provenance:
        """How the features of the first part were made, and with it those of all."""
        return self._parts[0].made

    @cached_property
    def rows(self) -> Rows:
        """Ids and annotations of all n rows."""
        parts = [self._used(number).rows for number in range(len(self._parts))]
        first = parts[0]

        def column(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            return None if values[0] is None else np.concatenate(values)

        try:
            return Rows(
                ids=column("ids"),
                class_names=first.class_names,
                target_names=first.target_names,
                **{name: column(name) for name in _COLUMNS},
            )
        except EmbedkitError as error:
            raise FeatureFileError(f"{self.path}: {error}") from error
        finally:
            for part in self._parts:
                part.__dict__.pop("rows", None)  # they are kept once

    @cached_property
    def ok(self) -> NDArray[np.bool_]:
        """(n,) False where the image could not be read; its features are NaN."""
        return np.concatenate([self._used(number).ok for number in range(len(self._parts))])

    @cached_property
    def errors(self) -> dict[str, str]:
        """Id to reason, for every image that could not be read."""
        found: dict[str, str] = {}
        for number in range(len(self._parts)):
            found |= self._used(number).errors
        return found

    def _read_rows(self, name: str, rows: slice | NDArray[Any] | None) -> NDArray[np.float32]:
        index = row_numbers(rows, self.n)
        out = np.empty((len(index), self.d), dtype=np.float32)
        if not len(index):
            return out
        part_of = np.searchsorted(self._ends, index, side="right")
        order = np.argsort(part_of, kind="stable")
        numbers, starts = np.unique(part_of[order], return_index=True)
        for number, where in zip(numbers, np.split(order, starts[1:]), strict=True):
            start = int(self._ends[number - 1]) if number else 0
            within = index[where] - start
            run = len(within) and np.array_equal(within, np.arange(within[0], within[0] + len(within)))
            part = self._used(int(number))
            out[where] = part._read_rows(name, slice(int(within[0]), int(within[-1]) + 1) if run else within)
        return out

    @cached_property
    def within_covariance(self) -> NDArray[np.float64] | None:
        """`Views.within_covariance` (d, d), pooled over the images of all parts."""
        if self.n_views == 1:
            return None
        total, n_images = np.zeros((self.d, self.d)), 0
        for number in range(len(self._parts)):
            part = self._used(number)
            n_ok = int(part.ok.sum())
            matrix = part.within_covariance
            assert matrix is not None  # for mypy: the parts are alike
            total += n_ok * matrix
            n_images += n_ok
        return total / max(1, n_images)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the digests of all parts, in order."""
        return file_or_set_sha256(self.path)

    def problems(self) -> list[str]:
        """Check every invariant of the schema, part by part; an empty list means a sound set."""
        found = [f"{part.path.name}: {problem}" for part in self._parts for problem in part.problems()]
        if found:
            return found
        try:
            _ = self.rows
        except FeatureFileError as error:
            return [str(error).removeprefix(f"{self.path}: ")]
        return []


def _difference(first: FeatureFile, part: FeatureFile) -> str:
    """Say what a part has otherwise than the first, a few words; empty where they are alike."""
    if part is first:
        return ""
    if part.d != first.d:
        return f"has {part.d} dimensions instead of {first.d}"
    if part.n_views != first.n_views:
        return f"averages {part.n_views} view{'s' * (part.n_views != 1)} instead of {first.n_views}"
    a, b = first._file(), part._file()
    for name in _COLUMNS:
        if (name in a) != (name in b):
            return f"has {'no ' * (name in a)}/{name}"
    for name, attribute in (("labels", "class_names"), ("targets", "target_names")):
        if name in a and a[name].attrs[attribute] != b[name].attrs[attribute]:
            return f"has other {attribute}"
    if part.made.made_by != first.made.made_by:
        return "was made by another backbone, pooling or preprocessing"
    return ""
