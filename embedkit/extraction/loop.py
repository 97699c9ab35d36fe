"""Parts computed one after the other: batches through the network, gathered until a part is full."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import Advance
from embedkit.errors import EmbedkitError, ImageError
from embedkit.extraction.bound import Bound, Clock, bound
from embedkit.extraction.feeding import Feeder
from embedkit.extraction.forwarding import Forward, InFlight
from embedkit.extraction.job import STORAGE, Job, model_in
from embedkit.extraction.parts import Part, Parts
from embedkit.extraction.settling import Settled
from embedkit.extraction.way import Way


@dataclass(frozen=True)
class Computed:
    """What was computed, in how many seconds, and what bound it, where that is known."""

    n_images: int = 0
    seconds: float = 0.0
    bound: Bound | None = None

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
        self.job = replace(job, backbone=model_in(job.backbone, settled.precision, job.device))
        self._clock = Clock()
        way = Way.of(self.job, resizes=settled.resize == "torch", draws=settled.views == "torch")
        self._feeder = Feeder(self.job, parts, way, self._clock)
        self._forward = Forward(self.job, settled, way, self._clock)
        self._forward.warm(self._feeder.shape)

    def run(self, parts: Parts, todo: list[int], advance: Advance) -> None:
        """Compute the parts in `todo`, write each the moment it is full, and say how many images are done."""
        filling = _Filling(self.job, parts)
        # One batch stays in flight, so that a GPU computes while the next one is put together.
        in_flight: InFlight | None = None
        with contextlib.closing(self._feeder.batches(todo)) as batches:
            for fed in batches:
                launched = self._forward(fed, self._feeder)
                if in_flight is not None:
                    advance(filling.add(in_flight))
                in_flight = launched
                if self.job.device.type == "cpu":  # where a batch is done when it is launched
                    advance(filling.add(in_flight))
                    in_flight = None
            if in_flight is not None:
                advance(filling.add(in_flight))

    def bound(self, n_images: int, seconds: float) -> Bound | None:
        """Say what bound so many images that took so long."""
        passing, preparing = self._forward.seconds(n_images)
        return bound(self._clock, n_images, seconds, forward=passing, prepare=preparing)


class _Filling:
    """Gathers batches into the part that is being filled, and writes it the moment it is full."""

    def __init__(self, job: Job, parts: Parts) -> None:
        self._storage = job.options.storage
        self._on_error = job.options.on_error
        self._parts = parts
        self._clear()

    def _clear(self) -> None:
        self._features: list[NDArray[Any]] = []
        self._view_means: list[NDArray[np.float32]] = []
        self._scatter: NDArray[np.float64] | None = None
        self._errors: list[str] = []

    def add(self, batch: InFlight) -> int:
        """Take in a batch once it is computed; returns its number of images."""
        reason = next(filter(None, batch.errors), None)
        if reason and self._on_error == "fail":
            raise ImageError(f"{reason} Or give --on-error skip to leave such images out.")
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
            self._parts.write(batch.number, part)
            self._clear()
        return len(batch.errors)


def _refuse_broken(features: NDArray[np.float32], storage: str) -> None:
    if not np.isfinite(features).all():
        raise EmbedkitError(
            "the backbone gives NaN or infinite features. Give --precision fp32, or check the weights."
        )
    if storage == "float16" and features.size and np.abs(features).max() > np.finfo(np.float16).max:
        raise EmbedkitError("features are too large for float16 (over 65,504). Give --storage float32.")
