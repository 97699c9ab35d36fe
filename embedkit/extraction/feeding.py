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

from embedkit.errors import ImageError
from embedkit.extraction.bound import PREPARE, READ, Clock
from embedkit.extraction.job import Job, load_image, load_with
from embedkit.extraction.parts import Parts
from embedkit.extraction.way import Way
from embedkit.images.drawing import Canvas, Drawn, canvas_of

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
        Prepared, or as stored, or resized to draw views of; pinned for a GPU. An image that can't be read is
        zeros, and so is what is beyond the last.
    errors
        Why an image could not be read, or ''; as many as there are images.
    drawn
        What is random in views that the device draws.
    last
        Whether it ends its part.
    """

    number: int
    pixels: torch.Tensor
    errors: list[str]
    drawn: Drawn | None
    last: bool


@dataclass
class _Slot:
    pixels: torch.Tensor
    drawn: Drawn | None
    copied: torch.cuda.Event | None = None
    number: int = -1
    n: int = 0
    last: bool = False
    pieces: list[Future[list[str]]] = field(default_factory=list)

    def fed(self) -> Fed:
        errors = [error for piece in self.pieces for error in piece.result()]
        self.pixels[self.n :] = 0
        return Fed(self.number, self.pixels, errors, self.drawn, self.last)


class Feeder:
    """Puts batches together; threads, because what they do releases the interpreter lock.

    No second copy of anything, no shared memory to run out of, no process left behind by a kill. A batch
    never spans two parts, so that a resumed run computes the same batches, and so the same bits, as one that
    was never interrupted.

    Parameters
    ----------
    job, parts
        What is to be computed.
    way
        What is left to the device; where that is nothing, images are prepared by `load_image`.
    clock
        Counts what the threads spend.
    """

    def __init__(self, job: Job, parts: Parts, way: Way, clock: Clock) -> None:
        self._job, self._parts, self._way, self._clock = job, parts, way, clock
        size = max(1, job.options.batch_size // job.views.n)
        self.size = min(size, parts.rows, len(job.index))
        self._workers = job.options.workers or min(16, os.cpu_count() or 1)
        self._copied: torch.cuda.Event | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a full batch."""
        return (self.size, *self._way.shape)

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
            for number, rows, last in self._plan(todo):
                slot = free.popleft()
                if slot.copied is not None:
                    slot.copied.synchronize()
                slot.number, slot.n, slot.last = number, len(rows), last
                slot.pieces = [pool.submit(*piece) for piece in self._pieces(rows, slot)]
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

    def _plan(self, todo: list[int]) -> Iterator[tuple[int, NDArray[np.int64], bool]]:
        for number in todo:
            part = self._parts.slice(number)
            for start in range(part.start, part.stop, self.size):
                stop = min(start + self.size, part.stop)
                yield number, self._job.index[start:stop], stop == part.stop

    def _slots(self, most: int, todo: list[int]) -> list[_Slot]:
        n = min(most, sum(1 for _ in self._plan(todo)))
        pinned = self._job.device.type == "cuda"
        return [
            _Slot(
                torch.zeros(self.shape, dtype=torch.uint8, pin_memory=pinned),
                self._way.room(self.size, pinned=pinned),
            )
            for _ in range(n)
        ]

    def _pieces(self, rows: NDArray[np.int64], slot: _Slot) -> Iterator[tuple[Any, ...]]:
        if self._way.stack is None:
            yield from ((self._load, int(row), i, slot) for i, row in enumerate(rows))
            return
        step = _PIECE if self._way.stack.parallel else len(rows)
        for start in range(0, len(rows), step):
            yield self._read, rows[start : start + step], start, slot

    def _read(self, rows: NDArray[np.int64], start: int, slot: _Slot) -> list[str]:
        """Read images of an array into a slot, from place `start` on."""
        assert self._way.stack is not None
        with self._clock(READ):
            errors = self._way.stack.read_into(rows, slot.pixels[start : start + len(rows)].numpy())
        if slot.drawn is not None and self._way.canvas is not None:
            with self._clock(PREPARE):
                for i, row in enumerate(rows, start):
                    self._draw(int(row), i, slot.drawn, self._way.canvas)
        return errors

    def _load(self, row: int, i: int, slot: _Slot) -> list[str]:
        """Read, decode and prepare one image into place `i` of a slot."""
        out, drawn = slot.pixels[i].numpy(), slot.drawn
        if drawn is None:
            found = load_image(self._job, row, self._clock)
        else:
            done, where = self._job.backbone.preprocessing, self._job.dataset.where(row)

            def canvas(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
                shown, place = canvas_of(pixels, done, where)
                self._draw(row, i, drawn, place)
                return shown

            found = load_with(canvas, self._job, row, self._clock)
        if isinstance(found, ImageError):
            out[:] = 0
            return [str(found)]
        out[:] = found
        return [""]

    def _draw(self, row: int, i: int, drawn: Drawn, canvas: Canvas) -> None:
        drawn.draw(i, canvas, image_id=str(self._job.dataset.rows.ids[row]), seed=self._job.options.seed)
