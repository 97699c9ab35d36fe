"""`embedkit leaks`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from embedkit.console import note, print_json, print_table
from embedkit.options import add_flags, add_json_flag, from_flags
from probes.leaks.options import LeaksOptions, LeaksPlaces

if TYPE_CHECKING:
    from probes.leaks.run import LeaksReport


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit leaks``."""
    parser.add_argument("features", help="a feature file from `embedkit extract`")
    add_flags(parser, LeaksOptions, LeaksPlaces)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    options, places = from_flags(LeaksOptions, args), from_flags(LeaksPlaces, args)
    from probes.leaks.run import leaks

    report = leaks(args.features, options, places)
    for line in report.notes:
        note(line)
    if args.json:
        print_json(report.document())
    else:
        print_leaks(report)
    if places.pairs is not None:
        note(f"Pairs in {places.pairs}.")


def print_leaks(report: LeaksReport) -> None:
    """Print a line a kind, and on stderr why a kind was not looked for."""
    from rich.table import Table
    from rich.text import Text

    from probes.leaks.run import TITLES

    table = Table(show_edge=False)
    for i, name in enumerate(("", "pairs", "test rows with one in training or validation")):
        table.add_column(name, justify="right" if i else "left")
    of_kind = report.found
    for kind, title in TITLES.items():
        found = of_kind.get(kind)
        if found is None:
            table.add_row(title, Text("not checked", style="dim"), "")
        else:
            across = found.test_rows
            table.add_row(title, f"{found.pairs:,}", "-" if across is None else f"{across:,}")
    print_table(table)
    for reason in dict.fromkeys(report.not_checked.values()):
        note(f"Not checked: {reason}")
