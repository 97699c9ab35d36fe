"""A fitted clustering, kept in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clustering.agglomerative import Agglomerative
from clustering.density.hdbscan import HDBSCAN
from clustering.kmeans.kmeans import KMeans
from clustering.manifold import UMAP
from clustering.methods import Model
from clustering.mixture import GMM
from clustering.temi import TEMI
from embedkit.files.identity import FittedOn
from embedkit.files.model_file import ModelFormat, read_arrays
from embedkit.preparing.joint import JointPrepared, load_prepared
from embedkit.preparing.preparation import Prepared
from embedkit.strict_json import of_shape

FORMAT = ModelFormat(
    "embedkit-cluster-model",
    1,
    missing="`embedkit cluster` writes a model beside its assignments.",
    foreign="not a clustering model. Give the .model.h5 that `embedkit cluster` wrote.",
    outdated="cluster anew.",
    broken="Cluster again to write it anew.",
)
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
    prepared: Prepared | JointPrepared
    settings: Mapping[str, Any]
    classes: Mapping[int, str]
    fitted_on: Mapping[str, Any]
    seed: int


@dataclass(frozen=True)
class _About:
    """What a file says of its model."""

    method: str
    estimator: str
    settings: dict[str, Any]
    classes: dict[str, str]
    fitted_on: FittedOn
    seed: int


def save_model(path: str | os.PathLike[str], saved: SavedModel) -> None:
    """Write a model, whole or not at all."""
    about = {
        "method": saved.method,
        "estimator": type(saved.model.estimator).__name__,
        "settings": saved.settings,
        "classes": saved.classes,
        "fitted_on": saved.fitted_on,
        "seed": saved.seed,
    }
    with FORMAT.create(path, about) as file:
        saved.prepared.save(file.create_group("preparation"))
        file["centers"] = saved.model.centers
        file.create_group("estimator").update(saved.model.estimator.state())
        if saved.model.reducer is not None:
            file.create_group("reducer").update(saved.model.reducer.state())


def load_model(path: str | os.PathLike[str]) -> SavedModel:
    """Read a model that `save_model` wrote; nothing in the file is executed.

    Raises
    ------
    EmbedkitError
        No such file, another kind of file, a newer schema, or a broken file.
    """
    with FORMAT.open(path) as (file, record):
        about = of_shape(record, _About)
        estimator = ESTIMATORS[about.estimator].from_state(read_arrays(file["estimator"]))
        reducer = UMAP.from_state(read_arrays(file["reducer"])) if "reducer" in file else None
        return SavedModel(
            about.method,
            Model(estimator, file["centers"][...], reducer),
            load_prepared(read_arrays(file["preparation"])),
            about.settings,
            {int(cluster): name for cluster, name in about.classes.items()},
            record["fitted_on"],
            about.seed,
        )
