"""What is settled once, before the first part, so that all parts share it: precision, compiling, resizing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embedkit import console
from embedkit.computing.device import describe_device
from embedkit.errors import UsageError
from embedkit.extraction.job import Job
from embedkit.extraction.precision import choose_precision
from embedkit.extraction.way import possible_ways

# Forward passes times parameters times (input side / 224)^2 from which `--compile auto` compiles: a million
# images through a ViT-S/16, some two minutes of an H100 without, of which compiling saves more than it takes.
WORTH_COMPILING = 2e13


@dataclass(frozen=True)
class Settled:
    """How all parts of a file are computed.

    Parameters
    ----------
    precision
        ``fp32``, ``bf16`` or ``fp16``.
    compiled
        Whether the network is compiled, and its last batch padded.
    resize
        ``pillow``, or ``torch`` on the device, which may differ by a level or two of 255.
    views
        ``pillow``, or ``torch`` on the device: random views up to a level of 255 off.
    """

    precision: str
    compiled: bool = False
    resize: str = "pillow"
    views: str = "pillow"

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Settled:
        """Read what `settle` returned."""
        way = {name: str(record.get(name, "pillow")) for name in ("resize", "views")}
        return cls(record["used"], bool(record.get("compiled", False)), **way)


def settle(job: Job) -> dict[str, Any]:
    """Decide how all parts are computed; what is as on a CPU is not in the record."""
    found = choose_precision(job)
    if _compiles(job):
        found["compiled"] = True
    return found | dict.fromkeys(_by_torch(job), "torch")


def _compiles(job: Job) -> bool:
    asked, missing = job.options.compile, _missing()
    network = job.backbone.source != "pixels"
    if asked == "on":
        if missing or not network:
            raise UsageError(f"--compile on: {missing or 'raw pixels pass no network'}. Give --compile off.")
        return True
    if asked == "off" or job.device.type != "cuda" or not network:
        return False
    parameters = sum(parameter.numel() for parameter in job.backbone.model.parameters())
    passes = len(job.index) * job.views.n
    worth = passes * parameters * (job.backbone.preprocessing.image_size / 224) ** 2 >= WORTH_COMPILING
    if worth and missing:
        console.note(f"The network is not compiled: {missing}.")
    return worth and not missing


def _missing() -> str:
    """What torch.compile needs and is not there, in words; '' where all is."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        return "there is no C compiler, which torch.compile needs"
    return ""


def _by_torch(job: Job) -> tuple[str, ...]:
    """Return what of the preparation torch does: ``resize``, ``views``, both or nothing."""
    asked = job.options.prepare_with
    if asked == "pillow" or (asked == "auto" and job.device.type != "cuda"):
        return ()
    possible = possible_ways(job)
    if not possible and asked == "torch":
        raise UsageError(
            "--prepare-with torch needs images of one size, stacked as uint8 (n, h, w, 3) in an array, and a "
            "backbone of three channels; or --views galaxy:N. Give --prepare-with pillow."
        )
    if possible and asked == "auto":
        what = " and ".join({"resize": "resized", "views": "turned into views"}[name] for name in possible)
        console.note(
            f"Images are {what} on {describe_device(job.device)}. --prepare-with pillow does it as on a CPU."
        )
    return possible
