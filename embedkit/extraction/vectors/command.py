"""`embedkit import`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from embedkit import console
from embedkit.extraction.vectors.options import ImportOptions, ImportPlaces
from embedkit.options import add_flags, add_json_flag, from_flags


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit import``."""
    parser.add_argument(
        "vectors",
        type=Path,
        metavar="VECTORS",
        help="a .npy, .npz, .csv, .parquet, .h5 or .h5ad file of (n, d) vectors",
    )
    add_flags(parser, ImportPlaces, ImportOptions)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    options, places = from_flags(ImportOptions, args), from_flags(ImportPlaces, args)
    from embedkit.extraction.vectors.calls import import_features

    done = import_features(args.vectors, places.output, options)
    if args.json:
        console.print_json(asdict(done))
        return
    print(f"{done.path}: {done.facts}")
