"""`embedkit verify`: is a feature file sound, and do its images still give its features?"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit import console
from embedkit.cli import Handler
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.store import FeatureFile

# The same weights and pixels in the same precision agree closer than this on any processor.
SAME_COSINE = {"fp32": 0.99999, "bf16": 0.999, "fp16": 0.999}
# In bf16, two galaxies through random weights agree as closely as that (median cosine 0.998 with ViT-S/16).
# What is left once the file's mean is taken off tells them apart, where it is more than rounding.
SAME_CENTRED_COSINE = 0.5
LEAST_SPREAD = 0.02


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
    """

    path: Path
    n: int
    d: int
    problems: list[str]
    n_compared: int
    lowest_cosine: float | None
    not_compared: str


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit verify`."""
    parser.add_argument("features", type=Path, help="feature file")
    parser.add_argument(
        "--rows", type=int, default=8, help="images to extract again; 0 checks the file alone"
    )
    parser.add_argument("--path", type=Path, help="where the dataset lies now, if it was moved")
    parser.add_argument("--weights", type=Path, help="where the weights file lies now, if it was moved")
    parser.add_argument("--adapter", type=Path, help="where the adapter lies now, if it was moved")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return run


def run(args: argparse.Namespace) -> int:
    """Run `embedkit verify`."""
    if args.rows < 0:
        raise UsageError(f"--rows {args.rows}: give 0 or more.")
    moved = {"path": args.path, "weights": args.weights, "adapter": args.adapter}
    found = verify(args.features, rows=args.rows, moved={k: v for k, v in moved.items() if v is not None})
    if args.json:
        console.print_json(asdict(found))
    else:
        for problem in found.problems:
            print(f"{found.path}: {problem}")
        if found.not_compared:
            console.note(f"No image was extracted again: {found.not_compared}")
        if not found.problems:
            print(f"{found.path}: {found.n} x {found.d}, every invariant holds.")
            if found.lowest_cosine is not None:
                agree = f"{found.n_compared} rows extracted again agree"
                print(f"{found.path}: {agree} (cosine at least {found.lowest_cosine:.5f}).")
    return 1 if found.problems else 0


def verify(
    path: str | os.PathLike[str], *, rows: int = 8, moved: dict[str, Path] | None = None
) -> Verification:
    """Check every invariant of the schema, then extract some rows again and compare.

    Parameters
    ----------
    path
        A feature file.
    rows
        How many readable rows to extract again, spread evenly; 0 for none.
    moved
        New places of what has moved since: ``path`` (the dataset), ``weights``, ``adapter``.

    Raises
    ------
    FeatureFileError
        Not a feature file at all.
    EmbedkitError
        The dataset or the weights are there, but are not those that the file was made from.
    """
    with FeatureFile(path) as file:
        problems = file.problems()
        compared, lowest, why_not = 0, None, ""
        if rows > 0 and not problems:
            try:
                cosines, changed = _extract_again(file, rows, moved or {})
            except _NotThereError as error:
                why_not = str(error)
            else:
                compared, lowest = len(cosines), min(cosines.values())
                problems += [
                    f"{name!r} gives other features now (cosine {cosine:.4f}). The image or the row order "
                    "has changed: extract again."
                    for name, cosine in changed.items()
                ]
        return Verification(Path(path), file.n, file.d, problems, compared, lowest, why_not)


class _NotThereError(Exception):
    """What a comparison needs is not at hand."""


def _extract_again(
    file: FeatureFile, rows: int, moved: dict[str, Path]
) -> tuple[dict[str, float], dict[str, float]]:
    """Cosine between stored and fresh features of a few rows, by id: of all, and of those that differ."""
    import torch

    from embedkit.extraction.job import load_image, pooled_views

    job, precision = _same_job(file, moved)
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


def _same_job(file: FeatureFile, moved: dict[str, Path]) -> tuple[Any, str]:
    """Rebuild the extraction that made the file, from its provenance."""
    from dataclasses import replace

    from embedkit.backbones.load import BackboneSpec
    from embedkit.datasets import load_dataset
    from embedkit.extraction.job import ExtractOptions, Job, model_in
    from embedkit.images.preprocess import Overrides

    provenance = file.provenance
    if "backbone" not in provenance or "origin" not in provenance.get("dataset", {}):
        raise _NotThereError("the file does not say what it was made from.")
    origin = dict(provenance["dataset"]["origin"])
    if "path" in moved:
        origin["path" if origin.get("path") else "source"] = str(moved["path"])
    weights = moved.get("weights") or provenance["backbone"]["origin"]["weights"]
    adapter = moved.get("adapter") or provenance["backbone"]["origin"]["adapter"]
    for kind, place in (("weights", weights), ("adapter", adapter)):
        if place is not None and not Path(place).exists():
            if kind in moved:
                raise EmbedkitError(f"--{kind} {place}: no such file or folder.")
            raise _NotThereError(f"its {kind} {place} are gone. Give --{kind}.")
    try:
        dataset = load_dataset(**origin)
    except EmbedkitError as error:
        if "path" in moved:
            raise
        raise _NotThereError(f"its dataset can't be read ({error}). Give --path.") from error
    if dataset.fingerprint != provenance["dataset"]["fingerprint"]:
        raise EmbedkitError(
            f"{file.path}: the dataset at {origin.get('path') or origin.get('source')} is not the one it was "
            "made from: its names, sizes or labels differ. Extract again, or name the right one with --path."
        )
    own = provenance["preprocessing"]
    if own["center_crop"] is not None:
        own = own | {"resize": None}
    spec = BackboneSpec(
        name=provenance["backbone"]["name"],
        weights=weights,
        adapter=adapter,
        random_init=provenance["backbone"]["origin"]["random_init"],
        preprocessing=Overrides(**own | {"mean": tuple(own["mean"]), "std": tuple(own["std"])}),
    )
    precision = provenance["precision_used"]["used"]
    pooling = provenance["pooling"]
    options = ExtractOptions(
        pool=pooling["pool"],
        layers=None if pooling["pool"] == "model" else ",".join(f"b{layer}" for layer in pooling["layers"]),
        views=provenance["views"]["name"],
        seed=provenance["views"]["seed"] or 0,
        limit=file.n,
    )
    job = Job.plan(dataset, spec, options)
    if job.backbone.weights_sha256 != provenance["backbone"]["weights_sha256"]:
        raise EmbedkitError(
            f"{file.path}: the weights of {spec.name} are not the ones it was made with. Name them with "
            "--weights."
        )
    return replace(job, backbone=model_in(job.backbone, precision, job.device)), precision
