"""A global batch that follows memory: larger where there is room, in smaller parts where there is none.

Every decision is written down with its step before it is acted on. So a run that was killed follows what was
decided, whatever its memory is like now, and computes what it would have computed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedkit import console
from embedkit.computing.peak import Peak
from embedkit.errors import EmbedkitError
from embedkit.files.aside import write_text
from embedkit.files.regular import read_bytes
from embedkit.strict_json import UndeclaredError, declared, of_shape
from pretrain import ranks

FILE = "batches.json"
MOST_BYTES = 2**24
# Of the limit; the rest is for what other processes and the allocator take.
USABLE = 0.9
BEGUN, SHRUNK, GROWN, KEPT = "begun", "out of memory", "room for twice as much", "no room for twice as much"


@dataclass(frozen=True)
class Held:
    """What holds from a step on.

    Parameters
    ----------
    step
        From which; an epoch's first, or one that memory ran out in.
    size
        Images of a batch, in all processes together.
    parts
        In which each process takes its share.
    why
        One of `BEGUN`, `SHRUNK`, `GROWN`, `KEPT`.
    peak, limit
        Bytes of the first process in the epoch before; 0 where they were not looked at.
    """

    step: int
    size: int
    parts: int
    why: str
    peak: int = 0
    limit: int = 0


@dataclass(frozen=True)
class _File:
    asked: str
    processes: int
    held: list[Held]


class Elastic:
    """The sizes of a run's batches, decided while it runs.

    Parameters
    ----------
    size, parts
        To begin with.
    largest
        Images that no batch exceeds.
    memory
        Of this process's device.
    folder
        For what is decided.
    asked
        What fixes the numbers of the run; decisions of another one are not followed.
    """

    def __init__(
        self, size: int, parts: int, *, largest: int, memory: Peak, folder: Path, asked: dict[str, Any]
    ) -> None:
        self.largest, self.memory, self.path = largest, memory, folder / FILE
        self.asked = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        self.begun = Held(0, size, parts, BEGUN)
        read = self._read() if ranks.rank() == 0 else []
        self.held = ranks.agreed(read) or [self.begun]

    def at(self, step: int) -> Held:
        """Return what holds for a step."""
        return [one for one in self.held if one.step <= step][-1]

    def layout(self, n_rows: int, epochs: int) -> tuple[list[int], list[int]]:
        """Return the batch size of each step, and the steps after which epochs end, as far as is known."""
        sizes: list[int] = []
        ends = []
        for _ in range(epochs):
            size = self.at(len(sizes)).size
            sizes += [size] * (n_rows // size)
            ends.append(len(sizes))
        return sizes, ends

    def shrink(self, step: int) -> None:
        """Let batches go in parts of half as many images, from this step on; all processes do.

        Raises
        ------
        EmbedkitError
            A part is one image already.
        """
        one = self._smaller(step)
        self._add(one)
        console.note(
            f"Out of memory at step {step}: batches stay {one.size:,} images, in {one.parts} parts of "
            f"{one.size // ranks.world() // one.parts:,} in each process."
        )

    def shrink_alone(self, step: int) -> EmbedkitError:
        """Write down that batches go in smaller parts, where the others wait and can't be told.

        Any process may; those that do write the same.

        Returns
        -------
        EmbedkitError
            With which this process ends: another start follows what is written.

        Raises
        ------
        EmbedkitError
            A part is one image already.
        """
        one = self._smaller(step)
        self._add(one, by=ranks.rank())
        return EmbedkitError(
            f"out of memory at step {step}, in which processes wait for each other. The same command goes on "
            f"from the last checkpoint, with batches of {one.size:,} images in {one.parts} parts of "
            f"{one.size // ranks.world() // one.parts:,} in each process, as {self.path} says now; "
            "on one machine, torchrun --max-restarts 9 starts it by itself."
        )

    def _smaller(self, step: int) -> Held:
        now = self.at(step)
        share = now.size // ranks.world()
        parts = next((n for n in range(2 * now.parts, share + 1) if share % n == 0), share)
        if parts <= now.parts:
            raise EmbedkitError(
                f"a step of {share // now.parts} image{'s' * (share > now.parts)} in one process does not "
                "fit into memory. Give a smaller --image-size, or another --backbone."
            )
        return Held(step, now.size, parts, SHRUNK)

    def grow(self, step: int, *, n_rows: int) -> None:
        """At the end of an epoch, let parts be twice as large where the peak leaves room in all processes.

        A size of part that ran out of memory is not tried again. Fewer parts come first, then larger batches.
        """
        if any(one.step == step and one.why in (GROWN, KEPT) for one in self.held):
            return  # decided before the run was killed
        now, world = self.at(step), ranks.world()
        part = now.size // world // now.parts
        peak, limit = self.memory.peak(), self.memory.limit()
        fits = 2 * peak - self.memory.base <= USABLE * limit and 2 * part < self._failed()
        size, parts = now.size, now.parts
        if parts > self.begun.parts and parts % 2 == 0:
            parts //= 2
        elif 2 * size <= min(self.largest, n_rows):
            size *= 2
        grows = not ranks.anywhere(not fits) and (size, parts) != (now.size, now.parts)
        found = Held(step, size, parts, GROWN) if grows else Held(step, now.size, now.parts, KEPT)
        # Of the first process: any may have to write the file one day, and all write the same.
        self._add(Held(step, found.size, found.parts, found.why, *ranks.agreed((peak, limit))))
        if grows:
            console.note(
                f"Memory has room ({peak / 1e9:.2f} of {limit / 1e9:.2f} GB): batches of {size:,} images "
                f"from step {step} on, in {parts} part{'s' * (parts > 1)} in each process."
            )

    def follow(self, kept: Sequence[Any]) -> None:
        """Take up what a checkpoint kept, where the file has not as much; raises `UndeclaredError`."""
        held = [of_shape(one, Held) for one in kept]
        if self.held[: len(held)] != held:
            self.held = held

    def _failed(self) -> float:
        """Return the least number of images in a part that ran out of memory."""
        before = zip(self.held, self.held[1:], strict=False)
        failed = [a.size // ranks.world() // a.parts for a, b in before if b.why == SHRUNK]
        return min(failed, default=float("inf"))

    def _add(self, one: Held, *, by: int = 0) -> None:
        self.held = [*self.held, one]
        if ranks.rank() == by:
            document = asdict(_File(self.asked, ranks.world(), self.held))
            write_text(self.path, json.dumps(document, indent=1) + "\n")

    def _read(self) -> list[Held]:
        if not os.path.lexists(self.path):
            return []
        fix = "Delete its folder to begin again, or give another -o."
        try:
            found = declared(read_bytes(self.path, fix, at_most=MOST_BYTES).decode(), _File)
        except (UndeclaredError, UnicodeDecodeError) as error:
            raise EmbedkitError(f"{self.path}: damaged ({error}). {fix}") from error
        if found.asked != self.asked:
            return []
        if found.processes != ranks.world():
            raise EmbedkitError(
                f"{self.path}: was begun with {found.processes} processes, and there are {ranks.world()}. "
                f"Its batches were decided by the memory of those. Start as many. {fix}"
            )
        return found.held
