"""`embedkit report`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from embedkit.console import note, print_json
from embedkit.options import add_flags, add_json_flag, from_flags
from reports.report_options import ReportOptions, ReportPlaces


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit report``."""
    parser.add_argument("features", type=Path, help="a feature file from `embedkit extract`")
    add_flags(parser, ReportOptions, ReportPlaces)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    options, places = from_flags(ReportOptions, args), from_flags(ReportPlaces, args)
    from reports.report import report

    written = report(args.features, options, places)
    if args.json:
        print_json(asdict(written))
    else:
        print(written.path)
        note(written.facts)
