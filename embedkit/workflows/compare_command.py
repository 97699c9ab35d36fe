"""`embedkit compare`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from embedkit import console
from embedkit.cli import Handler
from embedkit.options import add_flags, add_json_flag, from_flags
from embedkit.workflows.compare_options import CompareOptions, ComparePlaces

if TYPE_CHECKING:
    from embedkit.workflows.compare import ComparedFiles


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit compare`."""
    parser.add_argument("a", type=Path, metavar="A.h5", help="a feature file with labels")
    parser.add_argument(
        "b",
        type=Path,
        metavar="B.h5",
        nargs="+",
        help="another one of the same images; several of one kind, such as trainings of several seeds, count "
        "by their mean",
    )
    add_flags(parser, CompareOptions, ComparePlaces)
    add_json_flag(parser)
    return run


def run(args: argparse.Namespace) -> None:
    """Run `embedkit compare`."""
    options, places = from_flags(CompareOptions, args), from_flags(ComparePlaces, args)
    from embedkit.workflows.compare import compare

    found = compare(args.a, args.b, options, places)
    if args.json:
        console.print_json(found.document())
        return
    _print(found)
    print()
    for sentence in found.sentences:
        print(console.sentences(sentence))
    print(f"\n{console.sentences(found.verdict)}")


def _print(found: ComparedFiles) -> None:
    from rich.table import Table
    from rich.text import Text

    from embedkit.workflows.verdict import table_rows

    rows = table_rows(found.measures)

    def of(names: Sequence[str]) -> Table:
        table = Table(title=Text(found.title, style="bold"), title_justify="left", show_edge=False)
        for name in names:
            table.add_column(name, justify="left" if name in ("accuracy", "test") else "right")
        for row in rows:
            table.add_row(*(row[name] for name in names))
        return table

    wide = of(tuple(rows[0]))
    if console.fits(wide):
        console.print_table(wide)
        return
    # Words in a narrow column would be broken: what gave p stands below.
    console.print_table(of([name for name in rows[0] if name != "test"]))
    tests = dict.fromkeys(row["test"] for row in rows)
    for test in tests:
        which = [row["accuracy"] for row in rows if row["test"] == test]
        print(console.sentences(f"p by {test}" + (f": {', '.join(which)}" if len(tests) > 1 else "") + "."))
