"""The extraction that made a feature file, planned again from its provenance: for its images or another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, UsageError, first_line
from embedkit.files.provenance import ExtractionRecord
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile
from embedkit.strict_json import UndeclaredError

if TYPE_CHECKING:
    from embedkit.backbones.options import BackboneSpec
    from embedkit.datasets.dataset import Dataset
    from embedkit.images.options import Overrides

# Of an image file.
MOST_BYTES = 2**32
# Sides beyond that were never computed.
LARGEST_INPUT = 16_384


class NotThereError(Exception):
    """What an extraction needs to be done again is not at hand."""


def same_job(file: FeatureFile, moved: Mapping[str, str | Path]) -> tuple[Any, str]:
    """Plan the extraction that made a file; returns the job, with its model, and the precision.

    Raises
    ------
    NotThereError
        The file doesn't say how it was made, or the images, weights or adapter are gone.
    EmbedkitError
        They are there, and are others.
    """
    from embedkit.datasets.load import load_again
    from embedkit.images.noise import KIND as NOISE

    record = _recorded(file)
    if record.views.seed is not None and record.views.noise != NOISE:
        raise NotThereError(
            "its random views had noise that is not drawn any more. Shapes, ids, labels and values were "
            "checked; for the rest extract again."
        )
    origin = dict(record.dataset.origin)
    if "path" in moved:
        origin["path" if origin.get("path") else "source"] = str(moved["path"])
    made = _made_with(file, record, moved)
    try:
        dataset = load_again(origin, file.rows.ids.tolist(), named=moved.get("path"))
    except EmbedkitError as error:
        if "path" in moved:
            raise
        raise NotThereError(f"its dataset can't be read ({error}). Give --path.") from error
    if dataset.fingerprint != record.dataset.fingerprint:
        raise EmbedkitError(
            f"{file.path}: the dataset at {origin.get('path') or origin.get('source')} is not the one it was "
            "made from: its names, sizes or labels differ. Extract again, or name the right one with --path."
        )
    return _plan(file, record, made, dataset, limit=file.n)


def embed_image(
    file: FeatureFile, path: Path, moved: Mapping[str, str | Path] | None = None
) -> NDArray[np.float32]:
    """Return the features (d,) of an image, computed as those of a file were.

    Parameters
    ----------
    file
        Whose backbone, weights, preprocessing, pooling, views and precision are taken.
    path
        The image.
    moved
        New places of ``weights`` and ``adapter``.

    Raises
    ------
    EmbedkitError
        An image that can't be read, or weights that are gone or others.
    """
    import torch

    from embedkit.datasets.dataset import Dataset
    from embedkit.extraction.job import load_image, pooled_views
    from embedkit.files.regular import check_input, read_bytes

    if not path.exists():
        raise UsageError(f"--image {path}: no such file.")
    check_input(path, "Name an image.")
    one = Dataset(
        name=str(path),
        rows=Rows(ids=np.array([path.name])),
        read=lambda _: read_bytes(path, "Name an image.", at_most=MOST_BYTES),
        where=lambda _: str(path),
        fingerprint="",
    )
    try:
        record = _recorded(file)
        job, precision = _plan(file, record, _made_with(file, record, moved or {}), one, limit=None)
    except NotThereError as error:
        raise EmbedkitError(f"{file.path}: no features of another image, because {error}") from error
    images = load_image(job, 0)
    if not isinstance(images, np.ndarray):
        raise EmbedkitError(str(images))
    return np.asarray(pooled_views(job, torch.tensor(images), precision).cpu().numpy(), dtype=np.float32)


def _recorded(file: FeatureFile) -> ExtractionRecord:
    if file.made.imported:
        raise NotThereError(
            f"its vectors were imported from {file.made.imported_from}, and no backbone can compute them "
            "again. Shapes, ids, labels and values were checked."
        )
    if file.made.extraction is None:
        raise NotThereError("the file does not say what it was made from.")
    return file.made.extraction


def _made_with(file: FeatureFile, record: ExtractionRecord, moved: Mapping[str, str | Path]) -> BackboneSpec:
    """Return the backbone that a file records, with its weights where they are now."""
    from embedkit.backbones.options import BackboneSpec

    overrides = _overrides(record, file.d)
    weights = moved.get("weights") or record.backbone.origin.weights
    adapter = moved.get("adapter") or record.backbone.origin.adapter
    for kind, place in (("weights", weights), ("adapter", adapter)):
        if place is not None and not Path(place).exists():
            if kind in moved:
                raise EmbedkitError(f"--{kind} {place}: no such file or folder.")
            raise NotThereError(f"its {kind} {place} are gone. Give --{kind}.")
    return BackboneSpec(
        record.backbone.name,
        weights=None if weights is None else Path(weights),
        adapter=None if adapter is None else Path(adapter),
        random_init=record.backbone.origin.random_init,
        preprocessing=overrides,
    )


def _plan(
    file: FeatureFile, record: ExtractionRecord, spec: BackboneSpec, dataset: Dataset, *, limit: int | None
) -> tuple[Any, str]:
    from embedkit.backbones.hub import in_cache, offline
    from embedkit.extraction.job import Job, model_in
    from embedkit.extraction.options import ExtractOptions

    precision = record.precision_used.used
    pooling = record.pooling
    options = ExtractOptions(
        pool=pooling.pool,
        layers=None if pooling.pool == "model" else ",".join(f"b{layer}" for layer in pooling.layers),
        views=record.views.name,
        seed=record.views.seed or 0,
        limit=limit,
    )
    if _of_hub(spec) and not in_cache(spec.backbone):
        raise NotThereError(
            f"the weights of {spec.backbone} are not in the local cache, and a check asks no network. Give "
            f"--weights, or get them with `embedkit extract DATASET --backbone {spec.backbone} -o other.h5`."
        )
    with offline():
        job = Job.plan(dataset, spec, options)
    if job.backbone.weights_sha256 != record.backbone.weights_sha256:
        raise EmbedkitError(
            f"{file.path}: the weights of {spec.backbone} are not the ones it was made with. Name them with "
            "--weights."
        )
    backbone = model_in(job.backbone, precision, job.device)
    return replace(job, backbone=backbone, draws=record.precision_used.views == "torch"), precision


def _overrides(record: ExtractionRecord, d: int) -> Overrides:
    """Return the recorded preprocessing, of a size that the recorded features can come from."""
    from embedkit.backbones.options import PIXELS
    from embedkit.computing.device import PRECISIONS
    from embedkit.images.preprocess import overrides_of

    try:
        overrides = overrides_of(record.preprocessing)
        size = overrides.image_size or 0
    except (UndeclaredError, UsageError) as error:
        raise NotThereError(f"its preprocessing is recorded in another way ({first_line(error)}).") from error
    pixels = record.backbone.name.startswith(PIXELS)
    if (
        record.precision_used.used not in PRECISIONS
        or not 0 < size <= LARGEST_INPUT
        or (pixels and 3 * size**2 != d)
    ):
        raise NotThereError("the file does not say what it was made from.")
    return overrides


def _of_hub(spec: BackboneSpec) -> bool:
    from embedkit.backbones.options import PIXELS
    from embedkit.backbones.shipped import SHIPPED

    named = spec.backbone.startswith((PIXELS, "local-dir:")) or spec.backbone in SHIPPED
    return not named and spec.weights is None and spec.random_init is None
