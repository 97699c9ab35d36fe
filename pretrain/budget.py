"""A schedule that follows from a budget of time: how fast a backbone trains here is measured, then fixed."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from embedkit import console
from embedkit.computing.device import choose_device
from embedkit.computing.peak import Peak, is_out_of_memory
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.aside import write_text
from embedkit.files.regular import read_bytes
from embedkit.strict_json import UndeclaredError, declared
from pretrain import ranks
from pretrain.journal import BEGIN_AGAIN, CHECKPOINT, as_today, check_asked, describe
from pretrain.options import PretrainOptions
from pretrain.schedules import warmup_steps
from pretrain.trainer import Run
from pretrain.without_labels import WithoutLabels

FILE = "schedule.json"
MOST_BYTES = 2**20
# docs/results/adapting.md: 660 steps of 32 images helped, and 177 of 64 with VICReg; 55 of 64 did not.
HELPED_STEPS, HELPED_IMAGES, LEAST_HELPED = 660, 660 * 32, 177 * 64
# VICReg's covariance is over a batch, and of few images says little.
SMALLEST, SMALLEST_WITHOUT_TEACHER, LARGEST = 16, 64, 512
# The default rates are for batches of 64. AdamW's follows the root of the size (Malladi et al. 2022).
OF_BATCH = 64
# Of the budget; the rest is for checkpoints, and what the images of one epoch differ from those of another.
USED = 0.95
# Steps before the clock is looked at, in which memory is taken and kernels are chosen; then at least so many.
FIRST, TIMED = 2, 3
TRIAL_SHARE, LONGEST_TRIAL = 0.02, 20.0  # of the budget; seconds
clock: Callable[[], float] = time.perf_counter

T = TypeVar("T", bound=PretrainOptions)
Begin = Callable[[PretrainOptions], WithoutLabels]


@dataclass(frozen=True)
class Measured:
    """How fast a backbone trains.

    Parameters
    ----------
    batch_size
        Of the steps that were timed.
    image_seconds
        Of training, for each image.
    look_seconds
        Of one look at the held-out images.
    spent
        Seconds of the budget that were gone when it was known.
    """

    batch_size: int
    image_seconds: float
    look_seconds: float
    spent: float


@dataclass(frozen=True)
class Schedule:
    """What a budget came to.

    Parameters
    ----------
    epochs, batch_size, lr
        As `embedkit pretrain` takes them.
    measured
        By which it was decided.
    """

    epochs: int
    batch_size: int
    lr: float
    measured: Measured

    def settled(self, options: T) -> T:
        """Return options without a budget, which say the same."""
        return replace(options, minutes=None, epochs=self.epochs, batch_size=self.batch_size, lr=self.lr)


@dataclass(frozen=True)
class _File:
    asked: dict[str, Any]
    schedule: Schedule


def batch_of(n_images: float, n_rows: int, options: PretrainOptions, *, unit: int) -> int:
    """Return the images of a batch: as many as leave the number of steps that has helped, a power of two.

    Parameters
    ----------
    n_images
        That the budget has time for.
    n_rows
        To train on; an epoch has four steps or more.
    unit
        What a batch must divide into: processes times parts.
    """
    if options.batch_size is not None:
        return options.batch_size
    least = SMALLEST if options.distils else SMALLEST_WITHOUT_TEACHER
    wanted = min(max(n_images / HELPED_STEPS, least), LARGEST, max(2, n_rows / 4))
    return max(unit, int(2 ** math.floor(math.log2(wanted))) // unit * unit)


def rate_of(batch_size: int, options: PretrainOptions) -> float:
    """Return the peak rate for a batch: the one that was given, or the default in the root of its size."""
    if options.lr is not None:
        return options.lr
    return float(f"{options.peak_lr * math.sqrt(batch_size / OF_BATCH):.3g}")


def images_in(seconds: float, measured: Measured, n_rows: int, options: PretrainOptions) -> float:
    """Return how many images can be trained on in a time, with looks at the held-out ones after epochs."""
    looks = measured.look_seconds / options.monitor_every / n_rows
    return max(0.0, seconds - measured.look_seconds) / (measured.image_seconds + looks)


def schedule_of(measured: Measured, n_rows: int, options: PretrainOptions) -> Schedule:
    """Return what a budget comes to, in whole epochs.

    Raises
    ------
    UsageError
        There is no time for one epoch.
    """
    assert options.minutes is not None
    size = measured.batch_size
    of_epoch = n_rows // size * size
    seconds = USED * 60 * options.minutes - measured.spent
    epochs = int(images_in(seconds, measured, of_epoch, options) / of_epoch)
    if epochs < 1:
        one = of_epoch * measured.image_seconds + 2 * measured.look_seconds + measured.spent
        raise UsageError(
            f"--minutes {options.minutes:g}: one epoch of {of_epoch:,} images takes "
            f"{of_epoch * measured.image_seconds / 60:,.1f} minutes at "
            f"{1 / measured.image_seconds:,.3g} images/s. Give --minutes {math.ceil(one / USED / 60)} or "
            "more, or fewer images."
        )
    return Schedule(epochs, size, rate_of(size, options), measured)


def sentences(schedule: Schedule, n_rows: int, options: PretrainOptions) -> list[str]:
    """Say what a run will do, and what has helped before where that is more."""
    assert options.minutes is not None
    measured, size = schedule.measured, schedule.batch_size
    of_epoch = n_rows // size
    steps = of_epoch * schedule.epochs
    n_images, n_looks = steps * size, 1 + math.ceil(schedule.epochs / options.monitor_every)
    warmup = warmup_steps(of_epoch, steps)
    budget = "1 minute is" if options.minutes == 1 else f"{options.minutes:g} minutes are"
    said = [
        f"At {1 / measured.image_seconds:,.3g} images/s, {budget} {n_images:,} images: "
        f"{schedule.epochs:,} epoch{'s' * (schedule.epochs > 1)} of {of_epoch * size:,}, {steps:,} steps of "
        f"{size}, the first {warmup:,} to warm up, at a peak rate of {schedule.lr:g}. "
        f"{n_looks:,} looks at held-out images take {n_looks * measured.look_seconds:,.1f} s of it."
    ]
    if n_images < LEAST_HELPED:
        wanted = measured.spent + HELPED_IMAGES * measured.image_seconds
        wanted += measured.look_seconds * HELPED_IMAGES / (of_epoch * size * options.monitor_every)
        said.append(
            f"That is little: {LEAST_HELPED:,} to {HELPED_IMAGES:,} images have helped, {55 * 64:,} have "
            f"not. About as many: --minutes {math.ceil(wanted / USED / 60)}."
        )
    return said


def measure(begin: Begin, options: PretrainOptions, *, started: float) -> Measured:
    """Time steps and a look of a run that is thrown away; all processes take the first one's times.

    Parameters
    ----------
    begin
        Makes the task of plain options.
    started
        When the budget began, by `clock`.
    """
    assert options.minutes is not None
    size = options.at_a_time
    # Epochs only set what rates fall to, and how fast a teacher moves: as in a long run.
    task = begin(replace(options, minutes=None, epochs=1000))
    run = Run(task, Path())
    longest = min(LONGEST_TRIAL, TRIAL_SHARE * 60 * options.minutes)
    begun, n_timed = 0.0, 0
    for batch in task.batches.ahead(0, task.steps):
        if run.step == FIRST:
            begun = clock()
        run.update(batch)
        run.step += 1
        n_timed = run.step - FIRST
        if n_timed >= TIMED and ranks.agreed(clock() - begun) >= longest:
            break
    now = clock()
    seconds = now - begun
    run.look()
    looked = clock()
    found = Measured(size, seconds / max(1, n_timed) / size, looked - now, looked - started)
    return ranks.agreed(found)


def decide(begin: Begin, n_rows: int, options: PretrainOptions, *, started: float) -> Schedule:
    """Measure with a small batch, choose one, and measure with that."""
    unit = ranks.world() * options.accumulate
    assert options.minutes is not None
    size = batch_of(0, n_rows, options, unit=unit)
    found = measure(begin, replace(options, batch_size=size), started=started)
    left = USED * 60 * options.minutes - found.spent
    wanted = batch_of(images_in(left, found, n_rows, options), n_rows, options, unit=unit)
    while wanted > size:
        try:
            found = measure(begin, replace(options, batch_size=wanted), started=started)
            break
        except Exception as error:
            # Other processes wait within a step, and can't be told.
            if not is_out_of_memory(error) or ranks.world() > 1:
                raise
            console.note(f"Batches of {wanted} do not fit into memory.")
        Peak(choose_device(options.device)).release()
        wanted = max(size, wanted // 2 // unit * unit)
    return schedule_of(found, n_rows, options)


def scheduled(
    begin: Begin,
    n_rows: int,
    options: PretrainOptions,
    folder: Path,
    *,
    asked: dict[str, Any],
    started: float,
) -> Schedule:
    """Return the schedule of a run with a budget: the one that was begun with, or a new one, written down.

    Parameters
    ----------
    asked
        What else fixes the run: images and backbone.

    Raises
    ------
    EmbedkitError
        The folder has a run of other options.
    UsageError
        There is no time for one epoch.
    """
    asked = json.loads(json.dumps(describe(options) | asked))
    kept = ranks.agreed(_read(folder, asked) if ranks.rank() == 0 else None)
    if kept is not None:
        console.note(f"{folder / FILE}: the schedule that this run was begun with.")
        return kept
    found = decide(begin, n_rows, options, started=started)
    if ranks.rank() == 0:
        write_text(folder / FILE, json.dumps(asdict(_File(asked, found)), indent=2) + "\n")
    return found


def _read(folder: Path, asked: dict[str, Any]) -> Schedule | None:
    path = folder / FILE
    if not os.path.lexists(path):
        if os.path.lexists(folder / CHECKPOINT):
            raise EmbedkitError(
                f"{folder}: has a run without --minutes ({CHECKPOINT}). Give its options, or another -o."
            )
        return None
    try:
        found = declared(read_bytes(path, BEGIN_AGAIN, at_most=MOST_BYTES).decode(), _File)
        if found.schedule.epochs < 1 or found.schedule.batch_size < 2 or not found.schedule.lr > 0:
            raise UndeclaredError("epochs, batch_size or lr")
    except (UndeclaredError, UnicodeDecodeError) as error:
        raise EmbedkitError(f"{path}: damaged ({error}). {BEGIN_AGAIN}") from error
    check_asked(path, json.loads(json.dumps(as_today(found.asked))), asked)
    return found.schedule
