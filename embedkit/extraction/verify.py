"""Is a feature file sound, and do its images still give its features?"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, UsageError, first_line
from embedkit.extraction.verify_options import VerifyOptions
from embedkit.extraction.verify_source import SourceCheck, check_source
from embedkit.extraction.verify_weights import WeightsCheck, check_weights, weights_place
from embedkit.files.provenance import ExtractionRecord
from embedkit.files.showing import data_frame, html_table, named_cells
from embedkit.files.store import FeatureFile
from embedkit.strict_json import UndeclaredError

if TYPE_CHECKING:
    from embedkit.backbones.options import BackboneSpec
    from embedkit.images.options import Overrides

# The same weights and pixels in the same precision agree closer than this on any processor.
SAME_COSINE = {"fp32": 0.99999, "bf16": 0.999, "fp16": 0.999}
# In bf16, two galaxies through random weights agree as closely as that (median cosine 0.998 with ViT-S/16).
# What is left once the file's mean is taken off tells them apart, where it is more than rounding.
SAME_CENTRED_COSINE = 0.5
LEAST_SPREAD = 0.02
# Sides beyond that were never computed.
LARGEST_INPUT = 16_384


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Parameters
    ----------
    path, n, d
        The file and its size.
    problems
        Broken invariants and rows that came out otherwise; empty means sound.
    n_compared
        Rows that were extracted again.
    lowest_cosine
        Between their stored and new features; None where none was compared.
    not_compared
        Why no row was compared; empty where some were.
    weights
        Which tensors of the weights file were taken; empty where the weights came from no file.
    source
        What was looked at in the source of the images, and what can't be.
    """

    path: Path
    n: int
    d: int
    problems: list[str]
    n_compared: int
    lowest_cosine: float | None
    not_compared: str
    weights: str = ""
    source: str = ""

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_pandas(self) -> Any:
        """Return a DataFrame of one row."""
        return data_frame([asdict(self)])

    def _repr_html_(self) -> str:
        found: dict[str, Any] = {"n": self.n, "d": self.d, "rows extracted again": self.n_compared}
        if self.lowest_cosine is not None:
            found["lowest cosine"] = round(self.lowest_cosine, 5)
        notes = [*self.problems, *(one for one in (self.not_compared, self.weights, self.source) if one)]
        state = "sound" if self.sound else "not sound"
        return html_table(f"{self.path}: {state}", named_cells(found), notes)


def verify(
    features: str | os.PathLike[str] | FeatureFile, options: VerifyOptions | None = None
) -> Verification:
    """Check every invariant of the schema, then extract some rows again and compare.

    Parameters
    ----------
    features
        A feature file, or its path.
    options
        How many rows to extract again, and where the dataset, the weights and the adapter are now.

    Raises
    ------
    FeatureFileError
        Not a feature file at all.
    EmbedkitError
        The dataset or the weights are there, but are not those that the file was made from.
    """
    options = options or VerifyOptions()
    with FeatureFile.opened(features) as file:
        problems = file.problems()
        compared, lowest, why_not, weights, source = 0, None, "", WeightsCheck(), SourceCheck()
        if options.n_rows > 0 and not problems:
            try:
                job, precision = _same_job(file, options.moved)
                place = weights_place(file.provenance, options.moved)
                weights = check_weights(file.provenance, job.backbone.tensors, place)
                source = check_source(file, job)
                if source.problems:
                    raise _NotThereError("the source does not hold all of its images.")
                cosines, changed = _extract_again(file, options.n_rows, job, precision)
            except _NotThereError as error:
                why_not = str(error)
                problems += source.problems
            else:
                compared, lowest = len(cosines), min(cosines.values())
                problems += weights.problems
                problems += [
                    f"{name!r} gives other features now (cosine {cosine:.4f}). The image or the row order "
                    "has changed: extract again."
                    for name, cosine in changed.items()
                ]
        return Verification(
            file.path, file.n, file.d, problems, compared, lowest, why_not, weights.said, source.said
        )


class _NotThereError(Exception):
    """What a comparison needs is not at hand."""


