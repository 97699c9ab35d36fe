"""What an extraction spent its time on, and which of it bound the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# In the order in which an image passes them. The first three are seconds of threads, side by side.
READ, DECODE, PREPARE, FORWARD = "read", "decode", "prepare", "forward"
IN_THREADS = (READ, DECODE, PREPARE)


class Clock:
    """Adds up seconds by stage, in any number of threads."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys((*IN_THREADS, FORWARD, "waiting"), 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what happens inside to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            with self._lock:
                self.seconds[stage] += spent


@dataclass(frozen=True)
class Bound:
    """What bound an extraction.

    Parameters
    ----------
    stage
        ``read``, ``decode``, ``prepare`` (resize, views, normalisation) or ``forward``.
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


def bound(clock: Clock, n_images: int, seconds: float, *, forward: float, prepare: float) -> Bound | None:
    """Say what bound `n_images` that took `seconds` in all.

    Parameters
    ----------
    clock
        What the threads spent, and how long the loop waited for them.
    n_images, seconds
        What was done.
    forward, prepare
        Seconds that the device computes for all of them: in forward passes, and in preparing pixels.
    """
    if not n_images or seconds <= 0 or forward <= 0:
        return None
    if clock.seconds["waiting"] > seconds - clock.seconds["waiting"]:
        stage = max(IN_THREADS, key=lambda name: clock.seconds[name])
    else:
        stage = FORWARD if forward >= prepare else PREPARE
    return Bound(stage, min(1.0, forward / seconds), n_images / forward)
