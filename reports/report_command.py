"""`embedkit report`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from embedkit.console import note, print_json
from embedkit.options import add_flags, add_json_flag, from_flags
from reports.figure_options import FigureOptions
from reports.report_options import ReportOptions, ReportPlaces


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit report``."""
    parser.add_argument(
        "features",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a feature file from `embedkit extract`; of several of the same images, maps side by side",
    )
    add_flags(parser, ReportOptions, ReportPlaces, FigureOptions)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    options, places = from_flags(ReportOptions, args), from_flags(ReportPlaces, args)
    figure = from_flags(FigureOptions, args)
    from reports.report import report

    written = report(args.features, options, places, figure)
    if args.json:
        # The pictures are in the page.
        found = asdict(replace(written, drawn=replace(written.drawn, sheets=None), known={}))
        del found["known"]  # the columns are in `drawn`
        print_json(found)
    else:
        print(written.path)
        if written.figure_file is not None:
            print(written.figure_file)
        note(written.facts)
