"""What one call of `embedkit extract` does: features, or what it would take to compute them."""

from __future__ import annotations

import os
from dataclasses import replace

from embedkit.backbones.options import BackboneSpec
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions
from embedkit.errors import EmbedkitError
from embedkit.extraction import extract as extraction
from embedkit.extraction.extract import Extraction
from embedkit.extraction.options import FEATURES_PLACE, ExtractCall, ExtractPlaces
from embedkit.extraction.parts import parts_folder
from embedkit.extraction.plan import ExtractionPlan, plan
from embedkit.files.feature_set import opened_at
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.remote import path_of
from embedkit.images.options import Overrides
from embedkit.options import RUNS, Writes


@guarded(ExtractPlaces)
def extract(
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] | None = None,
    data: DatasetOptions = DatasetOptions(),
    backbone: BackboneSpec = BackboneSpec(),
    preprocessing: Overrides = Overrides(),
    options: ExtractCall = ExtractCall(),
) -> Extraction | ExtractionPlan:
    """Compute features of every image and write them to one feature file.

    The same call again finds the finished file and does nothing; after an interruption it goes on from the
    last finished part.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    output
        The feature file to make; ``runs/DATASET.h5`` by default, or with `parts` the folder ``runs/DATASET``.
    data
        Options of the dataset's source.
    backbone, preprocessing
        What computes, and what its input is.
    options
        Which features, and how they are computed and kept.

    Returns
    -------
    Extraction or ExtractionPlan
        The latter with ``dry_run=True`` or ``plan=True``.

    Raises
    ------
    UsageError
        Options that exclude each other or name something unknown.
    EmbedkitError
        The output exists with other contents, an unreadable image, or all of them with ``on_error="skip"``,
        weights that can't be had, a full disk.
    """
    images = open_dataset(dataset, data)
    name = images.name if options.parts else f"{images.name}.h5"
    place = RUNS / name if output is None else path_of(output)
    writes = {place: FEATURES_PLACE, parts_folder(place): Writes(folder=True, emptied=True)}
    check_outputs("-o", writes, dataset, images, data, backbone)
    spec = replace(backbone, preprocessing=preprocessing)
    if options.dry_run or options.plan:
        return plan(images, place, spec, options, measured=options.plan)
    found = extraction.extract(images, place, backbone=spec, options=options)
    if found.n_failed and found.n_failed == found.n:
        with opened_at(found.path) as file:
            name, reason = next(iter(file.errors.items()))
        raise EmbedkitError(
            f"{found.path}: none of its {found.n:,} images could be read, such as {name!r}: {reason} Mend "
            "them "
            "and give --overwrite."
        )
    return found
