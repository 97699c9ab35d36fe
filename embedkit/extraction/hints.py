"""What is worth saying before an extraction begins: how long it takes, and the crop that a backbone wants."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from embedkit.backbones.shipped import SHIPPED
from embedkit.console import note
from embedkit.console.foretelling import in_words
from embedkit.errors import EmbedkitError
from embedkit.extraction.job import Job, forward
from embedkit.images.decode import decode

# An estimate is worth saying from here on, and so is measuring for it.
LONG_SECONDS = 30.0
MANY_PASSES = 32
# Images are taken together until they take so long, or are so many: enough for two digits.
ENOUGH_SECONDS = 0.5
AT_ONCE = (4, 16)
# Of all images, so many are taken for an estimate.
TRIED_SHARE = 0.05


def say_time(job: Job, n_images: int, precision: str) -> None:
    """Say how long so many images will take, where that is long: from a few on this processor.

    On a GPU nothing is said: the bar knows it after the first batches, which are there in seconds.
    """
    passes = n_images * job.views.n
    if job.device.type != "cpu" or passes <= MANY_PASSES:
        return
    size = job.backbone.preprocessing.image_size
    channels = job.backbone.preprocessing.channels

    def seconds_each(n: int) -> float:
        blank = torch.zeros(n, size, size, 3 if channels == 1 else channels, dtype=torch.uint8)
        started = time.perf_counter()
        forward(job, blank, precision)
        return (time.perf_counter() - started) / n

    seconds = seconds_of_one(seconds_each, passes)
    if seconds * passes >= LONG_SECONDS:
        note(
            f"About {in_words(seconds * passes)} for {passes:,} images of {size} x {size} pixels: one takes "
            f"{seconds:.2g} s on this processor. --limit takes fewer of them, --image-size smaller ones."
        )


def seconds_of_one(seconds_each: Callable[[int], float], passes: int) -> float:
    """Return what one of so many images takes, at least as long as it makes a long run.

    Several at a time are faster than one by one: on a busy machine a pass of sixteen takes hardly longer than
    one of a single image. The first pass of each size pays for what is set up once, on a busy machine a
    thousand times over, so it only says whether there is anything to say.

    Parameters
    ----------
    seconds_each
        Times a pass of n images.
    """
    fastest = seconds_each(1)
    if fastest * passes < LONG_SECONDS:
        return fastest
    fastest, seen = seconds_each(1), 2
    for n in AT_ONCE:
        seen += 2 * n
        if fastest * passes < LONG_SECONDS or seen > TRIED_SHARE * passes:
            break
        seconds_each(n)
        before, fastest = fastest, min(fastest, seconds_each(n))
        if n * fastest >= ENOUGH_SECONDS and fastest > before / 2:
            break
    return fastest


def say_crop(job: Job) -> None:
    """Say that a backbone saw the middle of its images only, where it is shown whole ones that are larger."""
    shipped = SHIPPED.get(job.backbone.name)
    if shipped is None or job.backbone.preprocessing.center_crop is not None or not len(job.index):
        return
    row = int(job.index[0])
    try:
        height, width = np.shape(decode(job.dataset.read(row), job.dataset.where(row)))[:2]
    except (EmbedkitError, OSError):  # the extraction says so
        return
    if min(height, width) > shipped.center_crop:
        note(
            f"{job.backbone.name} was trained on the middle {shipped.center_crop} pixels of images, in which "
            f"the object fills about half of that. These are {width} x {height}, and shrunk whole. Where the "
            f"object fills only the middle, crop: --center-crop {shipped.center_crop}, say."
        )
