"""The feature file: one HDF5 file for one dataset x backbone x pooling.

Its specification is docs/reference/feature-file.md.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, FeatureFileError, first_line
from embedkit.files.aside import aside
from embedkit.files.neighbours import Searched
from embedkit.files.own_hdf5 import unsound
from embedkit.files.provenance import Provenance, read_provenance
from embedkit.files.regular import check_input
from embedkit.files.remote_features import near
from embedkit.files.room import give_back, reserve, room_for, room_for_features
from embedkit.files.rows import Rows, row_numbers, text_array
from embedkit.files.schema import (
    FORMAT,
    SCHEMA_VERSION,
    covariance_problem,
    schema_problems,
    unusable,
    usable,
)
from embedkit.files.tabled import Tabled

_STRINGS = h5py.string_dtype("utf-8")
MAKE_VIEWS = (
    "They come from more than one view an image: `embedkit extract DATASET --views galaxy:12 -o FILE`; "
    "two views already help."
)
# What people keep vectors in; `embedkit import` reads them.
VECTORS = (".npy", ".npz", ".csv", ".tsv", ".parquet", ".pq", ".h5ad")


@dataclass(frozen=True)
class Views:
    """What more than one view an image adds to a feature file.

    Parameters
    ----------
    mean : (n, d) float32
        Per image, the mean over its views of the L2-normalised view features.
    within_covariance : (d, d) float64
        Covariance of the L2-normalised view features around their image's mean, pooled over all images:
        the sum of outer products over ``n_images * (n_views - 1)``.
    n_views
        Views an image.
    """

    mean: NDArray[np.float32]
    within_covariance: NDArray[np.float64]
    n_views: int


class FeatureFile(Searched, Tabled):
    """A feature file, opened lazily and once a process.

    Parameters
    ----------
    path
        The file that ``embedkit extract`` or `write_features` wrote; one in a store is read from a copy.

    Raises
    ------
    FeatureFileError
        No such file, no feature file, a truncated one, a newer schema, or a broken invariant; the message
        names the file, the fact and the fix.
    """

    # What must be said of the rows: of a file that stands for some of another's.
    remarks: tuple[str, ...] = ()
    selection: Mapping[str, Any] | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = near(path)
        self._handle: h5py.File | None = None
        self._pid = os.getpid()
        if problems := self._check_schema():
            raise FeatureFileError(f"{self.path}: {problems[0]}")

    def _file(self) -> h5py.File:
        # HDF5 handles must not be shared with a forked worker, so each process opens its own.
        if self._handle is None or self._pid != os.getpid():
            self._handle = h5py.File(self.path, "r")
            self._pid = os.getpid()
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_handle": None, "_pid": -1}

    def __enter__(self) -> FeatureFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the HDF5 handle; the next read opens it again."""
        if self._handle is not None and self._pid == os.getpid():
            self._handle.close()
        self._handle = None

    def _check_schema(self) -> list[str]:
        if not self.path.exists():
            raise FeatureFileError(
                f"{self.path}: no such file. Make it with `embedkit extract DATASET -o {self.path}`."
            )
        if self.path.is_dir():
            raise FeatureFileError(
                f"{self.path}: a folder without part-000000.h5. Name a feature file; of a folder of images, "
                f"`embedkit extract {self.path} -o {self.path.name}.h5` makes one."
            )
        if self.path.suffix.lower() in VECTORS:
            target = self.path.with_suffix(".features.h5")
            raise FeatureFileError(
                f"{self.path}: not a feature file. If it holds vectors, one row each, make one of it: "
                f"`embedkit import {self.path} -o {target}`. For images: `embedkit extract {self.path}`."
            )
        check_input(self.path, "Name a feature file.")
        try:
            if problem := unsound(self._file(), self.path):
                return [f"damaged ({problem}). Delete it and extract again."]
            return schema_problems(self._file())
        except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
            self.close()
            if isinstance(error, PermissionError):
                raise FeatureFileError(f"{self.path}: permission denied. Make the file readable.") from error
            raise FeatureFileError(
                f"{self.path}: not a readable HDF5 file; it is truncated, half-written or of another kind "
                f"({first_line(error)}). Name the right file; a broken one is made again by "
                "`embedkit extract --overwrite`."
            ) from error

    @property
    def n(self) -> int:
        """Number of rows, failed images included."""
        return int(self._file()["features"].shape[0])

    @property
    def d(self) -> int:
        """Number of feature dimensions."""
        return int(self._file()["features"].shape[1])

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """How the features were made; empty where the file records none."""
        return dict(self.made.record)

    @cached_property
    def made(self) -> Provenance:
        """The same, of a declared shape: what verbs read of it."""
        return read_provenance(self._file().attrs.get("provenance", "{}"))

    @cached_property
    def rows(self) -> Rows:
        """Ids and annotations of all n rows."""
        file = self._file()

        def strings(name: str) -> NDArray[np.str_] | None:
            return text_array(file[name].asstr()[...], name) if name in file else None

        def array(name: str) -> Any:
            return file[name][...] if name in file else None

        def names(name: str, attribute: str) -> tuple[str, ...]:
            return tuple(json.loads(file[name].attrs[attribute])) if name in file else ()

        try:
            return Rows(
                ids=strings("ids"),  # type: ignore[arg-type]
                labels=array("labels"),
                class_names=names("labels", "class_names"),
                targets=array("targets"),
                target_names=names("targets", "target_names"),
                split=strings("split"),
                group=strings("group"),
                coordinates=array("coordinates"),
                asked=array("asked"),
            )
        except EmbedkitError as error:
            raise FeatureFileError(f"{self.path}: {error} Extract again.") from error
        except (OSError, ValueError) as error:
            raise self._damaged(error) from error

    @cached_property
    def ok(self) -> NDArray[np.bool_]:
        """(n,) False where the image could not be read; its features are NaN."""
        file = self._file()
        return np.asarray(file["ok"][...], dtype=np.bool_) if "ok" in file else np.ones(self.n, np.bool_)

    @cached_property
    def errors(self) -> dict[str, str]:
        """Id to reason, for every image that could not be read."""
        file = self._file()
        if "errors" not in file:
            return {}
        reasons = file["errors"].asstr()[...]
        return {str(self.rows.ids[i]): str(reasons[i]) for i in np.flatnonzero(~self.ok)}

    @property
    def n_views(self) -> int:
        """Views an image that the features average; 1 where the file keeps no view statistics."""
        file = self._file()
        return int(file["within_covariance"].attrs["n_views"]) if "within_covariance" in file else 1

    def read(self, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return features as (rows, d) float32: all rows, a slice, or those of a mask or index."""
        return self._read_rows("features", rows)

    def read_view_mean(self, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return `Views.mean` as (rows, d) float32, without reading all of it; see `views`."""
        if self.n_views == 1:
            raise FeatureFileError(f"{self.path}: no view statistics. {MAKE_VIEWS}")
        return self._read_rows("view_mean", rows)

    def _read_rows(self, name: str, rows: slice | NDArray[Any] | None) -> NDArray[np.float32]:
        try:
            return self._read(name, slice(None) if rows is None else rows)
        except OSError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> FeatureFileError:
        return FeatureFileError(f"{self.path}: damaged ({first_line(error)}). Delete it and extract again.")

    def _read(self, name: str, rows: slice | NDArray[Any]) -> NDArray[np.float32]:
        features = self._file()[name]
        if isinstance(rows, slice) and (rows.step or 1) > 0:
            return np.asarray(features[rows], dtype=np.float32)
        index = row_numbers(rows, self.n)
        # h5py wants increasing indices and is slow on them; a sorted read with the order restored is not.
        order = np.argsort(index, kind="stable")
        out = np.empty((len(index), self.d), dtype=np.float32)
        for start in range(0, len(index), 4096):
            some = order[start : start + 4096]
            wanted = index[some]
            if len(wanted):
                low, high = int(wanted[0]), int(wanted[-1]) + 1
                out[some] = features[low:high][wanted - low]
        return out

    def blocks(self, size: int = 4096) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield (slice, (rows, d) float32) over all rows, so that a file larger than memory can be read."""
        for start in range(0, self.n, size):
            rows = slice(start, min(start + size, self.n))
            yield rows, self.read(rows)

    @cached_property
    def views(self) -> Views | None:
        """View statistics, where the features average more than one view an image."""
        if self.within_covariance is None:
            return None
        return Views(self.read_view_mean(), self.within_covariance, self.n_views)

    @cached_property
    def within_covariance(self) -> NDArray[np.float64] | None:
        """`Views.within_covariance` (d, d) alone, for files whose view means don't fit into memory."""
        file = self._file()
        if "within_covariance" not in file:
            return None
        try:
            matrix = np.asarray(file["within_covariance"][...], dtype=np.float64)
        except OSError as error:
            raise self._damaged(error) from error
        if problem := covariance_problem(matrix):
            raise FeatureFileError(f"{self.path}: /within_covariance {problem}. Extract again.")
        return matrix

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file's bytes."""
        return file_sha256(self.path)

    @property
    def dataset_name(self) -> str:
        """Name of the dataset, or of the file where the provenance has none."""
        return self.made.dataset_name or self.path.stem

    @property
    def features_name(self) -> str:
        """Short name of the feature set for tables, such as ``vit_small_patch16_224.dino cls-4``."""
        return self.made.features_name or self.path.stem

    def problems(self) -> list[str]:
        """Check every invariant of the schema; an empty list means a sound file."""
        problems = self._check_schema()
        if problems:
            return problems
        try:
            rows = self.rows
        except FeatureFileError as error:
            return [str(error).removeprefix(f"{self.path}: ")]
        ok = self.ok
        bad = [x[~usable(x) & ok[where]] for where, x in self.blocks()]
        if n_bad := sum(map(len, bad)):
            why = unusable(np.concatenate(bad))
            problems.append(
                f"{n_bad} rows marked ok hold {why} in their features. Extract again with --precision fp32."
            )
        if len(rows) == 0:
            problems.append("no rows.")
        try:
            views = self.views
        except FeatureFileError as error:
            return [*problems, str(error).removeprefix(f"{self.path}: ")]
        if views is not None and not np.isfinite(views.mean[ok]).all():
            problems.append("/view_mean of rows marked ok holds NaN or infinity. Extract again.")
        return problems


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes as hex."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_features(
    path: str | os.PathLike[str],
    features: NDArray[Any],
    rows: Rows,
    *,
    provenance: Mapping[str, Any] | None = None,
    views: Views | None = None,
) -> Path:
    """Write features that are already in memory as a feature file, whole or not at all.

    Parameters
    ----------
    path
        The file to make; an existing one is replaced.
    features : (n, d) float
        Stored as float16 if they are float16, else as float32.
    rows
        Ids and annotations of the n rows.
    provenance
        Where the features come from; kept as JSON.
    views
        View statistics, where the features average several views.
    """
    features = np.asarray(features)
    if features.ndim != 2 or len(features) != len(rows):
        raise EmbedkitError(
            f"{path}: features of shape {features.shape} don't fit {len(rows)} rows of (n, d)."
        )
    if features.dtype.kind not in "fiub":
        raise EmbedkitError(f"{path}: features are {features.dtype}, not numbers. Give an array of floats.")
    dtype = np.float16 if features.dtype == np.float16 else np.float32
    _check_range(path, features, dtype)
    if views is not None:
        _check_range(path, np.asarray(views.mean), np.float32)
    with new_feature_file(
        path, features.shape, dtype, rows, provenance or {}, views=views is not None
    ) as file:
        file["features"][...] = features
        if views is not None:
            add_views(file, views.n_views, views.within_covariance)
            file["view_mean"][...] = views.mean
    return Path(path)


