"""`embedkit attention`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from embedkit import console
from embedkit.backbones.options import BackboneSpec
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.images.options import Overrides
from embedkit.options import add_flags, from_flags
from reports.attention_options import AttentionOptions, AttentionPlaces


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit attention``."""
    add_dataset_flags(parser)
    add_flags(parser, AttentionPlaces, AttentionOptions, BackboneSpec, Overrides)
    return _run


def _run(args: argparse.Namespace) -> None:
    spec, preprocessing = from_flags(BackboneSpec, args), from_flags(Overrides, args)
    data, options = from_flags(DatasetOptions, args), from_flags(AttentionOptions, args)
    options.check(spec)
    from reports.attention_run import attention

    places = from_flags(AttentionPlaces, args)
    found = attention(args.dataset, places.output, data, spec, preprocessing, options)
    for name, entropies in found.entropy.items():
        text = " ".join(f"{value:.3f}" for value in entropies)
        console.note(f"Entropy of each head's attention{', ' * bool(name)}{name}: {text}.")
    console.note("An entropy of 1 is alike everywhere. Each map is drawn to its own 97th percentile.")
    print(found.path)
