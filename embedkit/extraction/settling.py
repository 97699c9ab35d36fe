"""What is settled once, before the first part, so that all parts share it: precision, compiling, resizing."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embedkit import console
from embedkit.computing.device import describe_device
from embedkit.datasets.stacks import Stack, stack_of
from embedkit.errors import UsageError
from embedkit.extraction.job import Job
from embedkit.extraction.precision import choose_precision

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
    """

    precision: str
    compiled: bool = False
    resize: str = "pillow"

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Settled:
        """Read what `settle` returned."""
        return cls(record["used"], bool(record.get("compiled", False)), str(record.get("resize", "pillow")))


def settle(job: Job) -> dict[str, Any]:
    """Decide how all parts are computed; what is as on a CPU is not in the record."""
    found = choose_precision(job)
    if _compiles(job):
        found["compiled"] = True
    if _resizes(job):
        found["resize"] = "torch"
    return found


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


def _resizes(job: Job) -> bool:
    asked = job.options.resize_with
    if asked == "pillow" or (asked == "auto" and job.device.type != "cuda"):
        return False
    possible = resizable(job)
    if possible is None and asked == "torch":
        raise UsageError(
            "--resize-with torch needs images of one size, stacked as uint8 (n, h, w, 3) in an array, "
            "--views 1, rot4 or d4, and a backbone of three channels. Give --resize-with pillow."
        )
    if possible is not None and asked == "auto":
        console.note(f"Images are resized on {describe_device(job.device)}; --resize-with pillow does not.")
    return possible is not None


def resizable(job: Job) -> Stack | None:
    """Return the images where the device can resize them: of one array, for views that torch makes."""
    if job.backbone.preprocessing.channels != 3 or job.views.kind == "galaxy":
        return None
    stack = stack_of(job.dataset)
    if stack is None:
        return None
    crop = job.backbone.preprocessing.center_crop
    return None if crop is not None and crop > min(stack.shape[:2]) else stack
