"""What is refused before an image is decoded: else it would end a run after its probe, or between phases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedkit import console
from embedkit.backbones.load import Backbone
from embedkit.backbones.network import build_network
from embedkit.backbones.saved_shapes import MOST_SIDE, check_buildable
from embedkit.datasets.dataset import Dataset
from embedkit.errors import DataError, UsageError
from embedkit.scoring.asked_split import Asked, draw_splits
from embedkit.scoring.splits import Split, TooFewRowsError
from pretrain import ranks
from pretrain.finetune.branches import check_branches
from pretrain.finetune.loss_names import OF_COUNTS
from pretrain.finetune.options import FinetuneCall, FinetuneOptions
from pretrain.finetune.phases import begin, parameter_groups
from pretrain.finetune.planned import check_batches, phase_of, rows_of
from pretrain.finetune.recipe import Recipe
from pretrain.finetune.truth import Truth, check_split, confidence


def divide(images: Dataset, truth: Truth, options: FinetuneOptions, notes: list[str]) -> tuple[Split, ...]:
    """Divide the images as asked.

    Raises
    ------
    DataError
        A split that can't be drawn, or from which a class can't be learnt.
    """
    asked = Asked(options.split, options.fractions, options.seed)
    try:
        found = draw_splits(images.rows, truth.labels, asked, notes=notes)
    except TooFewRowsError as error:
        fix = "Give such classes more images, leave them out of the dataset, or merge them with others."
        raise DataError(f"{images.name}: {error.fact} {fix}") from error
    except DataError as error:
        raise DataError(f"{images.name}: {error}") from error
    for split in found:
        check_split(truth, split, images.name)
    return found


def rows_of_phases(images: Dataset, truth: Truth, recipe: Recipe, splits: Sequence[Split]) -> list[int]:
    """Return how many images each phase of a recipe trains on, with the least of the splits."""
    sure = confidence_for(images, truth, recipe)
    return [min(len(rows_of(phase, one.train, sure)) for one in splits) for phase in recipe.phases]


def confidence_for(images: Dataset, truth: Truth, recipe: Recipe) -> NDArray[np.float64] | None:
    """Return how sure the label of each image is, where a phase asks for that."""
    asked = any(phase.rows != "all" for phase in recipe.phases)
    return confidence(truth, images.rows) if asked else None


def check_ahead(
    images: Dataset, backbone: Backbone, recipe: Recipe, truth: Truth, options: FinetuneCall
) -> None:
    """Refuse what would else end a run after its probe, or after the first of its phases; say the split."""
    ranks.check_several(options.fsdp)
    check_buildable(backbone.name)
    if backbone.preprocessing.resize > MOST_SIDE:
        raise UsageError(
            f"images of {backbone.preprocessing.resize:,} pixels a side; training is for {MOST_SIDE:,} or "
            "fewer. Give a smaller --image-size, and --resize."
        )
    if options.volunteers is not None and recipe.loss not in OF_COUNTS:
        raise UsageError(
            f"--volunteers is of the losses {' and '.join(OF_COUNTS)}, and the recipe has {recipe.loss}. "
            "Leave it out, or change the recipe's loss."
        )
    notes: list[str] = []
    splits = divide(images, truth, options, notes)
    for line in notes:
        console.note(line)
    if options.swept is None:
        for one in options.each():
            drawn = splits if one.seed == options.seed else divide(images, truth, one, [])
            check_batches(recipe, one, rows_of_phases(images, truth, recipe, drawn))
    if options.critical_batch is not None:
        check_branches(recipe, options, rows_of_phases(images, truth, recipe, splits)[-1])
    network = build_network(backbone, len(truth.names), recipe.head, seed=0)
    for number, phase in enumerate(recipe.phases):
        phase_of(recipe, options, number)
        begin(network, phase, name=backbone.name, seed=0, lora=recipe.lora)
        parameter_groups(network, phase, name=backbone.name, layer_decay=recipe.layer_decay)
