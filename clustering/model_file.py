"""A fitted clustering as one HDF5 file of plain arrays and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from clustering.agglomerative import Agglomerative
from clustering.density import HDBSCAN
from clustering.kmeans import KMeans
from clustering.manifold import UMAP
from clustering.methods import Model
from clustering.mixture import GMM
from clustering.temi import TEMI
from embedkit.errors import DataError, EmbedkitError, first_line
from embedkit.identity import differences, identity, remarks
from embedkit.preparation import Prepared
from embedkit.results import strict
from embedkit.store import FeatureFile

FORMAT = "embedkit-cluster-model"
SCHEMA_VERSION = 1
ESTIMATORS: dict[str, Any] = {
    "KMeans": KMeans,
    "HDBSCAN": HDBSCAN,
    "Agglomerative": Agglomerative,
    "GMM": GMM,
    "TEMI": TEMI,
}


@dataclass(frozen=True)
class SavedModel:
    """All that it takes to assign new images.

    Parameters
    ----------
    method
        Name of the method.
    model
        The fitted method.
    prepared
        The fitted preparation.
    settings
        Every setting of the method that was used.
    classes
        Name of the class that each matched cluster stands for, by cluster: learnt on the fitted file.
    fitted_on
        ``dataset``, ``features_name``, ``features_sha256``, ``d``, ``n_views`` and ``made_by``: of the file.
    seed
        Of the fit.
    """

    method: str
    model: Model
    prepared: Prepared
    settings: Mapping[str, Any]
    classes: Mapping[int, str]
    fitted_on: Mapping[str, Any]
    seed: int

    def check(self, file: FeatureFile) -> list[str]:
        """Compare a feature file with the one it was fitted on; returns what is worth saying.

        Raises
        ------
        DataError
            The features were made otherwise; the message names each difference.
        """
        there, here = self.fitted_on, identity(file)
        found = differences(there, here)
        if found:
            raise DataError(
                f"its features are not of the kind that the model was fitted on: {'; '.join(found)}. "
                "Extract these images as the others were, or cluster them anew."
            )
        return remarks(there, here)


def save_model(path: str | os.PathLike[str], saved: SavedModel) -> None:
    """Write a model, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "method": saved.method,
        "estimator": type(saved.model.estimator).__name__,
        "settings": saved.settings,
        "classes": saved.classes,
        "fitted_on": saved.fitted_on,
        "seed": saved.seed,
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w", track_order=True) as file:
            file.attrs["format"], file.attrs["schema_version"] = FORMAT, SCHEMA_VERSION
            file.attrs["about"] = json.dumps(strict(about), sort_keys=True)
            saved.prepared.save(file.create_group("preparation"))
            file["centers"] = saved.model.centers
            states = {"estimator": saved.model.estimator.state()}
            if saved.model.reducer is not None:
                states["reducer"] = saved.model.reducer.state()
            for name, state in states.items():
                group = file.create_group(name)
                for key, array in state.items():
                    group[key] = array
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_model(path: str | os.PathLike[str]) -> SavedModel:
    """Read a model that `save_model` wrote; nothing in the file is executed.

    Raises
    ------
    EmbedkitError
        No such file, another kind of file, a newer schema, or a broken file.
    """
    path = Path(path)
    if not path.is_file():
        raise EmbedkitError(
            f"{path}: no such file. `embedkit cluster` writes a model beside its assignments."
        )
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise EmbedkitError(
                    f"{path}: not a clustering model. Give the .model.h5 that `embedkit cluster` wrote."
                )
            if file.attrs.get("schema_version") != SCHEMA_VERSION:
                raise EmbedkitError(
                    f"{path}: schema version {file.attrs.get('schema_version')}, this embedkit reads "
                    f"{SCHEMA_VERSION}. Update embedkit, or cluster anew."
                )
            about = json.loads(file.attrs["about"])
            estimator = ESTIMATORS[about["estimator"]].from_state(_arrays(file["estimator"]))
            reducer = UMAP.from_state(_arrays(file["reducer"])) if "reducer" in file else None
            return SavedModel(
                about["method"],
                Model(estimator, file["centers"][...], reducer),
                Prepared.load(_arrays(file["preparation"])),
                about["settings"],
                {int(cluster): name for cluster, name in about["classes"].items()},
                about["fitted_on"],
                about["seed"],
            )
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise EmbedkitError(
            f"{path}: a broken or foreign file ({first_line(error)}). Cluster again to write it anew."
        ) from error


def _arrays(group: Any) -> dict[str, Any]:
    return {name: np.asarray(group[name][...]) for name in group}
