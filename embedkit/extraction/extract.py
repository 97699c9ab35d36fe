"""A dataset and a backbone -> a feature file: part by part, so that nothing finished is ever lost."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit import console
from embedkit.backbones.options import BackboneSpec
from embedkit.computing.processes import Ranks, share_work
from embedkit.console.starting import starting
from embedkit.console.visible import plain
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, FeatureFileError, ImageError, UsageError
from embedkit.extraction.bound import Bound, Clock, bound
from embedkit.extraction.feeding import Feeder
from embedkit.extraction.forwarding import Forward, InFlight
from embedkit.extraction.hints import say_crop, say_time
from embedkit.extraction.job import STORAGE, Job, model_in
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.parts import Part, Parts
from embedkit.extraction.settling import Settled, settle
from embedkit.extraction.way import Way
from embedkit.files.showing import data_frame, html_table, named_cells
from embedkit.files.store import FeatureFile, file_sha256
from embedkit.images.remarks import remarks

_LOOKED_AT = 8  # images, before the first batch


@dataclass(frozen=True)
class Extraction:
    """What `extract` did.

    Parameters
    ----------
    path
        The feature file, or where it will be once every shard is done.
    n, d
        Rows and dimensions.
    n_failed
        Rows whose image could not be read.
    done
        ``extracted``, ``resumed``, ``already there``, or ``waiting`` for other shards.
    images_per_second
        Of this run; None where it computed nothing.
    precision
        What the features were computed in.
    bound
        What bound this run, and the share of the bare forward rate that it reached.
    """

    path: Path
    n: int
    d: int
    n_failed: int
    done: str
    images_per_second: float | None
    precision: str
    bound: Bound | None = None

    def to_pandas(self) -> Any:
        """Return a DataFrame of one row."""
        return data_frame([asdict(self)])

    def _repr_html_(self) -> str:
        found = {"n": self.n, "d": self.d, "n_failed": self.n_failed, "precision": self.precision}
        return html_table(f"{self.path}: {self.done}", named_cells(found))


def extract(
    dataset: Dataset | str,
    output: str | os.PathLike[str],
    *,
    backbone: BackboneSpec | str | None = None,
    options: ExtractOptions | None = None,
) -> Extraction:
    """Compute features of every image and write them to one feature file.

    The same call again finds the finished file and does nothing; after an interruption it goes on from the
    last finished part. Under torchrun each process computes its share of the parts.

    Parameters
    ----------
    dataset
        A `Dataset`, or what `load_dataset` takes as source.
    output
        The feature file to make.
    backbone
        What to load; a string is a timm name.
    options
        How to compute and keep the features.

    Raises
    ------
    UsageError
        Options that exclude each other or name something unknown.
    EmbedkitError
        The output exists with other contents, an unreadable image, weights that can't be had, a full disk.
    """
    options = options or ExtractOptions()
    if not isinstance(backbone, BackboneSpec):
        backbone = BackboneSpec(backbone) if backbone else BackboneSpec()
    if isinstance(dataset, str):
        dataset = load_dataset(dataset)
    output = Path(output)
    if output.is_dir():
        raise UsageError(f"{output}: is a folder. Name a file, such as {output / 'features.h5'}.")
    job = Job.plan(dataset, backbone, options)
    parts = Parts(output, len(job.index), job.views.n)
    with share_work(options.shard) as ranks:
        return _extract(job, backbone, parts, ranks)


def _extract(job: Job, spec: BackboneSpec, parts: Parts, ranks: Ranks) -> Extraction:
    rank, world = ranks.rank, ranks.world
    if ranks.from_leader(lambda: _already_there(job, parts)):
        return _finished(parts.output, job)
    if ranks.leads:
        say_crop(job)
    output_folder = parts.output.parent
    output_folder.mkdir(parents=True, exist_ok=True)
    with parts.locked(f"rank-{rank}-of-{world}"):
        resumed, record = ranks.from_leader(lambda: _begin(job, parts))
        settled = Settled.of(record)
        if ranks.leads and not resumed:
            _look(job)
        model = model_in(job.backbone, settled.precision, job.device)
        mine = range(rank, len(parts), world)
        if resumed:
            parts.discard_damaged(set(mine) & set(parts.finished()))
        todo = sorted(set(mine) - set(parts.finished()))
        computed = _compute(replace(job, backbone=model), parts, todo, settled)
        ranks.barrier()
        done = "resumed" if resumed else "extracted"
        if ranks.leads and len(parts.finished()) == len(parts):
            with parts.locked("join"):
                if len(parts.finished()) == len(parts):  # another shard may have joined them meanwhile
                    parts.join(job.dataset.rows.take(job.index), job.provenance(spec, record))
        ranks.barrier()
    if not parts.output.exists():
        missing = len(parts) - len(parts.finished())
        console.note(f"{parts.output}: waiting for {missing} parts of other shards.")
        done = "waiting"
        return Extraction(
            parts.output, len(job.index), 0, 0, done, computed.rate, settled.precision, computed.bound
        )
    return replace(
        _finished(parts.output, job), done=done, images_per_second=computed.rate, bound=computed.bound
    )


def _look(job: Job) -> None:
    """Say what a few images show and the features never would."""
    rows = job.index[np.linspace(0, len(job.index) - 1, min(_LOOKED_AT, len(job.index))).round().astype(int)]

    def sources() -> Generator[bytes | NDArray[Any]]:
        for row in rows:
            with contextlib.suppress(ImageError, OSError):  # which is said in its turn
                yield job.dataset.read(int(row))

    for sentence in remarks(sources()):
        console.note(f"{job.dataset.name}: {sentence}.")


def _finished(path: Path, job: Job) -> Extraction:
    with FeatureFile(path) as file:
        n_failed = int((~file.ok).sum())
        if n_failed and job.options.on_error == "fail":
            name, reason = next(iter(file.errors.items()))
            raise EmbedkitError(
                f"{path}: {n_failed} of its {file.n} images were skipped as unreadable, such as {name!r}: "
                f"{reason} Give --on-error skip to accept them, or mend them and give --overwrite."
            )
        used = file.made.precision or "?"
        return Extraction(path, file.n, file.d, n_failed, "already there", None, used)


# --- what is there already -------------------------------------------------------------------------


def _already_there(job: Job, parts: Parts) -> bool:
    """Whether the output is finished and made in just this way; refuses one that was made otherwise."""
    output = parts.output
    if not output.exists() or job.options.overwrite:
        return False
    try:
        with FeatureFile(output) as file:
            provenance = file.provenance
    except FeatureFileError as error:
        raise EmbedkitError(f"{error} Or give --overwrite to replace it.") from error
    differences = _differences(job.asked, provenance)
    if differences:
        raise EmbedkitError(
            f"{output}: made in another way ({'; '.join(differences[:4])}). Give another -o, or --overwrite."
        )
    if parts.folder.exists():  # killed between the rename and the clean-up
        parts.remove()
    return True


def _differences(asked: Mapping[str, Any], found: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name what `found` has otherwise than `asked`; keys that only `found` has don't matter."""
    differences = []
    for key, value in asked.items():
        other = found.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            differences += _differences(value, other, f"{prefix}{key} ")
        elif _plain(value) != _plain(other):
            differences.append(f"{prefix}{key}: {_short(other)} there, {_short(value)} asked for")
    return differences


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:12] + "..."


