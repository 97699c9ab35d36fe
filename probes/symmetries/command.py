"""`embedkit symmetries`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from embedkit import console
from embedkit.backbones.options import BackboneSpec
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.images.options import Overrides
from embedkit.options import add_flags, add_json_flag, from_flags
from probes.symmetries.options import SymmetriesOptions

if TYPE_CHECKING:
    from probes.symmetries.run import Symmetries


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit symmetries``."""
    add_dataset_flags(parser)
    add_flags(parser, SymmetriesOptions, BackboneSpec, Overrides)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    spec, preprocessing = from_flags(BackboneSpec, args), from_flags(Overrides, args)
    data, options = from_flags(DatasetOptions, args), from_flags(SymmetriesOptions, args)
    from probes.symmetries.run import symmetries

    found = symmetries(args.dataset, data, spec, preprocessing, options)
    for line in found.notes:
        console.note(line)
    if args.json:
        console.print_json(found.document())
    else:
        _print(found)


def _print(found: Symmetries) -> None:
    from rich.table import Table

    table = Table(show_edge=False)
    for heading in ("do these images mind", "AUC", "95 % interval", ""):
        table.add_column(heading, justify="right" if heading == "AUC" else "left")
    for one in found.found:
        interval = "-" if one.low is None else f"{one.low:.2f} to {one.high:.2f}"
        table.add_row(one.words, f"{one.roc_auc:.2f}", interval, one.verdict)
    console.print_table(table)
    print()
    for sentence in found.sentences:
        print(console.sentences(sentence))
