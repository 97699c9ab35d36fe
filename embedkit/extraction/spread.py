"""An extraction's parts, computed by the processes of an engine."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit import console
from embedkit.backbones.options import BackboneSpec
from embedkit.computing.device import kind_of
from embedkit.computing.engine import Done, Engine, There
from embedkit.computing.ray_engine import OnRay
from embedkit.computing.torchrun_engine import Torchrun
from embedkit.datasets.dataset import Dataset, spread_rows
from embedkit.errors import EmbedkitError, ImageError
from embedkit.extraction.begun import differences
from embedkit.extraction.job import Job, load_image
from embedkit.extraction.loop import Computed, Loop
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.parts import Part, Parts
from embedkit.extraction.settling import Settled, settle

# Images that a machine must read as this one does before it computes.
N_WITNESSES = 8


def settle_all(job: Job) -> dict[str, Any]:
    """Decide what all parts share, by a first batch on this job's device (`begun.SETTLED`)."""
    return {"precision": settle(job), "device": kind_of(job.device)}


def engine_of(job: Job, spec: BackboneSpec, parts: Parts) -> contextlib.AbstractContextManager[Engine | None]:
    """Return the engine that the options ask for; None for this process alone."""
    options = job.options
    if options.engine == "local":
        return contextlib.nullcontext()
    on_ray = options.engine == "ray"
    work = PartsWork(
        dataset=job.dataset,
        spec=spec,
        # Each process is to the others as if it were alone.
        options=replace(
            options,
            engine="local",
            address=None,
            processes=None,
            overwrite=False,
            device=options.device if on_ray else job.device.type,
        ),
        asked=job.asked,
        parts=parts,
        sends=on_ray,
        witnesses=_witnesses(job),
    )
    if on_ray:
        return OnRay(work, options.address, options.processes, options.device)
    return Torchrun(work, options.processes, cards=job.device.type == "cuda")


def spread(job: Job, parts: Parts, engine: Engine, todo: list[int], settled: Mapping[str, Any]) -> Computed:
    """Have an engine compute the parts in `todo`."""
    started = time.perf_counter()
    n_images = parts.n_rows(todo)
    with console.progress("extract", parts.n, unit="images") as advance:
        advance(parts.n - n_images)
        with contextlib.closing(engine.run(todo, settled)) as arriving:
            for done in arriving:
                if done.result is not None:
                    _hold_against_here(job, parts, done)
                    parts.write(done.number, done.result)
                advance(parts.n_rows([done.number]))
    return Computed(n_images, time.perf_counter() - started)


def _hold_against_here(job: Job, parts: Parts, done: Done) -> None:
    """Refuse a part without an image that can be read here: its machine doesn't see it."""
    rows = job.index[parts.slice(done.number)]
    for row, reason in zip(rows, done.result.errors, strict=True):
        if reason and not isinstance(load_image(job, int(row)), ImageError):
            raise EmbedkitError(
                f"{done.host}: {reason} It can be read here. The images have to lie in the same place on all "
                "machines."
            )


def _witnesses(job: Job) -> dict[int, str]:
    """Return digests of a few images, of those that can be read here."""
    found = {}
    for row in map(int, job.index[spread_rows(len(job.index), N_WITNESSES)]):
        with contextlib.suppress(ImageError, OSError):
            found[row] = _digest(job.dataset.read(row))
    return found


def _digest(image: bytes | NDArray[Any]) -> str:
    if isinstance(image, bytes):
        return hashlib.sha256(image).hexdigest()
    content = np.ascontiguousarray(image)
    return hashlib.sha256(f"{content.dtype.str}{content.shape}".encode() + content.tobytes()).hexdigest()


@dataclass(frozen=True)
class PartsWork:
    """What a process needs to compute parts of an extraction; see `embedkit.computing.engine.Work`.

    Parameters
    ----------
    dataset, spec, options
        Of the extraction.
    asked
        What fixes the numbers, which has to be the same in the process.
    parts
        Where they belong.
    sends
        Whether parts are sent back, or else written where they belong.
    witnesses
        Digests of some images by row.
    """

    dataset: Dataset
    spec: BackboneSpec
    options: ExtractOptions
    asked: Mapping[str, Any]
    parts: Parts
    sends: bool
    witnesses: Mapping[int, str] = field(default_factory=dict)

    def begin(self, threads: int, device: str | None = None) -> PartsComputing:
        """Load the backbone, and hold weights and images against those of the asking process."""
        workers = self.options.workers or min(16, threads)
        device = device or self.options.device
        job = Job.plan(self.dataset, self.spec, replace(self.options, workers=workers, device=device))
        here, there = self.asked["backbone"], job.asked["backbone"]
        for which in ("weights_sha256", "adapter_sha256"):
            if here[which] != there[which]:
                raise EmbedkitError(
                    f"{self.spec.backbone}: the {which.partition('_')[0]} are others than those of the "
                    f"asking process (SHA-256 {str(there[which])[:12]} and {str(here[which])[:12]}). The "
                    "same files have to lie in the same place on all machines."
                )
        others = differences(self.asked, job.asked)
        if others:
            raise EmbedkitError(f"computes something else than the asking process ({'; '.join(others[:4])}).")
        for row, digest in self.witnesses.items():
            try:
                same = _digest(self.dataset.read(row)) == digest
            except (EmbedkitError, OSError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                raise EmbedkitError(
                    f"{self.dataset.where(row)}: can't be read ({why}), as it can by the asking process. The "
                    "images have to lie in the same place on all machines."
                ) from error
            if not same:
                raise EmbedkitError(
                    f"{self.dataset.where(row)}: is another image than the asking process reads. The same "
                    "images have to lie in the same place on all machines."
                )
        return PartsComputing(self, job)


class PartsComputing:
    """A process that computes parts; see `embedkit.computing.engine.Computing`."""

    def __init__(self, work: PartsWork, job: Job) -> None:
        self._work = work
        self._job = job
        self._loop: Loop | None = None
        self.device = kind_of(job.device)

    def settle(self) -> dict[str, Any]:
        """Decide what all parts share, by a first batch."""
        return settle_all(self._job)

    def compute(self, numbers: Sequence[int], settled: Mapping[str, Any], there: There) -> None:
        """Compute parts, and tell of each."""
        telling = _Telling(self._work.parts, there, writes=not self._work.sends)
        # What fails in the middle of a part leaves some of it behind.
        loop, self._loop = self._loop or Loop(self._job, telling, Settled.of(settled["precision"])), None
        done = set() if self._work.sends else set(telling.finished())
        for number in done.intersection(numbers):  # before this process was started again
            there(number, None)
        todo = [number for number in numbers if number not in done]
        loop.run(telling, todo, lambda n=1: None)  # noqa: ARG005
        self._loop = loop


class _Telling(Parts):
    """Parts that are told of when they are finished."""

    def __init__(self, parts: Parts, there: There, *, writes: bool) -> None:
        super().__init__(parts.output, parts.n, parts.n_views)
        self.rows = parts.rows
        self._parts = parts
        self._there = there
        self._writes = writes

    def finished(self) -> list[int]:
        """Numbers of the parts that are done."""
        return self._parts.finished()

    def write(self, number: int, part: Part) -> None:
        """Store one part, or send it."""
        if self._writes:
            self._parts.write(number, part)
        self._there(number, None if self._writes else part)
