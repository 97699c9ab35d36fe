"""From a file of vectors to what is read of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.store import Views

# Names of arrays of vectors, in any case of letters; the first that is there is taken.
KNOWN = ("features", "embeddings", "embedding", "vectors", "feats", "x", "arr_0", "data")


@dataclass(frozen=True)
class Made:
    """What a feature file knows of its features, which another set of labels does not change.

    Parameters
    ----------
    provenance
        Of the file.
    errors
        Id to reason, of the rows that are marked.
    views
        View statistics, where there are some.
    """

    provenance: Mapping[str, Any]
    errors: Mapping[str, str]
    views: Views | None


@dataclass(frozen=True)
class Vectors:
    """n vectors of d dimensions in a file.

    Parameters
    ----------
    where
        File and array, for messages: ``clip.npz: embeddings``.
    shape
        (n, d).
    dtype
        As stored.
    read
        (start, stop) to these rows, (rows, d).
    columns
        What else the file has of each row: name to (n, ...).
    said
        Where the dimensions come from, in words.
    names
        Arrays of the file that are not of each row, such as class names.
    made
        Of a feature file.
    index
        The column that a table keeps as its index.
    unread
        What of the file can't be used, each with the reason.
    """

    where: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    read: Callable[[int, int], NDArray[Any]]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    said: str = ""
    names: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    made: Made | None = None
    index: str | None = None
    unread: Sequence[str] = ()

    @property
    def file(self) -> str:
        """The file alone."""
        return self.where.partition(": ")[0]


def in_memory(where: str, x: NDArray[Any], columns: Mapping[str, NDArray[Any]], said: str) -> Vectors:
    """Return vectors that are in memory already."""
    return Vectors(where, (x.shape[0], x.shape[1]), x.dtype, lambda start, stop: x[start:stop], columns, said)


def choose(path: Path, shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], key: str | None) -> str:
    """Return the array of vectors among those of a file.

    Parameters
    ----------
    path
        The file.
    shapes
        Name to shape and type of each array.
    key
        The one that the user names.

    Raises
    ------
    UsageError
        None is called that, none is of vectors, or several could be.
    """
    known = ", ".join(f"{name} {shape}" for name, (shape, _) in shapes.items()) or "none"
    if key is not None:
        found = key if key in shapes else key.strip("/")
        if found not in shapes:
            raise UsageError(f"{path}: no array {key!r} for --key. Its arrays: {known}.")
        return found
    likely = [name for name, (shape, dtype) in shapes.items() if len(shape) == 2 and dtype.kind in "fiub"]
    likely = [name for name in likely if name.rpartition("/")[2] not in ("targets", "coordinates", "labels")]
    if len(likely) > 1:
        last = {name.rpartition("/")[2].casefold(): name for name in reversed(likely)}
        first = next((last[name] for name in KNOWN if name in last), None)
        likely = [first] if first is not None else likely
    if len(likely) == 1:
        return likely[0]
    if not likely:
        # Images say more of the file than the labels beside them.
        by_axes = sorted(shapes.items(), key=lambda one: len(one[1][0]) not in (3, 4))
        for name, (shape, dtype) in by_axes:
            check_shape(f"{path}: {name}", shape, dtype, path)
    raise UsageError(
        f"{path}: {'several arrays' if likely else 'no array'} could be the vectors. Name one with --key; "
        f"its arrays: {known}."
    )


def check_shape(where: str, shape: Sequence[int], dtype: np.dtype[Any], path: Path) -> None:
    """Refuse what is no (n, d) array of numbers, and say what it seems to be."""
    wanted = "Vectors are (n, d), one row each."
    if dtype.kind not in "fiub":
        if dtype.kind == "V" and dtype.names:
            raise EmbedkitError(
                f"{where}: a table of named fields, not an array of numbers. "
                "numpy.lib.recfunctions.structured_to_unstructured makes one."
            )
        raise EmbedkitError(f"{where}: holds {dtype}, not real numbers. {wanted}")
    if len(shape) in (3, 4):
        axis = "" if len(shape) == 4 else " If these are tokens, take their mean first."
        raise UsageError(
            f"{where}: an array of shape {tuple(shape)} looks like images, not vectors. Images go to "
            f"`embedkit extract {path}`.{axis} {wanted}"
        )
    if len(shape) == 1:
        raise EmbedkitError(
            f"{where}: an array of shape {tuple(shape)} has one axis. {wanted} For one number a row: "
            "x.reshape(-1, 1); for one vector: x.reshape(1, -1)."
        )
    if len(shape) != 2:
        raise EmbedkitError(f"{where}: an array of shape {tuple(shape)} holds no vectors. {wanted}")
    if 0 in shape:
        raise EmbedkitError(f"{where}: an array of shape {tuple(shape)} is empty. {wanted}")
