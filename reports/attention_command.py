"""`embedkit attention`: where a vision transformer looks, before and after an adaptation."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from embedkit import console
from embedkit.cli import Handler
from embedkit.datasets import add_dataset_arguments, dataset_from_args
from embedkit.errors import UsageError
from embedkit.extraction.command import add_backbone_arguments, backbone_from_args


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit attention`."""
    add_dataset_arguments(parser)
    add_backbone_arguments(parser)
    group = parser.add_argument_group("picture")
    group.add_argument("--images", type=int, default=6, metavar="N", help="images, spread over the dataset")
    group.add_argument("--before", type=Path, metavar="FILE", help="weights to compare --weights with")
    group.add_argument("-o", "--output", type=Path, default=Path("runs/attention.png"))
    return run


def run(args: argparse.Namespace) -> int:
    """Run `embedkit attention`."""
    import numpy as np

    from embedkit.backbones.load import load_backbone
    from embedkit.images.decode import decode
    from reports.attention import attention_entropy, attention_maps, attention_sheet

    if args.images < 1:
        raise UsageError("--images must be 1 or more.")
    if args.before is not None and (args.adapter is not None or args.weights is None):
        raise UsageError("--before is compared with --weights. An --adapter is compared with what it adapts.")
    spec = backbone_from_args(args)
    if args.adapter is not None:
        specs = {"before": replace(spec, adapter=None), "after": spec}
    elif args.before is not None:
        specs = {"before": replace(spec, weights=args.before), "after": spec}
    else:
        specs = {"": spec}
    dataset = dataset_from_args(args)
    rows = np.linspace(0, len(dataset) - 1, min(args.images, len(dataset))).round().astype(int)
    maps = {}
    for name, one in specs.items():
        backbone = load_backbone(one)
        pixels = np.stack(
            [
                backbone.preprocessing(decode(dataset.read(row), dataset.where(row)), dataset.where(row))
                for row in rows
            ]
        )
        maps[name] = attention_maps(backbone, pixels)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    attention_sheet(pixels, list(maps.values()), list(maps)).save(args.output)
    for name, found in maps.items():
        entropies = " ".join(f"{value:.3f}" for value in attention_entropy(found))
        console.note(f"Entropy of each head's attention{', ' * bool(name)}{name}: {entropies}.")
    console.note("An entropy of 1 is alike everywhere. Each map is drawn to its own 97th percentile.")
    print(args.output)
    return 0
