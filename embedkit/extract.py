"""A dataset and a backbone -> a feature file: part by part, so that nothing finished is ever lost."""

from __future__ import annotations

import collections
import contextlib
import os
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)
from numpy.typing import NDArray

from embedkit import console
from embedkit.backbones import Backbone, BackboneSpec, load_backbone
from embedkit.datasets import Dataset, load_dataset
from embedkit.device import MIN_COSINE, PRECISIONS, choose_device, describe_device, native_bf16
from embedkit.errors import EmbedkitError, FeatureFileError, ImageError, UsageError
from embedkit.images import decode
from embedkit.parts import Part, Parts
from embedkit.pooling import Pooling
from embedkit.results import versions
from embedkit.store import FeatureFile, file_sha256
from embedkit.views import ViewSet, make_views

STORAGE = {"float32": np.float32, "float16": np.float16}
ON_ERROR = ("fail", "skip")


@dataclass(frozen=True)
class ExtractOptions:
    """How features are computed and kept.

    Parameters
    ----------
    pool, layers
        See `Pooling.choose`.
    views
        ``1``, ``rot4``, ``d4`` or ``galaxy:N``; the features of the views are averaged.
    seed
        Seed of random views.
    precision
        ``auto``, ``fp32``, ``bf16`` or ``fp16``.
    storage
        ``float32`` or ``float16`` on disk.
    batch_size
        Model inputs at a time; an image with v views counts v times.
    workers
        Threads that read and decode; by default one a core, at most 16.
    device
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
    limit
        Take this many images, spread evenly over the dataset.
    on_error
        ``fail`` at an unreadable image, or ``skip`` it: its row stays, marked, with the reason.
    overwrite
        Replace a file that was made in another way.
    shard
        (i, n): compute only the i-th of n shares (from 0) of the parts, for independent cluster tasks.
    """

    pool: str = "auto"
    layers: str | None = None
    views: str = "1"
    seed: int = 0
    precision: str = "auto"
    storage: str = "float32"
    batch_size: int = 32
    workers: int | None = None
    device: str = "auto"
    limit: int | None = None
    on_error: str = "fail"
    overwrite: bool = False
    shard: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        known = (
            ("--precision", self.precision, ("auto", *PRECISIONS)),
            ("--storage", self.storage, tuple(STORAGE)),
            ("--on-error", self.on_error, ON_ERROR),
        )
        for option, value, values in known:
            if value not in values:
                raise UsageError(f"{option} {value}: unknown. Known: {', '.join(values)}.")
        positive = (("--batch-size", self.batch_size), ("--limit", self.limit), ("--workers", self.workers))
        for option, number in positive:
            if number is not None and number < 1:
                raise UsageError(f"{option} {number}: give 1 or more.")
        if self.shard is not None and not 0 <= self.shard[0] < self.shard[1]:
            raise UsageError(f"--shard {self.shard[0]}/{self.shard[1]}: the first number counts from 0.")
        if self.shard is not None and self.overwrite:
            raise UsageError(
                "--overwrite with --shard would let one task delete another's parts. "
                "Delete the old file first."
            )


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
    """

    path: Path
    n: int
    d: int
    n_failed: int
    done: str
    images_per_second: float | None
    precision: str


@dataclass(frozen=True)
class Job:
    """Everything that fixes the features of a file before the first image is read."""

    dataset: Dataset
    index: NDArray[np.int64]
    backbone: Backbone
    pooling: Pooling
    views: ViewSet
    options: ExtractOptions
    device: torch.device
    asked: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def plan(cls, dataset: Dataset, backbone: BackboneSpec, options: ExtractOptions) -> Job:
        """Load the backbone and resolve every option."""
        n = len(dataset)
        if n == 0:
            raise EmbedkitError(f"{dataset.name}: no images. Check the path.")
        device = choose_device(options.device)
        if options.precision == "fp16" and device.type == "cpu":
            raise UsageError("--precision fp16 needs a GPU. Give auto, fp32 or bf16.")
        loaded = load_backbone(backbone)
        pooling = Pooling.choose(loaded, pool=options.pool, layers=options.layers)
        size = min(n, options.limit or n)
        index = np.linspace(0, n - 1, size).round().astype(np.int64) if size < n else np.arange(n)
        job = cls(dataset, index, loaded, pooling, ViewSet.parse(options.views), options, device)
        asked = {
            "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint, "n": size},
            "backbone": loaded.record(),
            "preprocessing": loaded.preprocessing.record(),
            "pooling": pooling.record(),
            "views": {"name": job.views.name, "seed": options.seed if job.views.kind == "galaxy" else None},
            "precision": options.precision,
            "storage": options.storage,
        }
        return replace(job, asked=asked)

    @property
    def features_name(self) -> str:
        """Short name of the feature set for tables."""
        backbone = self.backbone
        name, source = backbone.name, Path(backbone.source).stem
        if source.startswith(name):
            name = source  # a weights file that carries its architecture's name
        elif source not in ("hub", "pixels"):
            name += f" ({source})"
        if backbone.adapter_sha256 is not None:
            name += " +adapter"
        if self.pooling.pool != "model":
            name += f" {self.pooling.name}"
        return name if self.views.n == 1 else f"{name} {self.views.name}"

    def provenance(self, spec: BackboneSpec, precision: Mapping[str, Any]) -> dict[str, Any]:
        """Return the record that the file keeps. No time in it: the same inputs give the same bytes."""
        asked = deepcopy(dict(self.asked))
        asked["dataset"]["origin"] = dict(self.dataset.origin)
        asked["backbone"]["origin"] = {
            "weights": str(Path(spec.weights).resolve()) if spec.weights else None,
            "adapter": str(Path(spec.adapter).resolve()) if spec.adapter else None,
            "random_init": spec.random_init,
        }
        return asked | {
            "features_name": self.features_name,
            "precision_used": dict(precision),
            "device": describe_device(self.device),
            "versions": versions(),
        }


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
    with _process_group(options) as group:
        return _extract(job, backbone, parts, group)


def _extract(job: Job, spec: BackboneSpec, parts: Parts, group: Group) -> Extraction:
    rank, world = group.rank, group.world
    if group.from_leader(lambda: _already_there(job, parts)):
        return _finished(parts.output, job)
    output_folder = parts.output.parent
    output_folder.mkdir(parents=True, exist_ok=True)
    with parts.locked(f"rank-{rank}-of-{world}"):
        resumed, precision = group.from_leader(lambda: _begin(job, parts, leads=group.leads))
        model = model_in(job.backbone, precision["used"], job.device)
        todo = [number for number in range(rank, len(parts), world) if not parts.file(number).exists()]
        seconds, n_images = _compute(replace(job, backbone=model), parts, todo, precision["used"])
        group.barrier()
        done = "resumed" if resumed else "extracted"
        if group.leads and len(parts.finished()) == len(parts):
            with parts.locked("join"):
                if len(parts.finished()) == len(parts):  # another shard may have joined them meanwhile
                    parts.join(job.dataset.rows.take(job.index), job.provenance(spec, precision))
        group.barrier()
    if not parts.output.exists():
        missing = len(parts) - len(parts.finished())
        console.note(f"{parts.output}: waiting for {missing} parts of other shards.")
        done = "waiting"
        return Extraction(
            parts.output, len(job.index), 0, 0, done, _rate(n_images, seconds), precision["used"]
        )
    return replace(_finished(parts.output, job), done=done, images_per_second=_rate(n_images, seconds))


def _rate(n_images: int, seconds: float) -> float | None:
    return n_images / seconds if n_images and seconds > 0 else None


def _finished(path: Path, job: Job) -> Extraction:
    with FeatureFile(path) as file:
        n_failed = int((~file.ok).sum())
        if n_failed and job.options.on_error == "fail":
            name, reason = next(iter(file.errors.items()))
            raise EmbedkitError(
                f"{path}: {n_failed} of its {file.n} images were skipped as unreadable, such as {name!r}: "
                f"{reason} Give --on-error skip to accept them, or mend them and give --overwrite."
            )
        used = file.provenance.get("precision_used", {}).get("used", "?")
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


def _begin(job: Job, parts: Parts, *, leads: bool) -> tuple[bool, dict[str, Any]]:
    """Take up an earlier run's parts, or begin anew; settle the precision once for all parts."""
    if leads and job.options.shard is None:  # with shards, another task may be writing one of these
        for stale in (*parts.folder.glob("*.tmp"), *parts.output.parent.glob(f".{parts.output.name}.*.tmp")):
            stale.unlink(missing_ok=True)
    replaces = file_sha256(parts.output) if parts.output.exists() else None
    manifest = parts.begun_with(lenient=job.options.overwrite)
    if manifest is not None:
        differences = _differences(job.asked, manifest["asked"])
        if differences and not job.options.overwrite:
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
    manifest = {
        "asked": dict(job.asked),
        "precision": _choose_precision(job),
        "overwrite": job.options.overwrite,
        "replaces": replaces,
    }
    return False, dict(parts.begin(manifest)["precision"])


