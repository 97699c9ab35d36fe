"""Batches through the network on a device, one always on its way while the next is put together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)

from embedkit.computing.device import PRECISIONS
from embedkit.datasets.stacks import Stack
from embedkit.errors import EmbedkitError, first_line
from embedkit.extraction.bound import FORWARD, Clock
from embedkit.extraction.feeding import Fed, Feeder
from embedkit.extraction.job import Job
from embedkit.extraction.settling import Settled
from embedkit.images.resampling import Resampler

# Batches whose time is taken for the bare rate; fewer images in all are not worth it.
_TIMED = 10


@dataclass(frozen=True)
class InFlight:
    """The features of a batch, once `ready`.

    Parameters
    ----------
    number
        Of the part.
    features : (b, d)
    view_mean : (b, d), optional
    scatter : (d, d), optional
    errors
        Why an image could not be read, or ''.
    ready
        What a GPU has done by then.
    """

    number: int
    features: torch.Tensor
    view_mean: torch.Tensor | None
    scatter: torch.Tensor | None
    errors: list[str]
    ready: torch.cuda.Event | None


class Forward:
    """Takes batches to the device, prepares them there, and starts their forward passes.

    Parameters
    ----------
    job
        With its model on the device, in the precision that was settled.
    settled
        How all parts are computed.
    stack
        The images as one array, where the device resizes them.
    clock
        Counts forward passes on a CPU, where a batch is done when it is launched.
    """

    def __init__(self, job: Job, settled: Settled, stack: Stack | None, clock: Clock) -> None:
        self._job, self._settled, self._clock = job, settled, clock
        self._cuda = job.device.type == "cuda"
        self._copying: Any = torch.cuda.Stream(job.device) if self._cuda else None  # type: ignore[no-untyped-call]
        self._resample: Any = None
        if stack is not None:
            self._resample = Resampler(job.backbone.preprocessing, stack.shape[:2]).to(job.device)
        self._dtype = PRECISIONS[settled.precision]
        self._prepare, self._network = self._prepared, self._passed
        if settled.compiled:
            self._prepare = torch.compile(self._prepared, dynamic=False)
            self._network = torch.compile(self._passed, dynamic=False)
        self._last: torch.Tensor | None = None

    def warm(self, shape: tuple[int, ...]) -> None:
        """Have the network compiled, on a batch of zeros of this shape."""
        if not self._settled.compiled:
            return
        blank = torch.zeros(shape, dtype=torch.uint8, device=self._job.device)
        try:
            with torch.inference_mode():
                self._network(self._prepare(blank)).sum().item()
        except Exception as error:  # whatever a compiler and its parts raise
            raise EmbedkitError(
                f"{self._job.backbone.name} can't be compiled here ({first_line(error)}). Give --compile off."
            ) from error

    def __call__(self, fed: Fed, feeder: Feeder) -> InFlight:
        """Start the forward passes of one batch; on a GPU this returns before they are done."""
        n, v = len(fed.errors), self._job.views.n
        pixels = fed.pixels if self._settled.compiled else fed.pixels[:n]
        # Outside of inference mode, as in `warm`: else it would be compiled once more.
        there = self._there(pixels, feeder)
        with torch.inference_mode():
            with self._clock(FORWARD):
                features = self._network(self._prepare(there))[: n * v]  # (b v, d)
            self._last = there
            view_mean = scatter = None
            if v > 1:
                by_image = features.reshape(n, v, -1)  # (b, v, d)
                unit = F.normalize(by_image, dim=2)
                view_mean = unit.mean(dim=1)  # (b, d)
                off = unit - view_mean[:, None]
                if any(fed.errors):
                    off = off[torch.tensor([not error for error in fed.errors])]
                off = off.flatten(0, 1)
                scatter = off.T @ off  # (d, d)
                features = by_image.mean(dim=1)
            if not self._cuda:
                return InFlight(fed.number, features, view_mean, scatter, fed.errors, None)
            back = [None if x is None else _host(x) for x in (features, view_mean, scatter)]
            ready = torch.cuda.current_stream(self._job.device).record_event()
        return InFlight(fed.number, back[0], back[1], back[2], fed.errors, ready)  # type: ignore[arg-type]

    def seconds(self, n_images: int) -> tuple[float, float]:
        """Seconds of the device for so many images: in forward passes, and in preparing their pixels.

        On a GPU from the last batch, computed again a few times: its clock is not the loop's.
        """
        if self._last is None:
            return 0.0, 0.0
        if not self._cuda:
            return self._clock.seconds[FORWARD], 0.0
        last, each = self._last, n_images / self._last.shape[0]
        with torch.inference_mode():
            x = self._prepare(last)
            return each * _timed(lambda: self._network(x)), each * _timed(lambda: self._prepare(last))

    def _there(self, pixels: torch.Tensor, feeder: Feeder) -> torch.Tensor:
        """Copy a batch to the device, beside what that computes."""
        if self._copying is None:
            return pixels.to(self._job.device)
        with torch.cuda.stream(self._copying):
            there = pixels.to(self._job.device, non_blocking=True)
        copied = self._copying.record_event()
        feeder.copied(copied)
        current = torch.cuda.current_stream(self._job.device)
        current.wait_event(copied)
        there.record_stream(current)
        return there

    def _prepared(self, batch: torch.Tensor) -> torch.Tensor:
        """Pixels of a batch as they are fed -> (b v, c, s, s), normalised."""
        if self._resample is not None:
            batch = _turned(self._resample(batch), self._job.views.kind)  # (b, v, s, s, c)
        return self._job.backbone.preprocessing.normalize(batch.flatten(0, 1)).to(self._dtype)

    def _passed(self, x: torch.Tensor) -> torch.Tensor:
        return self._job.pooling(self._job.backbone, x)


def _turned(batch: torch.Tensor, kind: str) -> torch.Tensor:
    """(b, s, s, c) -> (b, v, s, s, c): the views of `embedkit.images.views` that are exact."""
    if kind == "1":
        return batch[:, None]
    turns = [torch.rot90(batch, turn, (1, 2)) for turn in range(4)]
    if kind == "d4":
        turns += [turned.flip(2) for turned in turns]
    return torch.stack(turns, dim=1)


def _host(x: torch.Tensor) -> torch.Tensor:
    """Have a GPU copy to pinned memory once it has computed this, without waiting for it."""
    out = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
    return out.copy_(x, non_blocking=True)


def _timed(compute: Any) -> float:
    """Seconds of one call on a GPU."""
    compute()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(_TIMED):
        compute()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / _TIMED
