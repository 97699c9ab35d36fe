"""``embedkit recipes``: which recipes there are, and the text of one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict

from embedkit import console
from embedkit.options import add_json_flag


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit recipes``."""
    parser.epilog = "A copy to change: embedkit recipes NAME > mine.toml."
    parser.add_argument(
        "name", nargs="?", help="a recipe, or a TOML file to check; its text is printed (default: list all)"
    )
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    from pretrain.finetune.listing import FIX, recipes

    found = recipes(args.name)
    if args.json:
        console.print_json([asdict(one) for one in found])
    elif args.name is not None:
        print(found[0].toml, end="")
    else:
        from rich.table import Table
        from rich.text import Text

        rows = found.rows()

        def table(*columns: str) -> Table:
            made = Table(title=f"{len(found)} recipes")
            for column in columns:  # a name that is broken can't be copied
                made.add_column(column, overflow="fold", no_wrap=column in ("recipe", "backbone"))
            for row in rows:
                made.add_row(*(Text(row[column]) for column in columns))
            return made

        wide, narrow = table(*rows[0]), table("recipe", "backbone", "trains")
        shown = console.fitting(wide, narrow)
        console.print_table(shown)
        more = " Published figures: --json, or a wide terminal." if shown is narrow else ""
        console.note(f"{FIX}{more}")