# --- precision -------------------------------------------------------------------------------------


def _choose_precision(job: Job) -> dict[str, Any]:
    """Resolve the precision; ``auto`` takes native bf16 only where its features agree with fp32."""
    asked = job.options.precision
    where = describe_device(job.device)
    if asked != "auto":
        return {"used": asked, "why": "asked for"}
    if job.backbone.source == "pixels":
        return {"used": "fp32", "why": "raw pixels"}
    if not native_bf16(job.device):
        console.note(f"Precision fp32 on {where}: it has no native bf16.")
        return {"used": "fp32", "why": "no native bf16"}
    cosine = _bf16_cosine(job)
    if cosine < MIN_COSINE:
        console.note(
            f"Precision fp32 on {where}: bf16 features of the first batch agree only to a cosine of "
            f"{cosine:.5f}."
        )
        return {"used": "fp32", "why": "bf16 disagrees", "cosine": round(cosine, 6)}
    console.note(f"Precision bf16 on {where}: its features agree with fp32 (cosine at least {cosine:.5f}).")
    return {"used": "bf16", "why": "native and agrees", "cosine": round(cosine, 6)}


def _bf16_cosine(job: Job) -> float:
    """Lowest cosine between the fp32 and bf16 features of the first readable batch."""
    size = max(1, job.options.batch_size // job.views.n)
    loaded = [load_image(job, int(row)) for row in job.index[:size]]
    good = [item for item in loaded if isinstance(item, np.ndarray)]
    if not good:
        return 1.0  # nothing readable here; the run itself will say so
    batch = torch.from_numpy(np.concatenate(good)[: max(job.options.batch_size, 1)])
    features = {
        name: _forward(replace(job, backbone=model_in(job.backbone, name, job.device)), batch, name).cpu()
        for name in ("fp32", "bf16")
    }
    return float(F.cosine_similarity(features["fp32"], features["bf16"], dim=1).min())


def model_in(backbone: Backbone, precision: str, device: torch.device) -> Backbone:
    """Return the backbone with a copy of its model on the device, in the given precision."""
    model = deepcopy(backbone.model).to(device=device, dtype=PRECISIONS[precision])
    if not backbone.is_vit:
        model = model.to(memory_format=torch.channels_last)
    return replace(backbone, model=model)


# --- the loop --------------------------------------------------------------------------------------


def load_image(job: Job, row: int) -> NDArray[np.uint8] | ImageError:
    """Read, decode and prepare one image as (v, s, s, 3) uint8; its error instead where it can't be."""
    dataset = job.dataset
    where = dataset.where(row)
    try:
        pixels = decode(dataset.read(row), where)
        return make_views(
            pixels,
            job.backbone.preprocessing,
            job.views,
            image_id=str(dataset.rows.ids[row]),
            seed=job.options.seed,
        )
    except ImageError as error:
        return error
    except OSError as error:
        return ImageError(f"{where}: {error.strerror or error}.")


def _batches(
    job: Job, parts: Parts, todo: list[int]
) -> Generator[tuple[int, list[NDArray[np.uint8] | ImageError]]]:
    """Yield (part, images of one batch) in order, read ahead by a pool of threads.

    Threads, because decoding and resizing release the interpreter lock: no second copy of anything, no
    shared memory to run out of, no process left behind by a kill. A batch never spans two parts, so that a
    resumed run computes the same batches, and so the same bits, as one that was never interrupted.
    """
    size = max(1, job.options.batch_size // job.views.n)
    plan = [
        (number, job.index[start : min(start + size, parts.slice(number).stop)])
        for number in todo
        for start in range(parts.slice(number).start, parts.slice(number).stop, size)
    ]
    workers = job.options.workers or min(16, os.cpu_count() or 1)
    ahead = 2 + -(-2 * workers // size)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    waiting: collections.deque[tuple[int, list[Future[NDArray[np.uint8] | ImageError]]]] = collections.deque()
    try:
        for number, rows in plan:
            waiting.append((number, [pool.submit(load_image, job, int(row)) for row in rows]))
            if len(waiting) > ahead:
                number, futures = waiting.popleft()
                yield number, [future.result() for future in futures]
        while waiting:
            number, futures = waiting.popleft()
            yield number, [future.result() for future in futures]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _compute(job: Job, parts: Parts, todo: list[int], precision: str) -> tuple[float, int]:
    """Compute and store the parts in `todo`; returns the seconds spent and the images done."""
    started = time.perf_counter()
    n_images = 0
    total = len(job.index)
    before = total - sum(parts.slice(number).stop - parts.slice(number).start for number in todo)
    filling = _Filling(job, parts)
    batches = _batches(job, parts, todo)
    # One batch stays in flight, so that a GPU computes while the next one is put together.
    in_flight: _InFlight | None = None
    with console.progress("extract", total, unit="images") as advance, contextlib.closing(batches):
        advance(before)
        for number, images in batches:
            launched = _launch(job, number, images, precision)
            if in_flight is not None:
                advance(filling.add(in_flight))
            in_flight = launched
            n_images += len(images)
        if in_flight is not None:
            advance(filling.add(in_flight))
    return time.perf_counter() - started, n_images


@dataclass(frozen=True)
class _InFlight:
    number: int
    features: torch.Tensor
    view_mean: torch.Tensor | None
    scatter: torch.Tensor | None
    errors: list[str]  # empty where the image could be read


def _launch(job: Job, number: int, images: list[NDArray[np.uint8] | ImageError], precision: str) -> _InFlight:
    """Start the forward pass of one batch; on a GPU this returns before it is done."""
    s, v = job.backbone.preprocessing.image_size, job.views.n
    # An unreadable image keeps its place as zeros: the others' batch, and so their bits, stay the same.
    blank = np.zeros((v, s, s, 3), dtype=np.uint8)
    stack = np.concatenate([blank if isinstance(image, ImageError) else image for image in images])
    features = _forward(job, torch.from_numpy(stack), precision)  # (b v, d)
    errors = [str(image) if isinstance(image, ImageError) else "" for image in images]
    view_mean = scatter = None
    if v > 1:
        by_image = features.reshape(len(images), v, -1)  # (b, v, d)
        unit = F.normalize(by_image, dim=2)
        view_mean = unit.mean(dim=1)  # (b, d)
        off = (unit - view_mean[:, None])[torch.tensor([not error for error in errors])].flatten(0, 1)
        scatter = off.T @ off  # (d, d)
        features = by_image.mean(dim=1)
    return _InFlight(number, features, view_mean, scatter, errors)


def pooled_views(job: Job, images: torch.Tensor, precision: str) -> torch.Tensor:
    """Return (d,) float32: the features of the views (v, s, s, 3) of one image, averaged."""
    return _forward(job, images, precision).mean(dim=0)


def _forward(job: Job, batch: torch.Tensor, precision: str) -> torch.Tensor:
    """(b, s, s, 3) uint8 -> (b, d) float32 on the device."""
    with torch.inference_mode():
        if job.device.type == "cuda":
            batch = batch.pin_memory()
        x = job.backbone.preprocessing.normalize(batch.to(job.device, non_blocking=True))
        return job.pooling(job.backbone, x.to(PRECISIONS[precision]))


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

    def add(self, batch: _InFlight) -> int:
        """Take in a batch once it is computed; returns its number of images."""
        reason = next(filter(None, batch.errors), None)
        if reason and self._on_error == "fail":
            raise ImageError(f"{reason} Or give --on-error skip to leave such images out.")
        failed = np.array([bool(error) for error in batch.errors])
        features = batch.features.float().cpu().numpy()
        _refuse_broken(features[~failed], self._storage)
        features[failed] = np.nan
        self._features.append(features.astype(STORAGE[self._storage]))
        self._errors += batch.errors
        if batch.view_mean is not None and batch.scatter is not None:
            view_mean = batch.view_mean.cpu().numpy()
            view_mean[failed] = np.nan
            self._view_means.append(view_mean)
            scatter = batch.scatter.cpu().numpy().astype(np.float64)
            self._scatter = scatter if self._scatter is None else self._scatter + scatter
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


# --- several processes -----------------------------------------------------------------------------


class Group:
    """The processes that share one extraction: torchrun's ranks, a shard, or this process alone."""

    def __init__(self, rank: int, world: int, *, distributed: bool, leads: bool) -> None:
        self.rank = rank
        self.world = world
        self.distributed = distributed
        self.leads = leads

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.distributed:
            torch.distributed.barrier()

    def from_leader(self, decide: Any) -> Any:
        """Return what `decide` gives on the leading rank, on every rank."""
        if not self.distributed:
            return decide()
        box = [decide() if self.leads else None]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]


@contextlib.contextmanager
def _process_group(options: ExtractOptions) -> Iterator[Group]:
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "TORCHELASTIC_RUN_ID" not in os.environ:
        shard, shards = options.shard or (0, 1)
        yield Group(shard, shards, distributed=False, leads=True)
        return
    if options.shard is not None:
        raise UsageError("--shard is for independent tasks; under torchrun the ranks share the work already.")
    # gloo, because the ranks only agree on who does what; a slow rank may take days over its share.
    torch.distributed.init_process_group("gloo", timeout=timedelta(days=30))
    try:
        yield Group(rank, world, distributed=True, leads=rank == 0)
    finally:
        torch.distributed.destroy_process_group()
