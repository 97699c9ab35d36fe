"""Short branches from the same weights at several batch sizes, from which the critical size is measured."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedkit import console
from embedkit.backbones.network import Network
from embedkit.errors import UsageError
from pretrain import ranks
from pretrain.finetune.critical_batch import CriticalBatch, factors, measured
from pretrain.finetune.curve import Curve
from pretrain.finetune.noise_scale import POWER
from pretrain.finetune.options import FinetuneOptions
from pretrain.finetune.phase_options import Phase
from pretrain.finetune.planned import check_batches, first_size, phase_of, rows_of
from pretrain.finetune.recipe import Recipe
from pretrain.finetune.training import Lesson, PhaseTask
from pretrain.trainer import Run

FOLDER = "branches"
# Of the largest size; the other branches see as many images.
STEPS = 64
# Of each branch, spread evenly over its images.
LOOKS = 16
FEWEST = 8  # steps of the largest size


class Branch(PhaseTask):
    """The last phase, begun with batches of another size, and looked at often."""

    def __init__(self, network: Network, lesson: Lesson, folder: Path, *, n_images: int) -> None:
        super().__init__(network, lesson, len(lesson.recipe.phases) - 1, folder)
        self.ends = looks(n_images, self.batches.sizes[0])


def looks(n_images: int, size: int) -> list[int]:
    """Return the steps after which a branch is looked at, each once."""
    steps = n_images // size
    return sorted({round(steps * (i + 1) / LOOKS) for i in range(LOOKS)} - {0})


def length(phase: Phase, n_rows: int, sizes: Sequence[int]) -> int:
    """Return how many images each branch sees: no more than the phase does.

    Raises
    ------
    UsageError
        They are too few steps of the largest size.
    """
    largest = max(sizes)
    n = min(STEPS * largest, phase.epochs * n_rows)
    if n < FEWEST * largest or largest > n_rows:
        fix = min(n_rows, phase.epochs * n_rows // FEWEST)
        raise UsageError(
            f"--critical-batch: {phase.epochs} epochs of {n_rows:,} images are fewer than {FEWEST} batches "
            f"of {largest:,}. Give sizes of {fix:,} or less, or more epochs."
        )
    return n


def check_branches(recipe: Recipe, options: FinetuneOptions, n_rows: int) -> None:
    """Refuse sizes that images don't fill, or that processes can't share; raises `UsageError`."""
    sizes = options.critical_batch or ()
    length(phase_of(recipe, options, len(recipe.phases) - 1), n_rows, sizes)
    for size in sizes:
        check_batches(*_asked(recipe, options, size, epochs=1), [n_rows] * len(recipe.phases))


def measure(network: Network, lesson: Lesson, folder: Path) -> CriticalBatch:
    """Train every branch from the weights that the last phase begins with, and measure by them.

    Parameters
    ----------
    network
        As the last phase begins; it stays as it is.
    """
    recipe, options = lesson.recipe, lesson.options
    sizes, number = options.critical_batch or (), len(recipe.phases) - 1
    phase, reference = phase_of(recipe, options, number), options.lr_by_noise or first_size(recipe, options)
    n_rows = len(rows_of(phase, lesson.split.train, lesson.confidence))
    n_images = length(phase, n_rows, sizes)
    nearest = min(sizes, key=lambda size: (abs(np.log(size / reference)), size))
    found, predicted = {}, None
    for size in sizes:
        for factor in factors(size, reference, power=POWER[recipe.optimiser]):
            measures = size == nearest and factor == 1 and _has_parts(size, options)
            epochs = -(-(n_images // size) // (n_rows // size))
            how, asked = _asked(recipe, options, size, epochs=epochs, factor=factor)
            branch = replace(
                lesson,
                recipe=how,
                options=replace(asked, noise_scale=measures),
                asked={**lesson.asked, "branch": {"size": size, "factor": factor, "images": n_images}},
            )
            place = folder / FOLDER / f"size-{size}-rate-{factor:.3g}"
            console.note(f"Branch of {n_images:,} images in batches of {size:,}, rates times {factor:.3g}.")
            log = Run(Branch(deepcopy(network), branch, place, n_images=n_images), place).train().log
            found[size, factor] = Curve.of(log)
            predicted = log[-1]["noise_scale"] if measures else predicted
    return measured(found, predicted=predicted)


def _has_parts(size: int, options: FinetuneOptions) -> bool:
    """Whether the noise scale can be measured by gradients of parts of a batch."""
    if options.fsdp:
        return False
    return ranks.world() * options.accumulate > 1 or (size % 2 == 0 and size >= 4)


def _asked(
    recipe: Recipe, options: FinetuneOptions, size: int, *, epochs: int, factor: float = 1.0
) -> tuple[Recipe, FinetuneOptions]:
    """Return a recipe and options whose last phase is a branch of some epochs, at rates that stay."""
    phase = phase_of(recipe, options, len(recipe.phases) - 1)
    made = replace(
        phase,
        epochs=epochs,
        lr=phase.lr * factor,
        head_lr=None if phase.head_lr is None else phase.head_lr * factor,
        schedule="constant",
        end_lr=0.0,
        warmup_epochs=0,
        factor=None,
        every=None,
        stop_after=0,
    )
    return (
        replace(recipe, batch_plan=str(size), keep="last", phases=(*recipe.phases[:-1], made)),
        replace(
            options,
            batch_plan=None,
            phase_epochs=None,
            lr_by_noise=None,
            noise_scale=False,
            elastic_batch=None,
        ),
    )
