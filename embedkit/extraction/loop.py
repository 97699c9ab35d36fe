"""Parts computed one after the other: batches through the network, gathered until a part is full."""

from __future__ import annotations

import collections
import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import Advance
from embedkit.errors import EmbedkitError, ImageError
from embedkit.extraction.bound import WRITE, Bound, Clock, Spent, bound
from embedkit.extraction.feeding import Feeder
from embedkit.extraction.forwarding import Forward, InFlight
from embedkit.extraction.job import STORAGE, Job, model_in
from embedkit.extraction.parts import Part, Parts
from embedkit.extraction.settling import Settled
from embedkit.extraction.way import Way

# Batches that a GPU has before it, so that it goes on while the processor is held up.
IN_FLIGHT = 2


@dataclass(frozen=True)
class Computed:
    """What was computed, in how many seconds, what bound it, and what it took to begin, where that is known.

    Of one process the images are those behind its first batch, where these are most.
    """

    n_images: int = 0
    seconds: float = 0.0
    bound: Bound | None = None
    beginning: float = 0.0

    @property
    def rate(self) -> float | None:
        """Images a second; None where nothing was computed."""
        return self.n_images / self.seconds if self.n_images and self.seconds > 0 else None


class Loop:
    """A network on its device, compiled if it was settled so, and what feeds it.

    Parameters
    ----------
    job
        What is computed, with its model still on the CPU.
    parts
        Says which rows are in which part.
    settled
        How all parts are computed.
    """

    def __init__(self, job: Job, parts: Parts, settled: Settled) -> None:
        self._clock = Clock()
        self.job = replace(job, backbone=model_in(job.backbone, settled.precision, job.device))
        way = Way.of(self.job, resizes=settled.resize == "torch", draws=settled.views == "torch")
        self._feeder = Feeder(self.job, parts, way, self._clock)
        self._forward = Forward(self.job, settled, way, self._clock)
        self._forward.warm(self._feeder.shape)

    def run(self, parts: Parts, todo: list[int], advance: Advance) -> None:
        """Compute the parts in `todo`, write each the moment it is full, and say how many images are done."""
        self._clock.start()
        # Some batches stay in flight, so that a GPU computes while the next are put together. On a CPU a
        # batch is done when it is launched.
        most = 0 if self.job.device.type == "cpu" else IN_FLIGHT
        in_flight: collections.deque[InFlight] = collections.deque()
        with (
            _Filling(self.job, parts, self._clock) as filling,
            contextlib.closing(self._feeder.batches(todo)) as batches,
        ):
            for fed in batches:
                in_flight.append(self._forward(fed, self._feeder))
                while len(in_flight) > most:
                    advance(self._take(in_flight.popleft(), filling))
            while in_flight:
                advance(self._take(in_flight.popleft(), filling))
        self._clock.done(0)

    def _take(self, batch: InFlight, filling: _Filling) -> int:
        n = filling.add(batch)
        self._forward.done(batch)
        self._clock.done(n)
        return n

    @property
    def beginning(self) -> float:
        """Seconds until the first batch was done: the model to its device, compiling, first launches."""
        return self._clock.beginning

    def spent(self) -> Spent:
        """Say what the images behind the first batch took, where they are most."""
        return self._clock.spent()

    def bound(self) -> Bound | None:
        """Say what bound them."""
        spent = self.spent()
        preparing, passing = self._forward.of_an_image(spent)
        return bound(spent, forward=passing, prepare=preparing)


class _Filling:
    """Gathers batches into the part that is being filled, and has it written the moment it is full.

    One thread writes, beside what is computed: a disk takes its time to say that a part is safe.
    """

    def __init__(self, job: Job, parts: Parts, clock: Clock) -> None:
        self._storage = job.options.storage
        self._on_error = job.options.on_error
        self._parts = parts
        self._clock = clock
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._writing: Future[None] | None = None
        self._clear()

    def __enter__(self) -> _Filling:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.shutdown(wait=kind is not None)
        if kind is None:
            self._written()

    def _written(self) -> None:
        """Wait for the part before."""
        if self._writing is not None:
            with self._clock(WRITE):
                self._writing.result()

    def _clear(self) -> None:
        self._features: list[NDArray[Any]] = []
        self._view_means: list[NDArray[np.float32]] = []
        self._scatter: NDArray[np.float64] | None = None
        self._errors: list[str] = []

    def add(self, batch: InFlight) -> int:
        """Take in a batch once it is computed; returns its number of images."""
        reason = next(filter(None, batch.errors), None)
        if reason and self._on_error == "fail":
            raise ImageError(f"{reason} With --on-error skip such images are left out, and marked.")
        failed = np.array([bool(error) for error in batch.errors])
        if batch.ready is not None:
            batch.ready.synchronize()
        features = batch.features.float().cpu().numpy()
        _refuse_broken(features[~failed], self._storage)
        features[failed] = np.nan
        self._features.append(features.astype(STORAGE[self._storage]))
        self._errors += batch.errors
        if batch.view_mean is not None:
            view_mean = batch.view_mean.cpu().numpy()
            view_mean[failed] = np.nan
            self._view_means.append(view_mean)
        if batch.scatter is not None:
            self._scatter = batch.scatter.cpu().numpy()
        rows = self._parts.slice(batch.number)
        if len(self._errors) == rows.stop - rows.start:
            part = Part(
                features=np.concatenate(self._features),
                errors=np.array(self._errors, dtype=np.str_),
                view_mean=np.concatenate(self._view_means) if self._view_means else None,
                scatter=self._scatter,
            )
            self._written()
            self._writing = self._writer.submit(self._parts.write, batch.number, part)
            self._clear()
        return len(batch.errors)


def _refuse_broken(features: NDArray[np.float32], storage: str) -> None:
    if not np.isfinite(features).all():
        raise EmbedkitError(
            "the backbone gives NaN or infinite features. Give --precision fp32, or check the weights."
        )
    if storage == "float16" and features.size and np.abs(features).max() > np.finfo(np.float16).max:
        raise EmbedkitError("features are too large for float16 (over 65,504). Give --storage float32.")
