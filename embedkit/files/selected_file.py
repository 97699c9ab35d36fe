"""A feature file that stands for some rows of another, or for its rows with other annotations."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile
from embedkit.options import Selection


class SelectedFile(FeatureFile):
    """Rows of a feature file; `select` makes it.

    It has the ids, annotations and features of these rows alone, numbered from 0, and a dataset name that
    says which they are, so that no result is ranked beside one of other rows. What is pooled over all images,
    such as the covariance within views, and the digest are the file's.

    Parameters
    ----------
    base
        The whole file.
    index : (n,) int64
        Its rows that are kept, rising.
    keep
        Numbers of the classes that are kept.
    name
        What is kept, in words.
    record
        What results keep of it.
    remarks
        What a reader must know.
    """

    def __init__(
        self,
        base: FeatureFile,
        index: NDArray[np.int64],
        *,
        keep: NDArray[np.int64],
        name: str,
        record: dict[str, Any],
        remarks: tuple[str, ...],
    ) -> None:
        self.path = base.path
        self.base, self.index, self.keep = base, index, keep
        self.name, self.record, self.remarks = name, record, remarks
        self.selection = record

    def _file(self) -> h5py.File:
        return self.base._file()

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def close(self) -> None:
        """Close the whole file's handle."""
        self.base.close()

    @property
    def n(self) -> int:
        """Number of rows kept, failed images included."""
        return len(self.index)

    @property
    def dataset_name(self) -> str:
        """Name of the dataset, with what is kept of it."""
        return f"{self.base.dataset_name} [{self.name}]"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the whole file's bytes."""
        return self.base.sha256

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """How the features were made."""
        return self.base.provenance

    @cached_property
    def rows(self) -> Rows:
        """Ids and annotations; classes that are left out have no number here."""
        rows = self.base.rows.take(self.index)
        if rows.labels is None or len(self.keep) == len(rows.class_names):
            return rows
        number = np.full(len(rows.class_names) + 1, -1)
        number[self.keep] = np.arange(len(self.keep))
        return Rows(
            **{
                **vars(rows),
                "labels": number[rows.labels],
                "class_names": tuple(rows.class_names[i] for i in self.keep),
            }
        )

    @cached_property
    def ok(self) -> NDArray[np.bool_]:
        """(n,) False where the image could not be read."""
        return self.base.ok[self.index]

    @cached_property
    def errors(self) -> dict[str, str]:
        """Id to reason, for every kept image that could not be read."""
        kept = set(self.rows.ids.tolist())
        return {name: reason for name, reason in self.base.errors.items() if name in kept}

    def read(self, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return features of kept rows (rows, d): all, a slice, or those of a mask or index."""
        return self.base.read(self.index if rows is None else self.index[rows])

    def read_view_mean(self, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return view means of kept rows (rows, d)."""
        return self.base.read_view_mean(self.index if rows is None else self.index[rows])


def rows_and_options(file: FeatureFile, options: Selection) -> list[Any]:
    """Return what the name of a table of a file's rows depends on: options, which rows, what labels.

    A table of labels and a list of ids may change under the same name; the dataset's name has their digests.
    """
    asked = {name: value for name, value in asdict(options).items() if name != "labels"}
    return [asked, *([] if file.selection is None else [file.dataset_name])]


class AnnotatedFile(SelectedFile):
    """All rows of a feature file, with other annotations.

    Parameters
    ----------
    base
        The whole file, or some of its rows.
    rows
        What takes the place of its ids and annotations.
    name, record, remarks
        As of a `SelectedFile`.
    """

    def __init__(
        self, base: FeatureFile, rows: Rows, *, name: str, record: dict[str, Any], remarks: tuple[str, ...]
    ) -> None:
        every = np.arange(base.n), np.arange(len(rows.class_names))
        super().__init__(base, every[0], keep=every[1], name=name, record=record, remarks=remarks)
        self._rows = rows

    @cached_property
    def rows(self) -> Rows:
        """Ids and annotations."""
        return self._rows

    def read(self, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return features as (rows, d) float32, as the base does."""
        return self.base.read(rows)

    def read_view_mean(self, rows: slice | NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Return view means (rows, d), as the base does."""
        return self.base.read_view_mean(rows)
