"""What is known of every image besides its pixels; datasets provide it and feature files keep it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Rows:
    """The annotations of n images, in the dataset's order.

    Parameters
    ----------
    ids : (n,) str
        Unique, never empty.
    labels : (n,) int64, optional
        Index into `class_names`; -1 where an image has no label.
    class_names
        Names of the classes, each different and none empty; a class may have no image.
    targets : (n, t) float32, optional
        Regression targets such as vote fractions; NaN where missing.
    target_names
        Names of the t targets.
    split : (n,) str, optional
        ``train``, ``validation``, ``test``, or empty where a row belongs to none.
    group : (n,) str, optional
        Rows of one group belong on the same side of every split.
    coordinates : (n, 2) float64, optional
        Right ascension and declination in degrees (J2000); NaN where missing.

    Raises
    ------
    EmbedkitError
        An annotation of another length, a duplicate or empty id, a class without a name of its own, text that
        no file can hold, a label outside the classes, or an unknown split.
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None = None
    class_names: tuple[str, ...] = ()
    targets: NDArray[np.float32] | None = None
    target_names: tuple[str, ...] = ()
    split: NDArray[np.str_] | None = None
    group: NDArray[np.str_] | None = None
    coordinates: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "ids", np.asarray(self.ids, dtype=np.str_).reshape(-1))
        set_field(self, "class_names", tuple(str(name) for name in self.class_names))
        set_field(self, "target_names", tuple(str(name) for name in self.target_names))
        if self.labels is not None:
            set_field(self, "labels", np.asarray(self.labels, dtype=np.int64))
        if self.targets is not None:
            set_field(self, "targets", np.asarray(self.targets, dtype=np.float32))
        if self.split is not None:
            set_field(self, "split", np.asarray(self.split, dtype=np.str_))
        if self.group is not None:
            set_field(self, "group", np.asarray(self.group, dtype=np.str_))
        if self.coordinates is not None:
            set_field(self, "coordinates", np.asarray(self.coordinates, dtype=np.float64))
        self._check()

    def _check(self) -> None:
        n = len(self.ids)
        shapes = {
            "labels": (n,),
            "targets": (n, len(self.target_names)),
            "split": (n,),
            "group": (n,),
            "coordinates": (n, 2),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and values.shape != shape:
                raise EmbedkitError(f"{name} has shape {values.shape}, expected {shape} for {n} images.")
        if (self.ids == "").any():
            raise EmbedkitError(
                f"row {int(np.argmax(self.ids == ''))} has an empty id. Give every image one."
            )
        self._check_text()
        unique, counts = np.unique(self.ids, return_counts=True)
        if len(unique) < n:
            raise EmbedkitError(
                f"{n - len(unique)} duplicate ids, such as {str(unique[counts > 1][0])!r}. "
                "Ids name the rows, so each must occur once: remove the copies or name an id column."
            )
        if self.labels is not None:
            bad = (self.labels < -1) | (self.labels >= len(self.class_names))
            if bad.any():
                raise EmbedkitError(
                    f"label {int(self.labels[bad][0])} of {str(self.ids[bad][0])!r} is outside the "
                    f"{len(self.class_names)} classes; -1 stands for no label."
                )
        if self.split is not None:
            bad = ~np.isin(self.split, (*SPLITS, ""))
            if bad.any():
                raise EmbedkitError(
                    f"split {str(self.split[bad][0])!r} of {str(self.ids[bad][0])!r} is not one of "
                    f"{', '.join(SPLITS)}. Rename it, or leave it empty to keep the row out of every split."
                )

    def _check_text(self) -> None:
        for name in ("ids", "split", "group"):
            values = getattr(self, name)
            if values is None or _is_text("".join(values)):
                continue
            bad = next(value for value in values.tolist() if not _is_text(value))
            raise EmbedkitError(f"{name} hold {bad!r}, which is no text that a file can keep. Rename it.")
        if "" in self.class_names:
            raise EmbedkitError("a class has an empty name. Name it; label -1 stands for no label.")
        if len(set(self.class_names)) < len(self.class_names):
            twice = next(name for name in self.class_names if self.class_names.count(name) > 1)
            raise EmbedkitError(f"two classes are called {twice!r}. Make them one, or rename one.")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: NDArray[Any] | slice | Sequence[int]) -> Rows:
        """Return the rows at `index` (integers, a boolean mask or a slice)."""
        index = np.arange(len(self))[index]
        per_row = ("ids", "labels", "targets", "split", "group", "coordinates")
        changed = {
            field.name: getattr(self, field.name)[index]
            for field in fields(self)
            if field.name in per_row and getattr(self, field.name) is not None
        }
        return replace(self, **changed)


def _is_text(value: str) -> bool:
    """Whether HDF5 and UTF-8 can hold it: no NUL, no half of a surrogate pair."""
    return "\0" not in value and value.encode(errors="replace").decode() == value


def labels_from_names(names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Turn class names into labels: classes sorted by name, empty strings become -1."""
    values = np.asarray(names, dtype=np.str_)
    class_names = tuple(str(name) for name in np.unique(values) if name != "")
    index = {name: label for label, name in enumerate(class_names)}
    return np.array([index.get(str(name), -1) for name in values], dtype=np.int64), class_names
