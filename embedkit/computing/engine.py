"""Engines: who computes the numbered parts of a job, and tells of each that is there.

An engine knows nothing of images. It takes `Work`, which travels to the processes that compute, and the
numbers of parts. A part is idempotent: whichever process computes it, and however often, it is the same to
the last bit. So an engine may give a part out again, and a process that ends in the middle costs only that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

# Told the number of a part, and what came of it; None where it lies on the disk already.
There = Callable[[int, Any], None]


@dataclass(frozen=True)
class Done:
    """A part that is there.

    Parameters
    ----------
    number
        Of the part.
    result
        What came of it; None where it lies on the disk already.
    host
        The machine that computed it, where that is another one.
    """

    number: int
    result: Any = None
    host: str = ""


class Computing(Protocol):
    """A process that has loaded what every part needs."""

    @property
    def device(self) -> str:
        """The kind of device that it computes on."""

    def settle(self) -> dict[str, Any]:
        """Decide what all parts share and only a computing process can tell."""

    def compute(self, numbers: Sequence[int], settled: Mapping[str, Any], there: There) -> None:
        """Compute parts, in this order, and tell of each."""


class Work(Protocol):
    """What a process has to load, as it travels there: picklable, and light."""

    def begin(self, threads: int, device: str | None = None) -> Computing:
        """Load it, in the process that computes, with so many threads; raises `EmbedkitError`.

        `device` is what the engine holds for this process, if it holds any.
        """


class Engine(Protocol):
    """Processes that compute parts; they are there from ``with`` on, and gone after it."""

    def __enter__(self) -> Engine: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def devices(self) -> Sequence[str]:
        """The kinds of device that were met; none where they are this process's own."""

    def settle(self) -> dict[str, Any] | None:
        """Have one of the processes decide what all parts share; None where this process may."""

    def run(self, numbers: Sequence[int], settled: Mapping[str, Any]) -> Generator[Done]:
        """Compute parts; yields each the moment that it is there, in any order."""


def n_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_each(processes: int, cores: int | None = None) -> int:
    """Return how many threads each process computes with, so that together they fill the cores."""
    return max(1, (cores or n_cores()) // max(1, processes))
