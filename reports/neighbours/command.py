"""`embedkit similar` and `embedkit outliers`: their options, and what they say."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from embedkit.console import note, print_json, print_table
from embedkit.options import add_flags, add_json_flag, from_flags
from reports.neighbours.options import OutliersOptions, OutliersPlaces, SimilarOptions, SimilarPlaces

if TYPE_CHECKING:
    from reports.neighbours.found import Found

Handler = Callable[[argparse.Namespace], int | None]


def configure_similar(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of ``embedkit similar``."""
    _configure(parser, SimilarOptions, SimilarPlaces)
    return _similar


def configure_outliers(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of ``embedkit outliers``."""
    _configure(parser, OutliersOptions, OutliersPlaces)
    return _outliers


def _configure(parser: argparse.ArgumentParser, *classes: type) -> None:
    parser.add_argument("features", help="a feature file from `embedkit extract`")
    add_flags(parser, *classes)
    add_json_flag(parser)


def _similar(args: argparse.Namespace) -> None:
    options, places = from_flags(SimilarOptions, args), from_flags(SimilarPlaces, args)
    from reports.neighbours.run import similar

    _show(similar(args.features, options, places), as_json=args.json)


def _outliers(args: argparse.Namespace) -> None:
    options, places = from_flags(OutliersOptions, args), from_flags(OutliersPlaces, args)
    from reports.neighbours.run import outliers

    _show(outliers(args.features, options, places), as_json=args.json)


def _show(found: Found, *, as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    for line in found.notes:
        note(line)
    if as_json:
        columns = {name: values.tolist() for name, values in found.table.items()}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        print_json({"title": found.title, "images": rows, "path": found.path and str(found.path)})
    else:
        table = Table(title=Text(found.title, style="bold"), title_justify="left", show_edge=False)
        for name in found.table:
            if name != "query":
                right = name in ("place", "similarity", "distance", "strength")
                table.add_column(name, justify="right" if right else "left")
        for cells in found.cells():
            table.add_row(*(Text(cell) for cell in cells.values()))
        print_table(table)
    if found.path is not None:
        note(f"Written to {found.path}.")
