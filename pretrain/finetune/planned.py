"""The steps of a phase, as recipe and options plan them: how many images each has, and where epochs end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, UsageError
from pretrain import ranks
from pretrain.finetune.batch_plan import BatchPlan, parse_batch_plan
from pretrain.finetune.options import FinetuneOptions
from pretrain.finetune.phase_options import Phase
from pretrain.finetune.recipe import Recipe


def phase_of(recipe: Recipe, options: FinetuneOptions, number: int) -> Phase:
    """Return a phase with the epochs that were asked for.

    Raises
    ------
    UsageError
        Epochs of another number of phases.
    """
    phase = recipe.phases[number]
    if options.phase_epochs is None:
        return phase
    if len(options.phase_epochs) != len(recipe.phases):
        given, plural = ("s" if n > 1 else "" for n in (len(options.phase_epochs), len(recipe.phases)))
        raise UsageError(
            f"--phase-epochs gives {len(options.phase_epochs)} number{given}, and the recipe has "
            f"{len(recipe.phases)} phase{plural}. Give one for each, such as --phase-epochs "
            + ",".join(str(one.epochs) for one in recipe.phases)
            + "."
        )
    epochs = options.phase_epochs[number]
    return replace(phase, epochs=epochs, warmup_epochs=min(phase.warmup_epochs, epochs - 1))


def _plan_of(recipe: Recipe, options: FinetuneOptions) -> BatchPlan:
    """Return the batch plan that was asked for, else the recipe's."""
    return recipe.plan if options.batch_plan is None else parse_batch_plan(options.batch_plan)


def steps_of(
    recipe: Recipe, options: FinetuneOptions, phase: Phase, n_rows: int
) -> tuple[list[int], Sequence[int]]:
    """Return the batch size of each step, and the steps after which epochs end."""
    plan = _plan_of(recipe, options)
    ends = plan.ends(n_rows, phase.epochs)
    starts = [0, *ends[:-1]]
    sizes = [
        size
        for size, start, end in zip(plan.sizes(phase.epochs), starts, ends, strict=True)
        for _ in range(end - start)
    ]
    return sizes, ends


def first_size(recipe: Recipe, options: FinetuneOptions) -> int:
    """Return how many images a batch of the first epoch has."""
    return _plan_of(recipe, options).sizes(phase_of(recipe, options, 0).epochs)[0]


def rows_of(
    phase: Phase, train: NDArray[np.int64], confidence: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """Return those of the training rows that a phase trains on, by the confidence of all labels.

    Raises
    ------
    DataError
        No training row has labels of that confidence.
    """
    train = np.sort(train)
    if phase.rows == "all":
        return train
    assert confidence is not None
    rows = train[phase.confidence.of(confidence[train])]
    if not len(rows):
        raise DataError(f"phase {phase.name}: no training image has a label confidence of {phase.rows}.")
    return rows


def check_batches(recipe: Recipe, options: FinetuneOptions, n_rows: Sequence[int]) -> None:
    """Refuse batches that the images of a phase don't fill, or that processes can't share.

    Parameters
    ----------
    n_rows
        Images that each phase trains on.

    Raises
    ------
    UsageError
        With what to give.
    """
    for number, n in enumerate(n_rows):
        phase = phase_of(recipe, options, number)
        try:
            sizes = steps_of(recipe, options, phase, n)[0]
        except UsageError as error:
            if phase.rows == "all":
                raise
            raise UsageError(f"phase {phase.name}, label confidence {phase.rows}: {error}") from error
        check_sizes(sizes, options)
        if options.elastic_batch is not None:
            _check_elastic(sizes, options.elastic_batch)


def _check_elastic(sizes: Sequence[int], largest: int) -> None:
    if len({*sizes}) > 1:
        raise UsageError(
            f"--elastic-batch: memory decides, and the batch plan says {sizes[0]}, then other sizes. "
            f"Give a --batch-plan of one size, such as {sizes[0]}."
        )
    if largest < sizes[0]:
        raise UsageError(
            f"--elastic-batch {largest}: batches begin with {sizes[0]} images. Give more, or a smaller "
            "--batch-plan."
        )


def check_sizes(sizes: Sequence[int], options: FinetuneOptions) -> None:
    """Refuse batches that processes and parts can't share, or that have no noise; raises `UsageError`."""
    parts = ranks.world() * options.accumulate
    odd = next((size for size in sizes if size % parts), None)
    if odd is not None:
        raise UsageError(
            f"a batch of {odd} does not divide into equal parts for {ranks.world()} processes and "
            f"--accumulate {options.accumulate}. Give another --batch-plan."
        )
    if not (options.noise_scale or options.lr_by_noise is not None):
        return
    odd = next((size for size in sizes if size % 2 or size < 4), None)
    if odd is not None and parts == 1:
        raise UsageError(
            f"a batch of {odd} has no two halves of two images or more, whose gradients the noise scale is "
            "measured by. Give another --batch-plan."
        )
