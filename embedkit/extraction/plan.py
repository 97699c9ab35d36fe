"""What an extraction would do, computing nothing."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from embedkit.backbones.options import BackboneSpec
from embedkit.computing.device import describe_device, native_bf16
from embedkit.datasets.dataset import Dataset
from embedkit.extraction.hints import say_crop
from embedkit.extraction.job import Job
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.parts import Parts
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


def plan(dataset: Dataset, output: Path, backbone: BackboneSpec, options: ExtractOptions) -> ExtractionPlan:
    """Resolve everything that an extraction would do, and compute nothing."""
    job = Job.plan(dataset, backbone, options)
    say_crop(job)
    size = job.backbone.preprocessing.image_size
    with torch.inference_mode():
        channels = job.backbone.preprocessing.channels
        d = job.pooling(job.backbone, torch.zeros(1, channels, size, size)).shape[1]
    n = len(job.index)
    parts = Parts(output, n, job.views.n)
    item = 2 if options.storage == "float16" else 4
    folder = next(parent for parent in output.absolute().parents if parent.exists())
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
    return ExtractionPlan(output, n, d, details)
