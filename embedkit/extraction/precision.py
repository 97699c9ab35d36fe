"""Which precision an extraction computes in: bf16 only where it is native and its features agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)

from embedkit import console
from embedkit.computing.device import MIN_COSINE, describe_device, native_bf16
from embedkit.extraction.job import Job, forward, load_image, model_in


def choose_precision(job: Job) -> dict[str, Any]:
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
    cosine = bf16_cosine(job)
    if cosine < MIN_COSINE:
        console.note(
            f"Precision fp32 on {where}: bf16 features of the first batch agree only to a cosine of "
            f"{cosine:.5f}."
        )
        return {"used": "fp32", "why": "bf16 disagrees", "cosine": round(cosine, 6)}
    console.note(f"Precision bf16 on {where}: its features agree with fp32 (cosine at least {cosine:.5f}).")
    return {"used": "bf16", "why": "native and agrees", "cosine": round(cosine, 6)}


def bf16_cosine(job: Job) -> float:
    """Lowest cosine between the fp32 and bf16 features of the first readable batch."""
    size = max(1, job.options.batch_size // job.views.n)
    loaded = [load_image(job, int(row)) for row in job.index[:size]]
    good = [item for item in loaded if isinstance(item, np.ndarray)]
    if not good:
        return 1.0  # nothing readable here; the run itself will say so
    batch = torch.from_numpy(np.concatenate(good)[: max(job.options.batch_size, 1)])
    features = {
        name: forward(replace(job, backbone=model_in(job.backbone, name, job.device)), batch, name).cpu()
        for name in ("fp32", "bf16")
    }
    return float(F.cosine_similarity(features["fp32"], features["bf16"], dim=1).min())
