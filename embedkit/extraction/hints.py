"""What is worth saying before an extraction begins: how long it takes, and the crop that a backbone wants."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from embedkit.backbones.shipped import SHIPPED
from embedkit.computing.engine import n_cores
from embedkit.console import note
from embedkit.console.foretelling import in_words
from embedkit.errors import EmbedkitError
from embedkit.extraction.job import Job, forward, load_image
from embedkit.images.decode import decode

# An estimate is worth saying from here on, and so is measuring for it.
LONG_SECONDS = 30.0
MANY_PASSES = 32
# Images are taken together until they take so long, or are so many: enough for two digits.
ENOUGH_SECONDS = 0.5
MOST_READ = 16
AT_ONCE = (4, 16)
# Of all images, so many are taken for an estimate.
TRIED_SHARE = 0.05


def say_time(job: Job, n_images: int, precision: str) -> None:
    """Say how long so many images will take, where that is long: from a few on this processor.

    On a GPU nothing is said: the bar knows it after the first batches, which are there in seconds.
    """
    v = job.views.n
    passes = n_images * v
    if job.device.type != "cpu" or passes <= MANY_PASSES:
        return
    size = job.backbone.preprocessing.image_size
    channels = job.backbone.preprocessing.channels

    def seconds_each(n: int) -> float:
        blank = torch.zeros(n, size, size, 3 if channels == 1 else channels, dtype=torch.uint8)
        started = time.perf_counter()
        forward(job, blank, precision)
        return (time.perf_counter() - started) / n

    computing, reading = v * seconds_of_one(seconds_each, passes), seconds_to_read(job, n_images)
    # Threads read the next images while these are computed, if there is a core for them.
    seconds = max(computing, reading) if n_cores() > 1 else computing + reading
    if seconds * n_images < LONG_SECONDS:
        return
    fix = "--limit takes fewer of them, --image-size smaller ones."
    if reading > computing:
        fix = "Most of that is to read and to draw them; --limit takes fewer."
    note(
        f"About {in_words(seconds * n_images)} for {passes:,} images of {size} x {size} pixels: one takes "
        f"{seconds / v:.2g} s on this processor. {fix}"
    )


def seconds_to_read(job: Job, n_images: int) -> float:
    """Return what the threads take to read, decode and prepare one of so many images, with all its views."""
    # In their order, as they will be read: a shard or a chunk is opened for many.
    n = min(n_images, max(2, min(MOST_READ, int(TRIED_SHARE * n_images))))
    took: list[float] = []
    for row in job.index[:n].tolist():
        started = time.perf_counter()
        load_image(job, row)
        took.append(time.perf_counter() - started)
        if sum(took) >= ENOUGH_SECONDS:
            break
    # The first one opens what the others find open.
    n_threads = min(job.options.workers or n_cores(), n_cores())
    return float(np.mean(took[1:] or took)) / n_threads


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
