"""What an extraction would do, computing nothing."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from embedkit.backbones.options import BackboneSpec
from embedkit.computing.device import describe_device, native_bf16
from embedkit.console.foretelling import in_words
from embedkit.datasets.dataset import Dataset
from embedkit.errors import UsageError
from embedkit.extraction.hints import say_crop
from embedkit.extraction.job import Job
from embedkit.extraction.measuring import Measured, measure
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.parts import Parts
from embedkit.extraction.remote_parts import parts_of
from embedkit.files.cache import cache_folder
from embedkit.files.remote import Address
from embedkit.files.showing import data_frame, html_table, named_cells


@dataclass(frozen=True)
class ExtractionPlan:
    """What an extraction would do.

    Parameters
    ----------
    path
        The feature file that would be made.
    n, d
        Rows and dimensions.
    details
        Everything that would be done, in words and numbers, by title.
    """

    path: Path
    n: int
    d: int
    details: dict[str, Any]

    def record(self) -> dict[str, Any]:
        """Return the details."""
        return dict(self.details)

    def to_pandas(self) -> Any:
        """Return a DataFrame of one row."""
        return data_frame([self.record()])

    def _repr_html_(self) -> str:
        return html_table("What embedkit extract would do", named_cells(self.details))


def plan(
    dataset: Dataset,
    output: Path,
    backbone: BackboneSpec,
    options: ExtractOptions,
    *,
    measured: bool = False,
) -> ExtractionPlan:
    """Resolve everything that an extraction would do, and compute nothing.

    With `measured`, features of a few images are computed and thrown away, to say what all will take.
    """
    if measured and options.engine != "local":
        raise UsageError(f"--plan measures this process: leave out --engine {options.engine}.")
    started = time.perf_counter()
    job = Job.plan(dataset, backbone, options)
    loading = time.perf_counter() - started
    say_crop(job)
    size = job.backbone.preprocessing.image_size
    with torch.inference_mode():
        channels = job.backbone.preprocessing.channels
        d = job.pooling(job.backbone, torch.zeros(1, channels, size, size)).shape[1]
    n = len(job.index)
    parts = parts_of(output, n, job.views.n)
    item = 2 if options.storage == "float16" else 4
    # What goes to a store is joined in the cache folder.
    place = cache_folder() / output.name if isinstance(output, Address) else output.absolute()
    folder = next(parent for parent in place.parents if parent.exists())
    precision = options.precision
    if precision == "auto":
        precision = "bf16 if it agrees with fp32" if native_bf16(job.device) else "fp32"
    details = {
        "dataset": dataset.name,
        "images": n,
        "views": job.views.name,
        "forward passes": n * job.views.n,
        "features": job.features_name,
        "dimensions": d,
        "preprocessing": job.backbone.preprocessing.record(),
        "weights": job.backbone.source,
        "device": describe_device(job.device),
        "precision": precision,
        "output": str(output),
        "exists": output.exists(),
        "parts finished": f"{len(parts.finished())} of {len(parts)}",
        "MiB to write": round(n * d * (item + (4 if job.views.n > 1 else 0)) / 2**20, 1),
        "MiB free": round(shutil.disk_usage(folder).free / 2**20),
    }
    if measured:
        found = measure(job)
        details["precision"] = found.settled.precision
        details |= _foretold(job, parts, found, loading)
        details["bytes of features"] = n * d * item + (n * d * 4 + d * d * 8 if job.views.n > 1 else 0)
    return ExtractionPlan(output, n, d, details)


def _foretold(job: Job, parts: Parts, found: Measured, loading: float) -> dict[str, Any]:
    """Say what is still to be computed will take, as some images did."""
    i, share = job.options.shard or (0, 1)
    finished = set(parts.finished())
    n = parts.n_rows([number for number in range(i, len(parts), share) if number not in finished])
    seconds = loading + found.beginning + n / found.rate if n else 0.0
    cuda = job.device.type == "cuda"
    details = {
        "measured": f"{found.n_images:,} images in {found.seconds:.1f} s",
        "images to compute": n,
        "images/s": _digits(found.rate),
        "seconds to begin": _digits(loading + found.beginning),
        "time": f"about {in_words(seconds)}",
        "hours": _digits(seconds / 3600),
        "card-hours" if cuda else "core-hours": _digits(
            seconds / 3600 * (1 if cuda else torch.get_num_threads())
        ),
    }
    if found.bound is not None:
        details |= {
            "bound by": found.bound.stage,
            "share of the bare forward rate": round(found.bound.share, 3),
        }
    return details


def _digits(value: float) -> float:
    return float(f"{value:.3g}")
