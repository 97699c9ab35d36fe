"""Several feature files of the same images, read as one: rows are matched by id."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.errors import FeatureFileError, UsageError, listed
from embedkit.files.feature_set import opened
from embedkit.files.provenance import Provenance
from embedkit.files.rows import Rows, row_numbers
from embedkit.files.selected_file import SelectedFile
from embedkit.files.store import FeatureFile

Features = str | os.PathLike[str] | FeatureFile
# Ids that a remark names.
MOST_IDS = 3


@contextmanager
def joined(features: Features | Sequence[Features], *, with_labels: bool = True) -> Iterator[FeatureFile]:
    """Yield one feature file as `opened` does, or several as a `JointFile`.

    Parameters
    ----------
    features
        A file, or files of the same images.
    with_labels
        Whether the files' own labels count.
    """
    several = [features] if isinstance(features, (str, os.PathLike, FeatureFile)) else list(features)
    if not several:
        raise UsageError("no feature file is given. Name one, or several of the same images.")
    with ExitStack() as stack:
        files = [stack.enter_context(opened(one)) for one in several]
        yield files[0] if len(files) == 1 else JointFile(files, with_labels=with_labels)


class JointFile(FeatureFile):
    """The images that all of several feature files hold, in the order of the first.

    Its features are those of the files side by side; how each is prepared and weighed is for
    `embedkit.preparing.joint`. A row is read where every file could read its image. Annotations are those of
    the first file, and labels those of every file that has some.

    Parameters
    ----------
    files
        Two or more, open.
    with_labels
        Whether the files' own labels count; without, there are none.

    Raises
    ------
    FeatureFileError
        No image is in all of them, or two of them call an image by different classes.
    """

    def __init__(self, files: Sequence[FeatureFile], *, with_labels: bool = True) -> None:
        self.files = tuple(files)
        self.path = files[0].path
        places = [{str(name): row for row, name in enumerate(file.rows.ids.tolist())} for file in self.files]
        ids = [name for name in places[0] if all(name in place for place in places)]
        if not ids:
            raise _of_other_images(self.files)
        index = [np.array([place[name] for name in ids], np.int64) for place in places]
        self.parts = tuple(_rows_of(file, rows) for file, rows in zip(self.files, index, strict=True))
        self.remarks = tuple(_remarks(self.files, places, len(ids)))
        # Results of all rows of a file are beside those of that file alone; else they are of other images.
        whole = next((file for file in self.files if file.n == len(ids)), None)
        digest = hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:8]
        some = f"{self.files[0].dataset_name} [{len(ids)} images of all files {digest}]"
        self._name = some if whole is None else whole.dataset_name
        self._with_labels = with_labels
        _ = self.rows  # what contradicts is said now

    def _file(self) -> h5py.File:
        return self.files[0]._file()

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def close(self) -> None:
        """Close all files; the next read opens them again."""
        for file in self.files:
            file.close()

    @property
    def n(self) -> int:
        """Number of images that all files hold, failed ones included."""
        return self.parts[0].n

    @property
    def d(self) -> int:
        """Number of dimensions of all files together."""
        return sum(part.d for part in self.parts)

    @property
    def n_views(self) -> int:
        """1: view statistics are those of each file, none are of all."""
        return 1

    @cached_property
    def within_covariance(self) -> NDArray[np.float64] | None:
        """None: see `n_views`."""
        return None

    @property
    def dataset_name(self) -> str:
        """Name of the dataset, saying so where no file's rows are all there."""
        return self._name

    @property
    def features_name(self) -> str:
        """Names of all feature sets, such as ``a + b``."""
        return " + ".join(file.features_name for file in self.files)

    @cached_property
    def made(self) -> Provenance:
        """How the features of the first file were made, which is where its images are found."""
        return self.files[0].made

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What each file says of how it was made."""
        files = [
            {"file": str(file.path), "sha256": file.sha256, "features": file.provenance}
            for file in self.files
        ]
        return {"features_name": self.features_name, "files": files}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the digests of all files, in order."""
        return hashlib.sha256("".join(f"{file.sha256}\n" for file in self.files).encode()).hexdigest()

    @cached_property
    def rows(self) -> Rows:
        """Ids and annotations."""
        rows = replace(self.parts[0].rows, labels=None, class_names=())
        labels, names = _joint_labels(self.parts) if self._with_labels else (None, ())
        return replace(rows, labels=labels, class_names=names)

    @cached_property
    def ok(self) -> NDArray[np.bool_]:
        """(n,) False where some file couldn't read the image."""
        return np.asarray(np.all([part.ok for part in self.parts], axis=0), np.bool_)

    @cached_property
    def errors(self) -> dict[str, str]:
        """Id to reason, for every image that some file couldn't read."""
        found: dict[str, str] = {}
        for part in reversed(self.parts):
            found |= part.errors
        return found

    def _read_rows(self, name: str, rows: slice | NDArray[Any] | None) -> NDArray[np.float32]:
        assert name == "features"  # there are no view means, see `n_views`
        index = row_numbers(rows, self.n)
        return np.concatenate([part.read(index) for part in self.parts], axis=1)

    def problems(self) -> list[str]:
        """Check every invariant of every file's schema; an empty list means sound files."""
        return [f"{file.path.name}: {problem}" for file in self.files for problem in file.problems()]


