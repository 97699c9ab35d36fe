"""Batches through the network on a device, one always on its way while the next is put together."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)

from embedkit.computing.device import PRECISIONS
from embedkit.errors import EmbedkitError, first_line
from embedkit.extraction.bound import FORWARD, LAUNCH, PREPARING, Clock, DeviceTime, Spent
from embedkit.extraction.feeding import Fed, Feeder
from embedkit.extraction.job import Job
from embedkit.extraction.settling import Settled
from embedkit.extraction.way import Way

# A pass alone is measured so often, behind some that warm up.
_WARM, _TIMED = 3, 7


@dataclass(frozen=True)
class InFlight:
    """The features of a batch, once `ready`.

    Parameters
    ----------
    number
        Of the part.
    features : (b, d)
    view_mean : (b, d), optional
    scatter : (d, d) float64, optional
        Summed over the batches of a part, with its last.
    errors
        Why an image could not be read, or ''.
    ready
        What a GPU has done by then.
    marks
        Events of a GPU: before and after it prepared the pixels, and behind the pass.
    """

    number: int
    features: torch.Tensor
    view_mean: torch.Tensor | None
    scatter: torch.Tensor | None
    errors: list[str]
    ready: torch.cuda.Event | None
    marks: tuple[Any, Any, Any] | None = None


class Forward:
    """Takes batches to the device, prepares them there, and starts their forward passes.

    Parameters
    ----------
    job
        With its model on the device, in the precision that was settled.
    settled
        How all parts are computed.
    way
        What of the preparation the device does.
    clock
        Counts passes and preparing on a CPU, where a batch is done when it is launched; of a GPU launches.
    """

    def __init__(self, job: Job, settled: Settled, way: Way, clock: Clock) -> None:
        self._job, self._settled, self._way, self._clock = job, settled, way, clock
        self._cuda = job.device.type == "cuda"
        self._copying: Any = torch.cuda.Stream(job.device) if self._cuda else None  # type: ignore[no-untyped-call]
        self._dtype = PRECISIONS[settled.precision]
        self._prepare, self._network = self._prepared, self._passed
        if settled.compiled:
            self._prepare = torch.compile(self._prepared, dynamic=False)
            self._network = torch.compile(self._passed, dynamic=False)
        self._scatter: torch.Tensor | None = None
        self._full: tuple[torch.Tensor, ...] = ()
        self._device_time = DeviceTime(partial(_event, job.device))

    def warm(self, shape: tuple[int, ...]) -> None:
        """Have the network compiled, on a batch of zeros of this shape."""
        if not self._settled.compiled:
            return
        blank: tuple[torch.Tensor, ...] = (torch.zeros(shape, dtype=torch.uint8, device=self._job.device),)
        drawn = self._way.room(shape[0], pinned=False)
        if drawn is not None:
            blank += (drawn.numbers.to(self._job.device), drawn.keys.to(self._job.device))
        try:
            # The compiler advises TF32, whose ten bits would lose levels of the resize.
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._network(self._prepare(*blank)).sum().item()
        except Exception as error:  # whatever a compiler and its parts raise
            raise EmbedkitError(
                f"{self._job.backbone.name} can't be compiled here ({first_line(error)}). Give --compile off."
            ) from error

    def __call__(self, fed: Fed, feeder: Feeder) -> InFlight:
        """Start the forward passes of one batch; on a GPU this returns before they are done."""
        n, v = len(fed.errors), self._job.views.n
        given = (fed.pixels, *((fed.drawn.numbers, fed.drawn.keys) if fed.drawn else ()))
        if not self._settled.compiled:
            given = tuple(x[:n] for x in given)
        # Outside of inference mode, as in `warm`: else it would be compiled once more.
        there = self._there(given, feeder)
        with torch.inference_mode():
            with self._clock(LAUNCH if self._cuda else PREPARING):
                before = self._mark()
                x = self._prepare(*there)
            with self._clock(LAUNCH if self._cuda else FORWARD):
                between = self._mark()
                features = self._network(x)[: n * v]  # (b v, d)
                behind = self._mark()
            if not self._full or len(there[0]) > len(self._full[0]):
                self._full = there
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
                scatter = scatter.to("cpu" if scatter.device.type == "mps" else scatter.device).double()
                self._scatter = scatter if self._scatter is None else self._scatter + scatter
                scatter, self._scatter = (self._scatter, None) if fed.last else (None, self._scatter)
                features = by_image.mean(dim=1)
            if not self._cuda:
                return InFlight(fed.number, features, view_mean, scatter, fed.errors, None)
            back = [None if x is None else _host(x) for x in (features, view_mean, scatter)]
            ready = torch.cuda.current_stream(self._job.device).record_event()
        marks = (before, between, behind)
        return InFlight(fed.number, back[0], back[1], back[2], fed.errors, ready, marks)  # type: ignore[arg-type]

    def done(self, batch: InFlight) -> None:
        """Read what the device took for a batch that is done."""
        if batch.marks is not None:
            self._device_time.took(len(batch.errors), batch.marks)

    def _mark(self) -> Any:
        return self._device_time.mark() if self._cuda else None

    def of_an_image(self, spent: Spent) -> tuple[float, float]:
        """Seconds that the device prepares the pixels of an image, and passes it.

        On a GPU a full batch is computed again for it, with nothing beside it.
        """
        if not self._full or not spent.n:
            return 0.0, 0.0
        if not self._cuda:
            return spent.stages[PREPARING] / spent.n, spent.stages[FORWARD] / spent.n
        full, n = self._full, len(self._full[0])
        with torch.inference_mode():
            x = self._prepare(*full)
            preparing, passing = (
                _seconds(call, self._job.device) / n
                for call in (lambda: self._prepare(*full), lambda: self._network(x))
            )
        return self._device_time.of_an_image((preparing, passing))

    def _there(self, given: tuple[torch.Tensor, ...], feeder: Feeder) -> tuple[torch.Tensor, ...]:
        """Copy a batch to the device, beside what that computes."""
        device = self._job.device
        if self._copying is None:
            return tuple(x.to(device) for x in given)
        with torch.cuda.stream(self._copying):
            there = tuple(x.to(device, non_blocking=True) for x in given)
        copied = self._copying.record_event()
        feeder.copied(copied)
        current = torch.cuda.current_stream(device)
        current.wait_event(copied)
        for x in there:
            x.record_stream(current)
        return there

    def _prepared(self, *given: torch.Tensor) -> torch.Tensor:
        """Convert a batch as it is fed into (b v, c, s, s), normalised."""
        return self._job.backbone.preprocessing.normalize(self._way(*given)).to(self._dtype)

    def _passed(self, x: torch.Tensor) -> torch.Tensor:
        return self._job.pooling(self._job.backbone, x)


def _host(x: torch.Tensor) -> torch.Tensor:
    """Have a GPU copy to pinned memory once it has computed this, without waiting for it."""
    out = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
    return out.copy_(x, non_blocking=True)


def _event(device: torch.device) -> Any:
    """Record an event that tells the time on the stream of a GPU, which need not be the current one."""
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    return torch.cuda.current_stream(device).record_event(event)


def _seconds(compute: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one call on a GPU that is warm: the median of some."""
    found = []
    for _ in range(_WARM + _TIMED):
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        compute()
        torch.cuda.synchronize(device)
        found.append(time.perf_counter() - started)
    return statistics.median(found[_WARM:])
