"""A dataset and a backbone -> a feature file: part by part, so that nothing finished is ever lost."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from embedkit import console
from embedkit.backbones.options import BackboneSpec
from embedkit.computing.device import kind_of
from embedkit.computing.processes import Ranks, share_work, under_torchrun
from embedkit.datasets.dataset import Dataset, spread_rows
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.extraction.begun import already_there, begin
from embedkit.extraction.bound import Bound
from embedkit.extraction.hints import say_crop, say_time
from embedkit.extraction.job import Job
from embedkit.extraction.loop import Computed, Loop
from embedkit.extraction.options import ExtractOptions
from embedkit.extraction.parts import Parts
from embedkit.extraction.remote_parts import parts_of
from embedkit.extraction.settling import Settled
from embedkit.extraction.spread import engine_of, settle_all, spread
from embedkit.files.feature_set import is_feature_set, is_nothing_else, opened_at
from embedkit.files.remote import Address, path_of
from embedkit.files.showing import data_frame, html_table, named_cells
from embedkit.images.remarks import remarks

_LOOKED_AT = 8  # images, before the first batch


@dataclass(frozen=True)
class Extraction:
    """What `extract` did.

    Parameters
    ----------
    path
        The feature file, or where it will be once every shard is done.
    n, d
        Rows and dimensions.
    n_failed
        Rows whose image could not be read.
    done
        ``extracted``, ``resumed``, ``already there``, or ``waiting`` for other shards.
    images_per_second
        Of this run, behind its first batch; None where it computed nothing.
    precision
        What the features were computed in.
    bound
        What bound this run, and the share of the bare forward rate that it reached.
    beginning
        Seconds until the first batch was done: the model to its device, compiling, first launches.
    """

    path: Path
    n: int
    d: int
    n_failed: int
    done: str
    images_per_second: float | None
    precision: str
    bound: Bound | None = None
    beginning: float | None = None

    def to_pandas(self) -> Any:
        """Return a DataFrame of one row."""
        return data_frame([asdict(self)])

    def _repr_html_(self) -> str:
        found = {"n": self.n, "d": self.d, "n_failed": self.n_failed, "precision": self.precision}
        return html_table(f"{self.path}: {self.done}", named_cells(found))


def extract(
    dataset: Dataset | str,
    output: str | os.PathLike[str],
    *,
    backbone: BackboneSpec | str | None = None,
    options: ExtractOptions | None = None,
) -> Extraction:
    """Compute features of every image and write them to one feature file.

    The same call again finds the finished file and does nothing; after an interruption it goes on from the
    last finished part. Under torchrun each process computes its share of the parts.

    Parameters
    ----------
    dataset
        A `Dataset`, or what `load_dataset` takes as source.
    output
        The feature file to make.
    backbone
        What to load; a string is a timm name.
    options
        How to compute and keep the features.

    Raises
    ------
    UsageError
        Options that exclude each other or name something unknown.
    EmbedkitError
        The output exists with other contents, an unreadable image, weights that can't be had, a full disk.
    """
    options = options or ExtractOptions()
    if not isinstance(backbone, BackboneSpec):
        backbone = BackboneSpec(backbone) if backbone else BackboneSpec()
    if isinstance(dataset, str):
        dataset = load_dataset(dataset)
    if options.engine != "local" and under_torchrun():
        raise UsageError(f"--engine {options.engine} under torchrun: leave out one of the two.")
    output = path_of(output)
    _check_output(output, options)
    job = Job.plan(dataset, backbone, options)
    parts = parts_of(output, len(job.index), job.views.n)
    with share_work(options.shard) as ranks:
        return _extract(job, backbone, parts, ranks)


def _check_output(output: Path, options: ExtractOptions) -> None:
    """Refuse a file where a folder of parts is to be, and the other way round."""
    if options.parts and isinstance(output, Address):
        raise UsageError(
            f"{output}: --parts leaves a folder on this machine. Give a path, or leave out --parts."
        )
    if not output.is_dir():
        if options.parts and output.exists():
            raise UsageError(f"{output}: is a file, and --parts leaves a folder. Name another place.")
        return
    if not options.parts:
        parts = " If its parts are to be a feature set, give --parts." if is_feature_set(output) else ""
        raise UsageError(f"{output}: is a folder. Name a file, such as {output / 'features.h5'}.{parts}")
    if not is_nothing_else(output):
        raise UsageError(f"{output}: holds other files than parts of a feature set. Name another folder.")


def _extract(job: Job, spec: BackboneSpec, parts: Parts, ranks: Ranks) -> Extraction:
    if ranks.from_leader(lambda: already_there(job, parts)):
        return _finished(parts.output, job)
    if ranks.leads:
        say_crop(job)
    parts.output.parent.mkdir(parents=True, exist_ok=True)
    with parts.locked(f"rank-{ranks.rank}-of-{ranks.world}"), engine_of(job, spec, parts) as engine:
        by_engine = engine.settle if engine is not None else lambda: None
        resumed, begun = ranks.from_leader(lambda: begin(job, parts, lambda: by_engine() or settle_all(job)))
        settled = Settled.of(begun["precision"])
        if ranks.leads and not resumed:
            _look(job)
        mine = range(ranks.rank, len(parts), ranks.world)
        if resumed:
            parts.discard_damaged(set(mine) & set(parts.finished()))
        todo = sorted(set(mine) - set(parts.finished()))
        if engine is None:
            computed = _compute(job, parts, todo, settled)
        else:
            computed = spread(job, parts, engine, todo, begun)
        ranks.barrier()
        if ranks.leads and len(parts.finished()) == len(parts):
            devices = {begun["device"], *(engine.devices if engine is not None else (kind_of(job.device),))}
            with parts.locked("join"):
                if len(parts.finished()) == len(parts):  # another shard may have joined them meanwhile
                    put = parts.leave if job.options.parts else parts.join
                    record = job.provenance(spec, begun["precision"], ", ".join(sorted(devices)))
                    put(job.dataset.rows.take(job.index), record)
        ranks.barrier()
    if not parts.output.exists():
        missing = len(parts) - len(parts.finished())
        console.note(f"{parts.output}: waiting for {missing} parts of other shards.")
        n, used = len(job.index), settled.precision
        rate, bound, beginning = computed.rate, computed.bound, computed.beginning or None
        return Extraction(parts.output, n, 0, 0, "waiting", rate, used, bound, beginning)
    return replace(
        _finished(parts.output, job),
        done="resumed" if resumed else "extracted",
        images_per_second=computed.rate,
        bound=computed.bound,
        beginning=computed.beginning or None,
    )


def _compute(job: Job, parts: Parts, todo: list[int], settled: Settled) -> Computed:
    """Compute and store the parts in `todo` in this process."""
    if not todo:
        return Computed()
    n_images = parts.n_rows(todo)
    loop = Loop(job, parts, settled)
    say_time(loop.job, n_images, settled.precision)
    with console.progress("extract", parts.n, unit="images") as advance:
        advance(parts.n - n_images)
        loop.run(parts, todo, advance)
    spent = loop.spent()
    return Computed(spent.n, spent.seconds, loop.bound(), loop.beginning)


def _look(job: Job) -> None:
    """Say what a few images show and the features never would."""
    rows = job.index[spread_rows(len(job.index), _LOOKED_AT)]

    def sources() -> Generator[bytes | NDArray[Any]]:
        for row in rows:
            with contextlib.suppress(ImageError, OSError):  # which is said in its turn
                yield job.dataset.read(int(row))

    for sentence in remarks(sources()):
        console.note(f"{job.dataset.name}: {sentence}.")


def _finished(path: Path, job: Job) -> Extraction:
    with opened_at(path) as file:
        n_failed = int((~file.ok).sum())
        if n_failed and job.options.on_error == "fail":
            name, reason = next(iter(file.errors.items()))
            raise EmbedkitError(
                f"{path}: {n_failed} of its {file.n} images were skipped as unreadable, such as {name!r}: "
                f"{reason} Give --on-error skip to accept them, or mend them and give --overwrite."
            )
        used = file.made.precision or "?"
        return Extraction(path, file.n, file.d, n_failed, "already there", None, used)
