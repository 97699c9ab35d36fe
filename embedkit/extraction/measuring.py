"""How fast an extraction would go, from a few of its images taken all the way but for the feature file."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.arrays import ArrayImages
from embedkit.extraction.bound import Bound
from embedkit.extraction.job import Job
from embedkit.extraction.loop import Loop
from embedkit.extraction.parts import Parts
from embedkit.extraction.settling import Settled, settle

# At least so many images, half of them to warm up; and for so long, if there are as many more.
IMAGES = 200
ENOUGH_SECONDS = 3.0
# Batches in a round, so that what fills and drains the pipeline of a GPU is little of it.
_BATCHES = 6


@dataclass(frozen=True)
class Measured:
    """What a few images took.

    Parameters
    ----------
    n_images, seconds
        Timed, behind others that warmed up.
    beginning
        Seconds before the first of them: settling the precision, the model to its device, compiling it.
    settled
        How they were computed.
    bound
        What bound them.
    """

    n_images: int
    seconds: float
    beginning: float
    settled: Settled
    bound: Bound | None

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.n_images / self.seconds


def measure(job: Job) -> Measured:
    """Compute features of some images as an extraction would, and throw them away.

    Raises
    ------
    EmbedkitError
        As of `embedkit.extraction.extract.extract`. An image that can't be read is passed over.
    """
    started = time.perf_counter()
    settled = Settled.of(settle(job))
    batch = max(1, job.options.batch_size // job.views.n)
    cuda = job.device.type == "cuda"
    in_round = -(-max(IMAGES // 2, _BATCHES * batch if cuda else 0) // batch) * batch
    with tempfile.TemporaryDirectory(prefix="embedkit-plan-") as folder:
        rows = _rows(job)
        sample = replace(job, index=rows, options=replace(job.options, on_error="skip"))
        parts = Parts(Path(folder) / "features.h5", len(rows), job.views.n)
        parts.rows = min(in_round, len(rows))
        parts.folder.mkdir()
        loop = Loop(sample, parts, settled)
        beginning = time.perf_counter() - started
        if len(parts) > 1:
            _timed(loop, parts, [0])  # warms up
        done, seconds, n_parts = 0, 0.0, 1
        at = 1 if len(parts) > 1 else 0
        while at < len(parts) and seconds < ENOUGH_SECONDS:
            todo = list(range(at, min(at + n_parts, len(parts))))
            seconds += _timed(loop, parts, todo)
            done += parts.n_rows(todo)
            at, n_parts = todo[-1] + 1, 2 * n_parts
        return Measured(done, seconds, beginning, settled, loop.bound())


def _timed(loop: Loop, parts: Parts, todo: list[int]) -> float:
    started = time.perf_counter()
    loop.run(parts, todo, _nobody)
    return time.perf_counter() - started


def _nobody(n: int = 1) -> None:
    """Take progress in that nobody is shown."""


def _rows(job: Job) -> NDArray[np.int64]:
    """Return the rows in the order in which they are measured: spread evenly, or as they lie in an array.

    Files may differ from class to class. Arrays don't, and HDF5 reads many of their rows at once.
    """
    images = getattr(job.dataset.read, "__self__", None)
    if isinstance(images, ArrayImages):
        return job.index
    n = len(job.index)
    strides = max(1, n // (2 * IMAGES))
    order = np.concatenate([np.arange(start, n, strides) for start in range(strides)])
    return np.asarray(job.index[order])
