"""What makes features comparable: how a feature file was made, as a saved model keeps and compares it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from embedkit.store import FeatureFile

# In a feature file's provenance. Views are not among them: their mean is a better measurement of the same
# thing.
MADE_BY = ("backbone.name", "backbone.weights_sha256", "backbone.adapter_sha256", "pooling", "preprocessing")


def identity(file: FeatureFile) -> dict[str, Any]:
    """Return what a feature file is and how it was made.

    Returns
    -------
    dict
        ``dataset``, ``features_name``, ``features_sha256``, ``d``, ``n_views`` and ``made_by``: the values of
        `MADE_BY`, empty where the file has no provenance.
    """
    made_by: dict[str, Any] = {}
    if "backbone" in file.provenance:
        for name in MADE_BY:
            value: Any = file.provenance
            for key in name.split("."):
                value = value.get(key) if isinstance(value, dict) else None
            made_by[name] = value
    return {
        "dataset": file.dataset_name,
        "features_name": file.features_name,
        "features_sha256": file.sha256,
        "d": file.d,
        "n_views": file.n_views,
        "made_by": made_by,
    }


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Name each reason why features `here` can't be used by a model that was fitted `there`."""
    found = []
    # A file without provenance (made from arrays) says nothing of them.
    for name in MADE_BY if there["made_by"] and here["made_by"] else ():
        found += _differ(name, there["made_by"].get(name), here["made_by"].get(name))
    if here["d"] != there["d"]:
        found.append(f"d is {here['d']}, of the fitted file {there['d']}")
    return found


def remarks(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """Say what of two files could not be compared, or differs without harm."""
    notes = []
    if not (there["made_by"] and here["made_by"]):
        notes.append(
            "How the features were made is not recorded in both files: only the number of dimensions was "
            "compared."
        )
    if here["n_views"] != there["n_views"]:
        notes.append(
            f"The model was fitted on features of {there['n_views']} view(s) an image, these are of "
            f"{here['n_views']}."
        )
    return notes


def _differ(name: str, fitted: Any, new: Any) -> list[str]:
    if isinstance(fitted, Mapping) and isinstance(new, Mapping):
        keys = sorted({*fitted, *new})
        return [one for key in keys for one in _differ(f"{name}.{key}", fitted.get(key), new.get(key))]
    return [] if fitted == new else [f"{name} is {_short(new)}, of the fitted file {_short(fitted)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 200 else text[:197] + "..."
