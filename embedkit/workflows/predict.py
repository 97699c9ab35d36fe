"""A network that was trained with labels put to use: what it says of images, and how good that is."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedkit.backbones.saved_network import read_network
from embedkit.computing.device import choose_device
from embedkit.console import counted
from embedkit.datasets.dataset import Dataset, spread_rows
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions
from embedkit.errors import EmbedkitError
from embedkit.extraction.answering import ask
from embedkit.files.guard import guarded
from embedkit.scoring.applied import Applied, Known, judge
from embedkit.scoring.calibration import scale
from embedkit.workflows.predict_options import OUTPUT, PredictOptions, PredictPlaces


@guarded(PredictPlaces)
def predict(
    model: str | os.PathLike[str],
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] | None = OUTPUT,
    data: DatasetOptions = DatasetOptions(),
    options: PredictOptions = PredictOptions(),
) -> Applied:
    """Predict the class, or the targets, of images with a network that `finetune` trained.

    Parameters
    ----------
    model
        The folder ``model`` that ``embedkit finetune`` left.
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    output
        The CSV to write; None writes nothing.
    data
        Options of the dataset's source.
    options
        How the network is asked.

    Returns
    -------
    Applied
        What it says of every image, and scores where the dataset has labels that it knows.

    Raises
    ------
    EmbedkitError
        A model that is missing, damaged or of another head; an image that can't be read.
    """
    saved = read_network(Path(model))
    images = open_dataset(dataset, data)
    if not len(images):
        raise EmbedkitError(f"{images.name}: no images. Check the path.")
    rows = spread_rows(len(images), options.limit)
    found = ask(
        saved,
        images,
        rows,
        device=choose_device(options.device),
        batch_size=options.batch_size,
        skip=options.on_error == "skip",
    )
    if not found.ok.any():
        raise EmbedkitError(f"{images.name}: none of its {len(rows):,} images could be read.")
    about = saved.about
    notes = [f"{about.kind}, trained on {about.dataset}: nothing is trained here."]
    if not found.ok.all():
        notes.append(f"Left out {counted(int((~found.ok).sum()), 'image')} that could not be read.")
    if about.trained.get("fingerprint") == images.fingerprint:
        notes.append("It was trained on images of this very dataset: scores here are too good to be true.")
    outputs = found.outputs[found.ok]
    if about.temperature is not None:
        outputs = scale(outputs, about.temperature)
    known = Known(
        about.names,
        about.regression,
        np.array(about.baseline),
        about.kind,
        f"{about.kind} trained on {about.dataset}",
    )
    said = judge(known, images.rows.take(rows[found.ok]), outputs, notes)
    if output is None:
        return said
    said.write(Path(output))
    return replace(said, predictions_path=Path(output))