def _begin(job: Job, parts: Parts) -> tuple[bool, dict[str, Any]]:
    """Take up an earlier run's parts, or begin anew; settle the precision once for all parts."""
    replaces = file_sha256(parts.output) if parts.output.exists() else None
    manifest = parts.begun_with(lenient=job.options.overwrite)
    if manifest is not None:
        differences = _differences(job.asked, manifest["asked"])
        # Where no part is finished, such as after an error that named the option to give, nothing is lost.
        lost = job.options.shard is not None or bool(parts.finished())
        if differences and not job.options.overwrite and lost:
            raise EmbedkitError(
                f"{parts.folder}: an unfinished extraction was begun in another way "
                f"({'; '.join(differences[:4])}). Finish it with its own options, give another -o, or "
                "--overwrite to throw it away."
            )
        # An interrupted --overwrite goes on too; one that meets other parts begins anew.
        same_overwrite = manifest["overwrite"] and manifest["replaces"] == replaces
        if not differences and (same_overwrite or not job.options.overwrite):
            kept = parts.finished()
            if kept:
                console.note(f"Going on: {len(kept)} of {len(parts)} parts are there already.")
            return bool(kept), dict(manifest["precision"])
        parts.remove_content()
    with starting("computing a first batch ...", plain(sys.stderr)):
        settled = settle(job)
    manifest = {
        "asked": dict(job.asked),
        "precision": settled,
        "overwrite": job.options.overwrite,
        "replaces": replaces,
    }
    return False, dict(parts.begin(manifest)["precision"])


