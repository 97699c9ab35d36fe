"""Which reader a file of vectors has, by its ending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from embedkit.errors import UsageError
from embedkit.extraction.vectors.annotated_matrix import open_h5ad
from embedkit.extraction.vectors.arrays import open_h5, open_npy, open_npz
from embedkit.extraction.vectors.options import ImportOptions
from embedkit.extraction.vectors.source import Made, Vectors
from embedkit.extraction.vectors.tables import open_csv, open_parquet
from embedkit.files.schema import FORMAT
from embedkit.files.store import FeatureFile

_ARRAYS: dict[str, Callable[[Path, str | None], Vectors]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".h5": open_h5,
    ".hdf5": open_h5,
    ".h5ad": open_h5ad,
}
_TABLES: dict[str, Callable[[Path, str | None, tuple[str, ...]], Vectors]] = {
    ".csv": open_csv,
    ".tsv": open_csv,
    ".txt": open_csv,
    ".parquet": open_parquet,
    ".pq": open_parquet,
}
_PYTHON = (".pt", ".pth", ".pkl", ".pickle", ".joblib")


def open_vectors(path: Path, options: ImportOptions) -> Vectors:
    """Open a file of vectors.

    Raises
    ------
    UsageError
        An ending that is not known, or an option that does not apply.
    EmbedkitError
        A damaged file, or one without vectors.
    """
    ending = path.suffix.lower()
    if ending in _TABLES:
        named = tuple(name for name in (options.ids, options.labels) if name is not None)
        return _TABLES[ending](path, options.key, (*named, *(options.target_columns or ())))
    if ending in _ARRAYS:
        return _of_feature_file(path, options) or _ARRAYS[ending](path, options.key)
    known = ", ".join((*_ARRAYS, *_TABLES))
    fix = (
        "Save a plain array with numpy.save."
        if ending in _PYTHON
        else f"Its ending has to be one of {known}."
    )
    raise UsageError(f"{path}: not a file of vectors by its ending. {fix}")


def _of_feature_file(path: Path, options: ImportOptions) -> Vectors | None:
    """Return the features and annotations of a feature file; None where it is none."""
    if path.suffix.lower() not in (".h5", ".hdf5") or not h5py.is_hdf5(path):
        return None
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                return None
            dtype = file["features"].dtype
    except (OSError, KeyError):
        return None
    if options.key is not None:
        raise UsageError(f"{path}: a feature file, so --key does not apply. Leave it out.")
    file = FeatureFile(path)
    rows = file.rows
    per_row = ("ids", "labels", "targets", "split", "group", "coordinates", "asked")
    columns = {name: values for name in per_row if (values := getattr(rows, name)) is not None}
    names = {
        name: np.array(getattr(rows, name), dtype=np.str_)
        for name in ("class_names", "target_names")
        if getattr(rows, name)
    }
    return Vectors(
        str(path),
        (file.n, file.d),
        dtype,
        lambda start, stop: file.read(slice(start, stop)),
        columns,
        f"{file.d:,} dimensions of a feature file",
        names,
        Made(file.provenance, file.errors, file.views),
    )