def _extract_again(
    file: FeatureFile, rows: int, job: Any, precision: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Cosine between stored and fresh features of a few rows, by id: of all, and of those that differ."""
    import torch

    from embedkit.extraction.job import load_image, pooled_views

    good = np.flatnonzero(file.ok)
    if not len(good):
        raise _NotThereError("none of them could be read.")
    chosen = good[np.linspace(0, len(good) - 1, min(rows, len(good))).round().astype(int)]
    some = file.read(good[:: -(-len(good) // 512)]).astype(np.float64)
    mean = some.mean(axis=0)
    spread = np.linalg.norm(some - mean, axis=1).mean() / max(np.linalg.norm(some, axis=1).mean(), 1e-30)
    cosines, changed = {}, {}
    for row in chosen:
        images = load_image(job, int(job.index[row]))
        if not isinstance(images, np.ndarray):
            raise EmbedkitError(f"{images} It could be read when {file.path} was made.")
        fresh = pooled_views(job, torch.tensor(images), precision).cpu().numpy().astype(np.float64)
        stored = file.read(np.array([row]))[0].astype(np.float64)
        name = str(file.rows.ids[row])
        cosines[name] = _cosine(fresh, stored)
        centred = _cosine(fresh - mean, stored - mean) if spread >= LEAST_SPREAD else 1.0
        if not (cosines[name] >= SAME_COSINE[precision] and centred >= SAME_CENTRED_COSINE):
            changed[name] = cosines[name]
    return cosines, changed


def _cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if np.array_equal(a, b):
        return 1.0  # two rows of zeros have no direction: black pixels, say
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else 0.0


def _same_job(file: FeatureFile, moved: dict[str, str | Path]) -> tuple[Any, str]:
    """Rebuild the extraction that made the file, from its provenance."""
    from dataclasses import replace

    from embedkit.backbones.hub import in_cache, offline
    from embedkit.backbones.options import BackboneSpec
    from embedkit.datasets.load import load_again
    from embedkit.extraction.job import Job, model_in
    from embedkit.extraction.options import ExtractOptions

    if file.made.imported:
        raise _NotThereError(
            f"its vectors were imported from {file.made.imported_from}, and no backbone can compute them "
            "again. Shapes, ids, labels and values were checked."
        )
    record = file.made.extraction
    if record is None:
        raise _NotThereError("the file does not say what it was made from.")
    overrides = _overrides(record, file.d)
    origin = dict(record.dataset.origin)
    if "path" in moved:
        origin["path" if origin.get("path") else "source"] = str(moved["path"])
    weights = moved.get("weights") or record.backbone.origin.weights
    adapter = moved.get("adapter") or record.backbone.origin.adapter
    for kind, place in (("weights", weights), ("adapter", adapter)):
        if place is not None and not Path(place).exists():
            if kind in moved:
                raise EmbedkitError(f"--{kind} {place}: no such file or folder.")
            raise _NotThereError(f"its {kind} {place} are gone. Give --{kind}.")
    try:
        dataset = load_again(origin, file.rows.ids.tolist())
    except EmbedkitError as error:
        if "path" in moved:
            raise
        raise _NotThereError(f"its dataset can't be read ({error}). Give --path.") from error
    if dataset.fingerprint != record.dataset.fingerprint:
        raise EmbedkitError(
            f"{file.path}: the dataset at {origin.get('path') or origin.get('source')} is not the one it was "
            "made from: its names, sizes or labels differ. Extract again, or name the right one with --path."
        )
    spec = BackboneSpec(
        record.backbone.name,
        weights=None if weights is None else Path(weights),
        adapter=None if adapter is None else Path(adapter),
        random_init=record.backbone.origin.random_init,
        preprocessing=overrides,
    )
    precision = record.precision_used.used
    pooling = record.pooling
    options = ExtractOptions(
        pool=pooling.pool,
        layers=None if pooling.pool == "model" else ",".join(f"b{layer}" for layer in pooling.layers),
        views=record.views.name,
        seed=record.views.seed or 0,
        limit=file.n,
    )
    if _of_hub(spec) and not in_cache(spec.backbone):
        raise _NotThereError(
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
    return replace(job, backbone=model_in(job.backbone, precision, job.device)), precision


def _overrides(record: ExtractionRecord, d: int) -> Overrides:
    """Return the recorded preprocessing, of a size that the recorded features can come from."""
    from embedkit.backbones.options import PIXELS
    from embedkit.computing.device import PRECISIONS
    from embedkit.images.preprocess import overrides_of

    try:
        overrides = overrides_of(record.preprocessing)
        size = overrides.image_size or 0
    except (UndeclaredError, UsageError) as error:
        raise _NotThereError(
            f"its preprocessing is recorded in another way ({first_line(error)})."
        ) from error
    pixels = record.backbone.name.startswith(PIXELS)
    if (
        record.precision_used.used not in PRECISIONS
        or not 0 < size <= LARGEST_INPUT
        or (pixels and 3 * size**2 != d)
    ):
        raise _NotThereError("the file does not say what it was made from.")
    return overrides


def _of_hub(spec: BackboneSpec) -> bool:
    from embedkit.backbones.options import PIXELS
    from embedkit.backbones.shipped import SHIPPED

    named = spec.backbone.startswith((PIXELS, "local-dir:")) or spec.backbone in SHIPPED
    return not named and spec.weights is None and spec.random_init is None
