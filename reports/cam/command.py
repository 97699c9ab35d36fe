"""`embedkit cam`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from embedkit.console import note, print_json
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.options import add_flags, add_json_flag, from_flags
from reports.cam.options import CamOptions, CamPlaces


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit cam``."""
    parser.add_argument("model", type=Path, help="the folder `model` that `embedkit finetune` left")
    add_dataset_flags(parser)
    add_flags(parser, CamOptions, CamPlaces)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    data, options = from_flags(DatasetOptions, args), from_flags(CamOptions, args)
    places = from_flags(CamPlaces, args)
    from reports.cam.run import cam

    written = cam(args.model, args.dataset, data, options, places)
    for line in written.notes:
        note(line)
    if args.json:
        print_json(asdict(written))
        return
    print(written.path)
    note(written.facts)
    note(written.sentence)
