"""Images for the network, a batch at a time, put together ahead by a pool of threads."""

from __future__ import annotations

import collections
import os
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.datasets.stacks import Stack
from embedkit.errors import ImageError
from embedkit.extraction.bound import READ, Clock
from embedkit.extraction.job import Job, load_image
from embedkit.extraction.parts import Parts

# Images that one thread reads at once, of an array that threads read side by side: 13 MB of 256 x 256.
_PIECE = 64


@dataclass
class Fed:
    """One batch in memory that is used again once it was copied to the device.

    Parameters
    ----------
    number
        Of the part that it belongs to.
    pixels : (size, v, s, s, c) or (size, h, w, c) uint8
        Prepared, or as stored; pinned for a GPU. An image that can't be read is zeros, and so is what is
        beyond the last.
    errors
        Why an image could not be read, or ''; as many as there are images.
    """

    number: int
    pixels: torch.Tensor
    errors: list[str]


@dataclass
class _Slot:
    pixels: torch.Tensor
    copied: torch.cuda.Event | None = None
    number: int = -1
    n: int = 0
    pieces: list[Future[list[str]]] = field(default_factory=list)

    def fed(self) -> Fed:
        errors = [error for piece in self.pieces for error in piece.result()]
        self.pixels[self.n :] = 0
        return Fed(self.number, self.pixels, errors)


class Feeder:
    """Puts batches together; threads, because what they do releases the interpreter lock.

    No second copy of anything, no shared memory to run out of, no process left behind by a kill. A batch
    never spans two parts, so that a resumed run computes the same batches, and so the same bits, as one that
    was never interrupted.

    Parameters
    ----------
    job, parts
        What is to be computed.
    stack
        The images as one array, where the device resizes them; else each is prepared by `load_image`.
    clock
        Counts what the threads spend.
    """

    def __init__(self, job: Job, parts: Parts, stack: Stack | None, clock: Clock) -> None:
        self._job, self._parts, self._stack, self._clock = job, parts, stack, clock
        size = max(1, job.options.batch_size // job.views.n)
        self.size = min(size, parts.rows, len(job.index))
        self._workers = job.options.workers or min(16, os.cpu_count() or 1)
        self._copied: torch.cuda.Event | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a full batch."""
        if self._stack is not None:
            return (self.size, *self._stack.shape)
        done = self._job.backbone.preprocessing
        channels = 3 if done.channels == 1 else done.channels  # grey comes as three
        return (self.size, self._job.views.n, done.image_size, done.image_size, channels)

    def copied(self, event: torch.cuda.Event) -> None:
        """Say when the batch that was yielded last has left its memory."""
        self._copied = event

    def batches(self, todo: list[int]) -> Generator[Fed]:
        """Yield batches in order; the memory of one is filled anew some batches later."""
        ahead = 2 + -(-2 * self._workers // self.size)
        free = collections.deque(self._slots(ahead + 2, todo))
        waiting: collections.deque[_Slot] = collections.deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="decode")
        try:
            for number, rows in self._plan(todo):
                slot = free.popleft()
                if slot.copied is not None:
                    slot.copied.synchronize()
                slot.number, slot.n = number, len(rows)
                slot.pieces = [pool.submit(*piece) for piece in self._pieces(rows, slot.pixels)]
                waiting.append(slot)
                if len(waiting) > ahead:
                    yield from self._next(waiting, free)
            while waiting:
                yield from self._next(waiting, free)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _next(self, waiting: collections.deque[_Slot], free: collections.deque[_Slot]) -> Iterator[Fed]:
        slot = waiting.popleft()
        with self._clock("waiting"):
            fed = slot.fed()
        self._copied = None
        yield fed
        slot.copied = self._copied
        free.append(slot)

    def _plan(self, todo: list[int]) -> Iterator[tuple[int, NDArray[np.int64]]]:
        for number in todo:
            part = self._parts.slice(number)
            for start in range(part.start, part.stop, self.size):
                yield number, self._job.index[start : min(start + self.size, part.stop)]

    def _slots(self, most: int, todo: list[int]) -> list[_Slot]:
        n = min(most, sum(1 for _ in self._plan(todo)))
        pinned = self._job.device.type == "cuda"
        return [_Slot(torch.zeros(self.shape, dtype=torch.uint8, pin_memory=pinned)) for _ in range(n)]

    def _pieces(self, rows: NDArray[np.int64], pixels: torch.Tensor) -> Iterator[tuple[Any, ...]]:
        out = pixels.numpy()
        if self._stack is None:
            yield from ((self._load, int(row), out[i]) for i, row in enumerate(rows))
            return
        step = _PIECE if self._stack.parallel else len(rows)
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            yield self._read, some, out[start : start + len(some)]

    def _read(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> list[str]:
        assert self._stack is not None
        with self._clock(READ):
            return self._stack.read_into(rows, out)

    def _load(self, row: int, out: NDArray[np.uint8]) -> list[str]:
        views = load_image(self._job, row, self._clock)
        if isinstance(views, ImageError):
            out[:] = 0
            return [str(views)]
        out[:] = views
        return [""]
