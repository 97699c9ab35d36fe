"""What a feature file has to hold: marks, arrays, their shapes and types.

Its specification is docs/reference/feature-file.md.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.files.provenance import read_provenance
from embedkit.strict_json import UndeclaredError, declared

SCHEMA_VERSION = 1
FORMAT = "embedkit-features"
# Of a feature: float32 holds the squared distance of rows of 100,000 of them. No network gives such numbers,
# and a damaged disk does.
LARGEST = 1e15
_KINDS = {"f": "floating-point number", "iu": "whole number", "b": "truth value", "text": "text"}


def schema_problems(file: h5py.File) -> list[str]:
    """Return what makes an HDF5 file no feature file; looks at shapes and types, reads no array."""
    if file.attrs.get("format") != FORMAT or "schema_version" not in file.attrs:
        return [
            "an HDF5 file, but not a feature file: it has no embedkit format mark. Use the .h5 that "
            "`embedkit extract` wrote. A file of images is a DATASET for extract; a file of vectors becomes "
            "a feature file with `embedkit import`."
        ]
    version = file.attrs["schema_version"]
    if not isinstance(version, (int, np.integer)):
        return [f"its schema_version is {version!r}, not a number. Extract again."]
    if version > SCHEMA_VERSION:
        return [
            f"written by a newer embedkit (schema {version}; this one reads up to "
            f"{SCHEMA_VERSION}). Upgrade embedkit, or extract again."
        ]
    return _broken_structure(file)


def _broken_structure(file: h5py.File) -> list[str]:
    problems = []
    for name in ("features", "ids"):
        if not isinstance(file.get(name), h5py.Dataset):
            problems.append(f"the required /{name} is missing. Extract again.")
    if problems:
        return problems
    if file["features"].ndim != 2:
        return [f"/features has {file['features'].ndim} axes, expected (n, d). Extract again."]
    n, d = file["features"].shape
    t = getattr(file.get("targets"), "shape", ())[1:2] or (1,)
    expected = {
        "features": ((n, d), "f"),
        "ids": ((n,), "text"),
        "labels": ((n,), "iu"),
        "targets": ((n, *t), "f"),
        "split": ((n,), "text"),
        "group": ((n,), "text"),
        "ok": ((n,), "b"),
        "errors": ((n,), "text"),
        "coordinates": ((n, 2), "f"),
        "asked": ((n, *t), "f"),
        "view_mean": ((n, d), "f"),
        "within_covariance": ((d, d), "f"),
    }
    for name, (shape, kind) in expected.items():
        if name not in file:
            continue
        if not isinstance(file[name], h5py.Dataset) or file[name].shape != shape:
            found = getattr(file[name], "shape", "none (a group)")
            problems.append(f"/{name} has shape {found}, expected {shape}. Extract again.")
        elif not _holds(file[name].dtype, kind):
            problems.append(f"/{name} holds {file[name].dtype}, which is no {_KINDS[kind]}. Extract again.")
    if problems:
        return problems
    try:
        read_provenance(file.attrs.get("provenance", "{}"))
    except UndeclaredError as error:
        problems.append(f"its provenance is not a JSON object ({error}). Extract again.")
    for name, attribute in (("labels", "class_names"), ("targets", "target_names")):
        if name in file and not _is_list(file[name].attrs.get(attribute)):
            problems.append(f"/{name} has no {attribute}, a JSON list of names. Extract again.")
    if "within_covariance" in file:
        n_views = file["within_covariance"].attrs.get("n_views")
        if not isinstance(n_views, (int, np.integer)) or n_views < 2:
            problems.append(f"/within_covariance is of {n_views} views, expected 2 or more. Extract again.")
    if ("view_mean" in file) != ("within_covariance" in file):
        problems.append(
            "/view_mean and /within_covariance belong together, and one is missing. Extract again."
        )
    return problems


def usable(x: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each row of features (n, d) can be computed with: no NaN, infinity or number over `LARGEST`."""
    found: NDArray[np.bool_] = (np.abs(x) <= np.float32(LARGEST)).all(axis=1)
    return found


def unusable(rows: NDArray[Any]) -> str:
    """Say what rows hold that are not `usable`."""
    return f"numbers beyond {LARGEST:g}" if np.isfinite(rows).all() else "NaN or infinity"


def covariance_problem(matrix: NDArray[np.float64]) -> str | None:
    """Say why a matrix (d, d) is the covariance of nothing, a few words; None for one that may be.

    A negative variance in some direction is one beyond what float32 sums leave, ``1e-5`` of its norm.
    """
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T):
        return "is not a finite symmetric matrix"
    norm = float(np.linalg.norm(matrix))
    try:
        np.linalg.cholesky(matrix + 1e-5 * norm * np.eye(len(matrix)) if norm else np.eye(1))
    except np.linalg.LinAlgError:
        return "has a negative variance, so it is no covariance"
    return None


def _holds(dtype: np.dtype[Any], kind: str) -> bool:
    return h5py.check_string_dtype(dtype) is not None if kind == "text" else dtype.kind in kind


def _is_list(text: Any) -> bool:
    try:
        declared(text, list[str])
    except (UndeclaredError, TypeError):
        return False
    return True
