"""What an extraction spent its time on, and which of it bound the rest."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# In the order in which an image passes them. The first three are seconds of threads, side by side.
READ, DECODE, PREPARE, LAUNCH, FORWARD, WRITE = "read", "decode", "prepare", "launch", "forward", "write"
IN_THREADS = (READ, DECODE, PREPARE)
# The loop waits for the threads.
WAITING = "waiting"
# A CPU prepares a batch as a GPU would.
PREPARING = "preparing"


@dataclass(frozen=True)
class Spent:
    """What images took.

    Parameters
    ----------
    n, seconds
        Images, and the clock's seconds for all of them.
    stages
        Seconds by stage; those of threads add up side by side.
    """

    n: int
    seconds: float
    stages: dict[str, float]


class Clock:
    """Adds up seconds by stage, in any number of threads, and tells the first batch from those behind it.

    The first waits for what is done once: memory is reserved, libraries are loaded, the pipeline fills.

    Parameters
    ----------
    now
        Tells seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._made = self._since = now()
        self._stages = self._no_stages()
        self._first: Spent | None = None
        self._n, self._seconds = 0, 0.0
        self.beginning = 0.0  # seconds until the first batch was done

    @staticmethod
    def _no_stages() -> dict[str, float]:
        return dict.fromkeys((*IN_THREADS, PREPARING, LAUNCH, FORWARD, WRITE, WAITING), 0.0)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what happens inside to a stage."""
        started = self._now()
        try:
            yield
        finally:
            spent = self._now() - started
            with self._lock:
                self._stages[stage] += spent

    def start(self) -> None:
        """Say that batches begin, now or once more."""
        self._since = self._now()

    def done(self, n: int) -> None:
        """Say that a batch of `n` images has been taken in; 0 at the end of what was started."""
        now = self._now()
        self._n, self._seconds, self._since = self._n + n, self._seconds + now - self._since, now
        if self._first is None and n:
            self.beginning = now - self._made
            with self._lock:
                self._first = Spent(self._n, self._seconds, self._stages)
                self._stages = self._no_stages()
            self._n, self._seconds = 0, 0.0

    def spent(self) -> Spent:
        """Say what the images behind the first batch took; with it, where they are fewer."""
        first = self._first or Spent(0, 0.0, self._no_stages())
        with self._lock:
            behind = Spent(self._n, self._seconds, dict(self._stages))
        if behind.n >= first.n:
            return behind
        both = {stage: seconds + first.stages[stage] for stage, seconds in behind.stages.items()}
        return Spent(behind.n + first.n, behind.seconds + first.seconds, both)


class DeviceTime:
    """What a device computes for an image, by events on its stream around each batch.

    Where the processor starts kernels more slowly than the device computes them, the time between two events
    holds gaps. So what a batch takes alone is measured too, and the smaller of the two holds.

    Parameters
    ----------
    mark
        Records an event where the stream is now; it has ``elapsed_time(later)`` in milliseconds.
    """

    def __init__(self, mark: Callable[[], Any]) -> None:
        self.mark = mark
        self._largest = 0
        self._spans: list[tuple[float, float]] = []

    def took(self, n: int, marks: tuple[Any, Any, Any]) -> None:
        """Read the events before and after pixels were prepared and behind the pass, of `n` images."""
        if n < self._largest:  # a device computes few images for the price of many
            return
        if n > self._largest:
            self._largest, self._spans = n, []
        before, between, behind = marks
        self._spans.append((before.elapsed_time(between) / 1e3 / n, between.elapsed_time(behind) / 1e3 / n))

    def of_an_image(self, alone: tuple[float, float] | None) -> tuple[float, float]:
        """Seconds of preparing pixels and of the forward pass, where they take `alone` by themselves."""
        preparing, passing = (statistics.median(spans) for spans in zip(*self._spans, strict=True))
        if alone is not None:
            preparing, passing = min(preparing, alone[0]), min(passing, alone[1])
        return preparing, passing


@dataclass(frozen=True)
class Bound:
    """What bound an extraction.

    Parameters
    ----------
    stage
        ``read``, ``decode``, ``prepare`` (resize, views, normalisation), ``launch`` (the processor starts
        what a GPU computes), ``forward`` or ``write``.
    share
        Of the rate that forward passes alone would reach on the device.
    forward_rate
        That rate, in images/s.
    """

    stage: str
    share: float
    forward_rate: float

    @property
    def words(self) -> str:
        """One phrase for the last line."""
        return (
            f"bound by {self.stage}, {self.share:.0%} of the {self.forward_rate:,.1f} images/s of forward "
            "passes alone"
        )


def bound(spent: Spent, *, forward: float, prepare: float) -> Bound | None:
    """Say which stage had the largest share of the time: of the loop, or of the device.

    Parameters
    ----------
    spent
        What the images took.
    forward, prepare
        Seconds that the device computes for one of them: in forward passes, and in preparing its pixels.
    """
    if not spent.n or spent.seconds <= 0 or forward <= 0:
        return None
    # The run itself shows that a pass takes no longer.
    forward = min(forward, spent.seconds / spent.n)
    slowest = max(IN_THREADS, key=lambda name: spent.stages[name])
    shares = [
        (forward * spent.n, FORWARD),
        (prepare * spent.n, PREPARE),
        (spent.stages[WAITING], slowest),
        (spent.stages[LAUNCH], LAUNCH),
        (spent.stages[WRITE], WRITE),
    ]
    _, stage = max(shares, key=lambda share: share[0])
    return Bound(stage, forward * spent.n / spent.seconds, 1 / forward)
