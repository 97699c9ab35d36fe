"""`embedkit export`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from embedkit.console import note, print_json
from embedkit.options import add_flags, add_json_flag, from_flags
from reports.export.options import ExportOptions, ExportPlaces
from reports.report_options import MapOptions


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit export``."""
    parser.add_argument(
        "features",
        type=Path,
        nargs="+",
        help="a feature file from `embedkit extract`, or several of the same images",
    )
    add_flags(parser, ExportPlaces, ExportOptions, MapOptions)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    asked, options = from_flags(MapOptions, args), from_flags(ExportOptions, args)
    places = from_flags(ExportPlaces, args)
    from reports.export.run import export

    written = export(args.features, asked, options, places)
    if args.json:
        print_json({**asdict(written), "open_with": written.commands})
        return
    print(written.path)
    note(written.facts)
    for command in written.commands:
        note(f"Open it: `{command}`")
