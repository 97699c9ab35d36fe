"""`embedkit quality`: its options, and what it says."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit import console
from embedkit.cli import Handler
from embedkit.options import add_flags, add_json_flag, from_flags
from embedkit.scoring.quality_options import QualityOptions, QualityPlaces

if TYPE_CHECKING:
    from embedkit.scoring.quality import Agreement, QualityReport


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit quality`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a feature file")
    add_flags(parser, QualityOptions, QualityPlaces)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    options, places = from_flags(QualityOptions, args), from_flags(QualityPlaces, args)
    from embedkit.scoring.quality import quality

    report = quality(args.files, options, places)
    if args.json:
        console.print_json(report.document())
    else:
        _print(report)
    for line in report.notes:
        console.note(line)
    if places.output is not None:
        console.note(f"Results in {places.output / 'results.jsonl'}.")


def _print(report: QualityReport) -> None:
    from rich.table import Table
    from rich.text import Text

    from embedkit.scoring.metrics import measure, title
    from embedkit.scoring.quality import CRITERIA

    table = Table(show_edge=False)
    found = [(one.path, one.quality) for one in report.files]
    agreements = report.agreements
    shown = [name for name in CRITERIA if any(getattr(of, name) is not None for _, of in found)]
    table.add_column("file")
    for heading in ("n", "d", *map(title, shown)):
        table.add_column(heading, justify="right")
    for path, of in found:
        cells = [_cell(getattr(of, name)) for name in shown]
        table.add_row(Text(path.name), f"{of.n:,}", f"{of.d:,}", *cells)
    table.add_section()
    table.add_row(Text("better", style="dim"), "", "", *(measure(name).better for name in shown))
    console.print_table(table)
    if not agreements:
        return
    print()
    heading = "Spearman's rank correlation with accuracy"
    table = Table(title=Text(heading, style="bold"), title_justify="left", show_edge=False)
    criteria = [name for name in CRITERIA if any(one.criterion == name for one in agreements)]
    for name in ("probe", *map(title, criteria), "files"):
        table.add_column(name, justify="left" if name == "probe" else "right")
    for probe in dict.fromkeys(one.probe for one in agreements):
        of_probe = {one.criterion: one for one in agreements if one.probe == probe}
        n = max(one.n_files for one in of_probe.values())
        table.add_row(Text(probe), *(_rho(of_probe.get(name), n) for name in criteria), str(n))
    console.print_table(table)


def _rho(one: Agreement | None, n_files: int) -> str:
    """Write a rank correlation, with its number of files where that is not the row's."""
    if one is None or one.rho is None:
        return "-"
    return f"{one.rho:+.2f}" + (f" of {one.n_files}" if one.n_files != n_files else "")


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}"
