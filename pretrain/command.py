"""`embedkit pretrain`: its options, and what it says."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from embedkit import console
from embedkit.backbones.options import BackboneSpec
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.errors import UsageError
from embedkit.images.options import Overrides
from embedkit.options import add_flags, from_flags
from pretrain.options import LoRA, PretrainCall, PretrainPlaces

_LORA = tuple(LoRA.__dataclass_fields__)


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit pretrain``."""
    add_dataset_flags(parser)
    add_flags(parser, PretrainPlaces, BackboneSpec, Overrides)
    add_flags(parser, PretrainCall, without=_LORA, title="training")
    add_flags(parser, LoRA)
    return _run


def _run(args: argparse.Namespace) -> None:
    spec, preprocessing = from_flags(BackboneSpec, args), from_flags(Overrides, args)
    data, options = from_flags(DatasetOptions, args), from_flags(PretrainCall, args)
    output = from_flags(PretrainPlaces, args).output
    options.check(spec)
    if options.show_views and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("--show-views trains nothing. Start it without torchrun.")
    from pretrain.run import pretrain

    made = pretrain(args.dataset, output, data, spec, preprocessing, options)
    if made.sheet is not None:
        console.note(f"{made.sheet}: a row an image; the image itself, then five views.")
    if made.page is not None:
        console.note(f"{made.page}: curves, views and options.")
    if made.adapter is not None:
        console.note(
            f"`embedkit extract --adapter {made.adapter}` takes it, and its backbone, weights and size."
        )
    if made.model is not None:
        console.note(
            f"{made.model}: give it to `embedkit extract --weights`, with --backbone {spec.backbone}."
        )
