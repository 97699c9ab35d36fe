"""Everything that fixes the features of a file, and the way from one image to its features."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.backbones.load import Backbone, load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.backbones.pooling import Pooling
from embedkit.computing.device import PRECISIONS, choose_device
from embedkit.console.starting import starting
from embedkit.console.visible import plain
from embedkit.datasets.dataset import Dataset, spread_rows
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.extraction.bound import DECODE, PREPARE, READ, Clock
from embedkit.extraction.options import ExtractOptions
from embedkit.files.regular import resolved
from embedkit.images.decode import decode
from embedkit.images.drawing import torch_views
from embedkit.images.noise import KIND as NOISE
from embedkit.images.options import ViewSet
from embedkit.images.views import make_views
from embedkit.versions import versions

T = TypeVar("T")
_YOUNGER = ("compile", "prepare_with")
STORAGE = {"float32": np.float32, "float16": np.float16}


@dataclass(frozen=True)
class Job:
    """Everything that fixes the features of a file before the first image is read.

    With `draws`, random views are made by torch, as a GPU makes them.
    """

    dataset: Dataset
    index: NDArray[np.int64]
    backbone: Backbone
    pooling: Pooling
    views: ViewSet
    options: ExtractOptions
    device: torch.device
    asked: Mapping[str, Any] = field(default_factory=dict)
    draws: bool = False

    @classmethod
    def plan(cls, dataset: Dataset, backbone: BackboneSpec, options: ExtractOptions) -> Job:
        """Load the backbone and resolve every option."""
        n = len(dataset)
        if n == 0:
            raise EmbedkitError(f"{dataset.name}: no images. Check the path.")
        # A cluster's own processes say what they compute on; the machine that asks for them may have no card.
        elsewhere = options.engine == "ray"
        device = torch.device("cpu") if elsewhere else choose_device(options.device)
        if options.precision == "fp16" and device.type == "cpu" and not elsewhere:
            raise UsageError("--precision fp16 needs a GPU. Give auto, fp32 or bf16.")
        with starting("loading the backbone ...", plain(sys.stderr)):
            loaded = load_backbone(backbone)
        pooling = Pooling.choose(loaded, pool=options.pool, layers=options.layers)
        index = spread_rows(n, options.limit)
        job = cls(dataset, index, loaded, pooling, ViewSet.parse(options.views), options, device)
        asked = {
            "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint, "n": len(index)},
            "backbone": loaded.record(),
            "preprocessing": loaded.preprocessing.record(),
            "pooling": pooling.record(),
            "views": _views(job.views, options.seed),
            "precision": options.precision,
            "storage": options.storage,
        }
        # What is younger than a feature file is in the record only where it was asked for.
        asked |= {name: value for name in _YOUNGER if (value := getattr(options, name)) != "auto"}
        return replace(job, asked=asked)

    @property
    def features_name(self) -> str:
        """Short name of the feature set for tables."""
        backbone = self.backbone
        name = backbone.title
        if backbone.adapter_sha256 is not None:
            name += " +adapter"
        if self.pooling.pool != "model":
            name += f" {self.pooling.name}"
        return name if self.views.n == 1 else f"{name} {self.views.name}"

    def provenance(self, spec: BackboneSpec, precision: Mapping[str, Any], device: str) -> dict[str, Any]:
        """Return the record that the file keeps.

        No time in it, nor how many processes and threads computed: the same inputs give the same bytes.
        """
        asked = deepcopy(dict(self.asked))
        asked["dataset"]["origin"] = dict(self.dataset.origin)
        spec = self.backbone.spec or spec  # with what an adapter's folder filled in
        if self.backbone.tensors is not None:
            asked["backbone"]["tensors"] = dict(self.backbone.tensors)
        asked["backbone"]["origin"] = {
            "weights": str(resolved(spec.weights)) if spec.weights else None,
            "adapter": str(resolved(spec.adapter)) if spec.adapter else None,
            "random_init": spec.random_init,
        }
        return asked | {
            "features_name": self.features_name,
            "precision_used": dict(precision),
            "device": device,
            "versions": versions(),
        }


def _views(views: ViewSet, seed: int) -> dict[str, Any]:
    """Return what a record says of views; what is random of them only where something is."""
    if views.kind != "galaxy":
        return {"name": views.name, "seed": None}
    return {"name": views.name, "seed": seed, "noise": NOISE}


def model_in(backbone: Backbone, precision: str, device: torch.device) -> Backbone:
    """Return the backbone with a copy of its model on the device, in the given precision."""
    model = deepcopy(backbone.model).to(device=device, dtype=PRECISIONS[precision])
    if not backbone.is_vit:
        model = model.to(memory_format=torch.channels_last)
    return replace(backbone, model=model)


def load_image(job: Job, row: int, clock: Clock | None = None) -> NDArray[np.uint8] | ImageError:
    """Read, decode and prepare one image as (v, s, s, 3) uint8; its error instead where it can't be."""
    image_id, seed = str(job.dataset.rows.ids[row]), job.options.seed

    def views(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if job.draws:
            return torch_views(pixels, job.backbone.preprocessing, job.views, image_id=image_id, seed=seed)
        return make_views(pixels, job.backbone.preprocessing, job.views, image_id=image_id, seed=seed)

    return load_with(views, job, row, clock or Clock())


def load_with(prepare: Callable[[NDArray[np.uint8]], T], job: Job, row: int, clock: Clock) -> T | ImageError:
    """Read and decode one image and prepare its pixels; its error instead where it can't be."""
    dataset = job.dataset
    where = dataset.where(row)
    try:
        with clock(READ):
            source = dataset.read(row)
        with clock(DECODE):
            pixels = decode(source, where, channels=job.backbone.preprocessing.channels)
        with clock(PREPARE):
            return prepare(pixels)
    except ImageError as error:
        return error
    except OSError as error:
        return ImageError(f"{where}: {error.strerror or error}.")


def pooled_views(job: Job, images: torch.Tensor, precision: str) -> torch.Tensor:
    """Return (d,) float32: the features of the views (v, s, s, 3) of one image, averaged."""
    return forward(job, images, precision).mean(dim=0)


def forward(job: Job, batch: torch.Tensor, precision: str) -> torch.Tensor:
    """(b, s, s, 3) uint8 -> (b, d) float32 on the device."""
    with torch.inference_mode():
        if job.device.type == "cuda":
            batch = batch.pin_memory()
        x = job.backbone.preprocessing.normalize(batch.to(job.device, non_blocking=True))
        return job.pooling(job.backbone, x.to(PRECISIONS[precision]))
