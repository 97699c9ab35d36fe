"""`embedkit name`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from clustering.naming.options import NameOptions, NamePlaces
from embedkit.console import note, print_json, print_table
from embedkit.options import add_flags, add_json_flag, from_flags

if TYPE_CHECKING:
    from clustering.naming.report import Named


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit name``."""
    parser.add_argument("features", help="a feature file from `embedkit extract`")
    add_flags(parser, NameOptions, NamePlaces)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    options, places = from_flags(NameOptions, args), from_flags(NamePlaces, args)
    from clustering.naming.run import name

    found = name(args.features, options, places)
    for line in found.notes:
        note(line)
    if args.json:
        print_json(found.document())
    else:
        _print(found)
    if found.path is not None and found.labels is None:
        model = f", with --clustering {places.save_model}" if places.save_model else ""
        note(f"The groups are in {found.path}. Fill its column name, and give it as --names{model}.")
    elif found.path is not None:
        note(f"Labels of all images in {found.path}, for --labels.")


def _print(found: Named) -> None:
    from rich.table import Table
    from rich.text import Text

    from embedkit.scoring import score_tables

    if found.metrics:
        table = score_tables.metrics_table(found.title)
        score_tables.add_metrics(table, found.metrics)
        print_table(table)
        print()
    table = Table(title=Text("Groups, each beside those like it", style="bold"), title_justify="left")
    table.show_edge = False
    shown = ("group", "name", "rows", "spread", "separation", "mixed")
    for column in (*shown, "most central"):
        table.add_column(column, justify="right" if column in ("group", "rows", "spread") else "left")
    for row in zip(*(found.groups[column] for column in (*shown, "central:1")), strict=True):
        group, name, rows, spread, separation, mixed, central = row
        apart = "" if separation != separation else f"{separation:.1f}"
        cells = (str(group), name, f"{rows:,}", f"{spread:.2f}", apart, mixed, central)
        table.add_row(*(Text(str(cell)) for cell in cells))
    print_table(table)
