"""What makes features comparable: how a feature file was made, as a saved model keeps and compares it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedkit.errors import DataError, EmbedkitError
from embedkit.files.joint_file import JointFile
from embedkit.files.provenance import MADE_BY
from embedkit.files.selected_file import SelectedFile
from embedkit.files.store import FeatureFile


@dataclass(frozen=True)
class FittedOn:
    """What `identity` says, as a saved model must hold it."""

    dataset: str
    features_name: str
    features_sha256: str
    d: int
    n_views: int
    made_by: dict[str, Any]
    files: list[dict[str, Any]] = field(default_factory=list)


def identity(file: FeatureFile) -> dict[str, Any]:
    """Return what a feature file is and how it was made.

    Returns
    -------
    dict
        ``dataset``, ``features_name``, ``features_sha256``, ``d``, ``n_views`` and ``made_by``: the values of
        `MADE_BY`, empty where the file has no provenance. Of files that are joined also ``files``, the same
        of each of them.
    """
    joint = _joint(file)
    return {
        "dataset": file.dataset_name,
        "features_name": file.features_name,
        "features_sha256": file.sha256,
        "d": file.d,
        "n_views": file.n_views,
        "made_by": {} if joint else file.made.made_by,
        **({"files": [identity(one) for one in joint.files]} if joint else {}),
    }


def _joint(file: FeatureFile) -> JointFile | None:
    while isinstance(file, SelectedFile):
        file = file.base
    return file if isinstance(file, JointFile) else None


def check_alike(fitted_on: Mapping[str, Any], file: FeatureFile, *, model: str, again: str) -> list[str]:
    """Compare a feature file with the one that a model was fitted on; returns what is worth saying.

    Parameters
    ----------
    fitted_on
        The `identity` that the model keeps.
    file
        New features for it.
    model, again
        For the message: what it is, and how to fit another.

    Raises
    ------
    DataError
        The features were made otherwise; the message names each difference.
    """
    joint, fitted_files = _joint(file), fitted_on.get("files", [])
    here_files = joint.files if joint else (file,)
    if joint or fitted_files:
        if len(fitted_files or [1]) != len(here_files):
            raise DataError(
                f"the {model} was fitted on {len(fitted_files) or 1} feature file(s), "
                f"{fitted_on['features_name']!r}, and {len(here_files)} are given. Give as many, of the "
                f"same kinds in the same order, or {again}."
            )
        remarks = []
        for one, before in zip(here_files, fitted_files, strict=True):
            try:
                remarks += check_alike(before, one, model=model, again=again)
            except DataError as error:
                raise EmbedkitError(f"{one.path}: {error}") from error
        return list(dict.fromkeys(remarks))
    there, here = fitted_on, identity(file)
    # A file without provenance (made from arrays) says nothing of how its features were made.
    recorded = bool(there["made_by"] and here["made_by"])
    found = []
    for name in MADE_BY if recorded else ():
        found += _differ(name, there["made_by"].get(name), here["made_by"].get(name))
    if here["d"] != there["d"]:
        found.append(f"d is {here['d']}, of the fitted file {there['d']}")
    if found:
        raise DataError(
            f"its features are not of the kind that the {model} was fitted on: {'; '.join(found)}. "
            f"Extract these images as the others were, or {again}."
        )
    remarks = []
    if not recorded:
        remarks.append(
            "How the features were made is not recorded in both files: only the number of dimensions was "
            "compared."
        )
    if here["n_views"] != there["n_views"]:
        remarks.append(
            f"The {model} was made of features of {_views(there['n_views'])} an image, these are of "
            f"{_views(here['n_views'])}: they differ by that, too. Extract them with the same --views."
        )
    return remarks


def _differ(name: str, fitted: Any, new: Any) -> list[str]:
    if isinstance(fitted, Mapping) and isinstance(new, Mapping):
        keys = sorted({*fitted, *new})
        return [one for key in keys for one in _differ(f"{name}.{key}", fitted.get(key), new.get(key))]
    return [] if fitted == new else [f"{name} is {_short(new)}, of the fitted file {_short(fitted)}"]


def _views(n: int) -> str:
    return "one view" if n == 1 else f"{n} views"


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 200 else text[:197] + "..."
