"""Vectors in AnnData's .h5ad: X or another of its matrices, with what `obs` says of each row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, UsageError, first_line
from embedkit.extraction.vectors.arrays import DAMAGED
from embedkit.extraction.vectors.source import Vectors, check_shape
from embedkit.extraction.vectors.tables import cells_of

GET_ANNDATA = "pip install anndata"


def open_h5ad(path: Path, key: str | None) -> Vectors:
    """Read one matrix of an AnnData file; its `obs` gives ids and annotations.

    Parameters
    ----------
    path
        The file.
    key
        ``X``, ``obsm/NAME``, ``layers/NAME`` or ``raw/X``; X by default.

    Raises
    ------
    EmbedkitError
        anndata is missing, or the file is damaged.
    UsageError
        No such matrix.
    """
    try:
        from anndata.io import read_elem
    except ImportError as error:
        raise EmbedkitError(
            f"{path}: .h5ad is read with anndata, which is missing: `{GET_ANNDATA}`."
        ) from error
    try:
        with h5py.File(path, "r") as file:
            known = _matrices(file)
            if key is None and "X" not in known and len(known) != 1:
                raise UsageError(f"{path}: no X. Name with --key one of {', '.join(known) or 'none'}.")
            key = ("X" if "X" in known else known[0]) if key is None else key.strip("/")
            key = f"obsm/{key}" if key not in known and f"obsm/{key}" in known else key
            if key not in known:
                raise UsageError(f"{path}: no matrix {key!r} for --key. It has {', '.join(known) or 'none'}.")
            x = read_elem(file[key])
            table = read_elem(file["obs"])
    except DAMAGED as error:
        raise EmbedkitError(
            f"{path}: not a readable AnnData file ({first_line(error)}). Restore it."
        ) from error
    matrix = x.to_numpy() if hasattr(x, "to_numpy") else x
    columns = {"ids": np.asarray(table.index.astype(str), dtype=np.str_)}
    columns |= {
        str(name): cells_of(table[name].astype(object).tolist()) for name in table.columns if name != "ids"
    }
    check_shape(f"{path}: {key}", matrix.shape, np.dtype(matrix.dtype), path)

    def read(start: int, stop: int) -> NDArray[Any]:
        rows = matrix[start:stop]
        return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows)

    n, d = matrix.shape
    return Vectors(
        f"{path}: {key}", (n, d), np.dtype(matrix.dtype), read, columns, f"{d:,} dimensions from {key}"
    )


def _matrices(file: h5py.File) -> list[str]:
    named = [f"{group}/{name}" for group in ("obsm", "layers") if group in file for name in file[group]]
    return [name for name in ("X", *named, "raw/X") if name in file]
