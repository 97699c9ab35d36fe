"""A fitted model as one HDF5 file of plain arrays and JSON: never a pickle, and nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from embedkit.errors import EmbedkitError, first_line
from embedkit.files.aside import write_bytes
from embedkit.files.own_hdf5 import unsound
from embedkit.strict_json import declared, strict

DIGEST = "sha256"
# What using contents of another shape than they should be may end in.
_BROKEN = (
    *(OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError),
    *(RecursionError, MemoryError),
)


@dataclass(frozen=True)
class ModelFormat:
    """One kind of saved model.

    Parameters
    ----------
    name, version
        What its files say of themselves.
    missing, foreign, outdated, broken
        What to do about a file that is not there (``{path}`` is replaced), is of another kind, has another
        version, or is broken.
    """

    name: str
    version: int
    missing: str
    foreign: str
    outdated: str
    broken: str

    @contextmanager
    def create(self, path: str | os.PathLike[str], about: Mapping[str, Any]) -> Iterator[h5py.File]:
        """Yield a new file that says `about`, for arrays; it appears whole or not at all."""
        # In memory first: HDF5 does not survive a full disk.
        with h5py.File(path, "w", driver="core", backing_store=False, track_order=True) as file:
            file.attrs["format"], file.attrs["schema_version"] = self.name, self.version
            file.attrs["about"] = json.dumps(strict(about), sort_keys=True)
            yield file
            file.attrs[DIGEST] = _digest(file)
            file.flush()
            image = file.id.get_file_image()
        write_bytes(path, image)

    @contextmanager
    def using(self, path: str | os.PathLike[str]) -> Iterator[None]:
        """Name a file as broken whose contents fail in the block, as arrays do that don't belong together."""
        try:
            yield
        except EmbedkitError:
            raise
        except _BROKEN as error:
            raise self._refusal(path, error) from error

    def _refusal(self, path: str | os.PathLike[str], error: Exception) -> EmbedkitError:
        return EmbedkitError(f"{path}: a broken or foreign file ({first_line(error)}). {self.broken}")

    @contextmanager
    def open(self, path: str | os.PathLike[str]) -> Iterator[tuple[h5py.File, dict[str, Any]]]:
        """Yield a file and what it says; what fails in the block because of its contents names it as broken.

        Raises
        ------
        EmbedkitError
            No such file, another kind of file, another version, or a broken file.
        """
        path = Path(path)
        if not path.is_file():
            raise EmbedkitError(f"{path}: no such file. {self.missing.format(path=path)}")
        try:
            with h5py.File(path, "r") as file:
                if problem := unsound(file, path):
                    raise EmbedkitError(f"{path}: damaged ({problem}). {self.broken}")
                if file.attrs.get("format") != self.name:
                    raise EmbedkitError(f"{path}: {self.foreign}")
                version = file.attrs.get("schema_version")
                if version != self.version:
                    raise EmbedkitError(
                        f"{path}: schema version {version}, this embedkit reads {self.version}. "
                        f"Update embedkit, or {self.outdated}"
                    )
                text = file.attrs["about"]
                if not isinstance(text, str):
                    raise ValueError("its about is no text")
                if file.attrs.get(DIGEST, "") != _digest(file):
                    fact = "are not those that were saved" if DIGEST in file.attrs else "have no digest"
                    raise EmbedkitError(
                        f"{path}: its arrays {fact}, so they can't be relied on. {self.broken}"
                    )
                yield file, declared(text, dict[str, Any])
        except _BROKEN as error:
            raise self._refusal(path, error) from error


def _digest(file: h5py.File) -> str:
    """SHA-256 of what a file says and of every array, which are numbers: name, type, shape and values.

    HDF5 notices nothing of a flipped bit, and a weight with one is another weight.
    """
    names: list[str] = []
    file.visit(names.append)
    found = hashlib.sha256(file.attrs["about"].encode())
    for name in sorted(names):
        if isinstance(item := file[name], h5py.Dataset):
            values = np.asarray(item[...])
            found.update(json.dumps([name, values.dtype.str, values.shape]).encode())
            found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def read_arrays(group: h5py.Group) -> dict[str, Any]:
    """Return the arrays of a group."""
    return {name: np.asarray(array[...]) for name, array in group.items()}