# --- the loop -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Computed:
    """What one process computed."""

    n_images: int = 0
    seconds: float = 0.0
    bound: Bound | None = None

    @property
    def rate(self) -> float | None:
        return self.n_images / self.seconds if self.n_images and self.seconds > 0 else None


def _compute(job: Job, parts: Parts, todo: list[int], settled: Settled) -> _Computed:
    """Compute and store the parts in `todo`."""
    total = len(job.index)
    n_images = sum(parts.slice(number).stop - parts.slice(number).start for number in todo)
    if not todo:
        return _Computed()
    say_time(job, n_images, settled.precision)
    way = Way.of(job, resizes=settled.resize == "torch", draws=settled.views == "torch")
    clock = Clock()
    feeder, forward = Feeder(job, parts, way, clock), Forward(job, settled, way, clock)
    forward.warm(feeder.shape)
    started = time.perf_counter()
    filling = _Filling(job, parts)
    # One batch stays in flight, so that a GPU computes while the next one is put together.
    in_flight: InFlight | None = None
    batches = feeder.batches(todo)
    with console.progress("extract", total, unit="images") as advance, contextlib.closing(batches):
        advance(total - n_images)
        for fed in batches:
            launched = forward(fed, feeder)
            if in_flight is not None:
                advance(filling.add(in_flight))
            in_flight = launched
            if job.device.type == "cpu":  # where a batch is done when it is launched
                advance(filling.add(in_flight))
                in_flight = None
        if in_flight is not None:
            advance(filling.add(in_flight))
    seconds = time.perf_counter() - started
    passing, preparing = forward.seconds(n_images)
    return _Computed(n_images, seconds, bound(clock, n_images, seconds, forward=passing, prepare=preparing))


class _Filling:
    """Gathers batches into the part that is being filled, and writes it the moment it is full."""

    def __init__(self, job: Job, parts: Parts) -> None:
        self._storage = job.options.storage
        self._on_error = job.options.on_error
        self._parts = parts
        self._clear()

    def _clear(self) -> None:
        self._features: list[NDArray[Any]] = []
        self._view_means: list[NDArray[np.float32]] = []
        self._scatter: NDArray[np.float64] | None = None
        self._errors: list[str] = []

    def add(self, batch: InFlight) -> int:
        """Take in a batch once it is computed; returns its number of images."""
        reason = next(filter(None, batch.errors), None)
        if reason and self._on_error == "fail":
            raise ImageError(f"{reason} Or give --on-error skip to leave such images out.")
        failed = np.array([bool(error) for error in batch.errors])
        if batch.ready is not None:
            batch.ready.synchronize()
        features = batch.features.float().cpu().numpy()
        _refuse_broken(features[~failed], self._storage)
        features[failed] = np.nan
        self._features.append(features.astype(STORAGE[self._storage]))
        self._errors += batch.errors
        if batch.view_mean is not None:
            view_mean = batch.view_mean.cpu().numpy()
            view_mean[failed] = np.nan
            self._view_means.append(view_mean)
        if batch.scatter is not None:
            self._scatter = batch.scatter.cpu().numpy()
        rows = self._parts.slice(batch.number)
        if len(self._errors) == rows.stop - rows.start:
            part = Part(
                features=np.concatenate(self._features),
                errors=np.array(self._errors, dtype=np.str_),
                view_mean=np.concatenate(self._view_means) if self._view_means else None,
                scatter=self._scatter,
            )
            self._parts.write(batch.number, part)
            self._clear()
        return len(batch.errors)


def _refuse_broken(features: NDArray[np.float32], storage: str) -> None:
    if not np.isfinite(features).all():
        raise EmbedkitError(
            "the backbone gives NaN or infinite features. Give --precision fp32, or check the weights."
        )
    if storage == "float16" and features.size and np.abs(features).max() > np.finfo(np.float16).max:
        raise EmbedkitError("features are too large for float16 (over 65,504). Give --storage float32.")