def _check_range(path: str | os.PathLike[str], values: NDArray[Any], dtype: Any) -> None:
    """Refuse a finite number that would be stored as infinite."""
    if values.dtype == dtype:
        return
    with np.errstate(over="ignore"):
        lost = np.isinf(values.astype(dtype)) & np.isfinite(values)
    if lost.any():
        row = int(np.argmax(lost.any(axis=1)))
        raise EmbedkitError(
            f"{path}: row {row} holds {values[row][lost[row]][0]:g}, beyond what {np.dtype(dtype)} can store "
            f"({np.finfo(dtype).max:g}). Divide the features by a number, or take their logarithm."
        )


def add_views(file: h5py.File, n_views: int, within_covariance: NDArray[np.float64]) -> None:
    """Add /within_covariance and an empty /view_mean to a file that is being written."""
    dataset = file.create_dataset("within_covariance", data=within_covariance.astype(np.float64))
    dataset.attrs["n_views"] = n_views
    file.create_dataset("view_mean", shape=file["features"].shape, dtype=np.float32)


@contextmanager
def new_feature_file(
    path: str | os.PathLike[str],
    shape: tuple[int, int],
    dtype: type[np.floating[Any]],
    rows: Rows,
    provenance: Mapping[str, Any],
    *,
    views: bool = False,
) -> Iterator[h5py.File]:
    """Open a new feature file with everything but the features; rename it into place at the end.

    Nothing appears at `path` unless the block ends without an error. No time is stored, so that the same
    inputs give the same bytes.
    """
    path = Path(path)
    with aside(path) as temporary:
        n_bytes = room_for_features(shape, dtype, views=views) + room_for(rows)
        about = json.dumps(dict(provenance), sort_keys=True)
        reserve(temporary, n_bytes)  # once with nothing of HDF5's yet, which does not survive a full disk
        # The temporary file is locked by ourselves.
        with h5py.File(temporary, "w", track_order=True, locking=False) as file:
            reserve(temporary, n_bytes + 2 * len(about))
            file.attrs["format"] = FORMAT
            file.attrs["schema_version"] = SCHEMA_VERSION
            file.attrs["provenance"] = about
            file.create_dataset("features", shape=shape, dtype=dtype)
            _write_rows(file, rows)
            yield file
        give_back(temporary)


def _write_rows(file: h5py.File, rows: Rows) -> None:
    def strings(name: str, values: NDArray[np.str_] | None) -> None:
        if values is not None:
            file.create_dataset(name, data=values.astype(object), dtype=_STRINGS)

    strings("ids", rows.ids)
    if rows.labels is not None:
        labels = file.create_dataset("labels", data=rows.labels)
        labels.attrs["class_names"] = json.dumps(rows.class_names)
    if rows.targets is not None:
        targets = file.create_dataset("targets", data=rows.targets)
        targets.attrs["target_names"] = json.dumps(rows.target_names)
    strings("split", rows.split)
    strings("group", rows.group)
    if rows.coordinates is not None:
        file.create_dataset("coordinates", data=rows.coordinates)
    if rows.asked is not None:
        file.create_dataset("asked", data=rows.asked)