def _rows_of(file: FeatureFile, index: NDArray[np.int64]) -> FeatureFile:
    keep = np.arange(len(file.rows.class_names))
    return SelectedFile(file, index, keep=keep, name="in all files", record={"asked": {}}, remarks=())


def _of_other_images(files: Sequence[FeatureFile]) -> FeatureFileError:
    """Return the error for files that hold no image in common, naming the first two that don't."""
    first = files[0]
    other = next((file for file in files[1:] if not np.isin(first.rows.ids, file.rows.ids).any()), files[-1])
    return FeatureFileError(
        f"{other.path}: none of its {other.n:,} ids, such as {str(other.rows.ids[0])!r}, is in {first.path} "
        f"and all other files, which have {str(first.rows.ids[0])!r}. Files that are "
        "taken together are of the same images: name files of one dataset."
    )


def _remarks(files: Sequence[FeatureFile], places: Sequence[dict[str, int]], n: int) -> Iterator[str]:
    """Say which images are left out because a file doesn't hold them, and where datasets differ by name."""
    for file in files:
        yield from file.remarks
    names = list(dict.fromkeys(file.dataset_name for file in files))
    if len(names) > 1:
        yield f"The files are of {listed(names)} by their names; their rows are matched by id."
    for file, place in zip(files, places, strict=True):
        every = dict.fromkeys(name for other in places for name in other)
        missing = [name for name in every if name not in place]
        if missing:
            yield (
                f"{file.path} lacks {len(missing):,} images of the other files, such as "
                f"{', '.join(missing[:MOST_IDS])}: they are left out, {n:,} are in all files."
            )


def _joint_labels(files: Sequence[FeatureFile]) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Return the label of each row (n,) by whichever file has one, and the classes of all files."""
    with_some = [file for file in files if file.rows.labels is not None]
    if not with_some:
        return None, ()
    names = tuple(dict.fromkeys(name for file in with_some for name in file.rows.class_names))
    labels = np.full(files[0].n, -1)
    for file in with_some:
        own, classes = file.rows.labels, file.rows.class_names
        assert own is not None  # for mypy
        # The last is of rows without a label, -1.
        theirs = np.array([*(names.index(name) for name in classes), -1], np.int64)[own]
        differ = np.flatnonzero((labels >= 0) & (theirs >= 0) & (labels != theirs))
        if len(differ):
            row = int(differ[0])
            raise FeatureFileError(
                f"{file.path}: calls {len(differ):,} of the images otherwise than {files[0].path} or another "
                f"file, the first {str(file.rows.ids[row])!r} {names[theirs[row]]!r} instead of "
                f"{names[labels[row]]!r}. Name files of the same labels, or give them with --labels FILE."
            )
        labels = np.where(labels >= 0, labels, theirs)
    return labels, names
