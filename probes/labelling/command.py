"""`embedkit label`: its options, and what it says."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.console import note, print_json, print_table
from embedkit.options import add_flags, add_json_flag, from_flags
from probes.labelling.options import LabelOptions, LabelPlaces

if TYPE_CHECKING:
    from probes.labelling.report import Labelled

# More are in the table.
MOST_SHOWN = 20


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit label``."""
    parser.add_argument("features", help="a feature file from `embedkit extract`")
    parser.add_argument(
        "table",
        nargs="?",
        type=Path,
        metavar="labels.csv",
        help="ids and labels of some of its rows; by default those that the file has",
    )
    add_flags(parser, LabelOptions, LabelPlaces)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    options, places = from_flags(LabelOptions, args), from_flags(LabelPlaces, args)
    options.which_with(args.table)
    from probes.labelling.run import label  # with h5py and SciPy, on use

    found = label(args.features, args.table, options, places)
    for line in found.notes:
        note(line)
    if args.json:
        print_json(_document(found))
    else:
        _print(found)
    if places.save_model is not None:
        note(f"Probe of all labels kept in {places.save_model}, for `embedkit probe --apply`.")
    again = shlex.join(("embedkit", "label", str(args.features), str(found.path)))
    note(f"All images, with what to label next, in {found.path}. Fill its column label, then: `{again}`.")


def _document(found: Labelled) -> dict[str, Any]:
    document: dict[str, Any] = {} if found.result is None else json.loads(found.result.to_json())
    if found.scores is not None:
        document["classes"] = [asdict(scores) for scores in found.scores.classes]
    predicted = found.spread
    document["temperature"] = None if predicted is None else predicted.temperature
    document |= {"next": list(found.next_ids), "table": str(found.path), "notes": list(found.notes)}
    return document


def _print(found: Labelled) -> None:
    from rich.text import Text

    from embedkit.scoring import score_tables

    if found.result is not None and found.scores is not None:
        metrics = found.result.metrics
        shown = score_tables.printed(metrics, found.result.n)
        n_labels = found.result.outcomes["n_labels"]
        table = score_tables.metrics_table(f"{found.title}, {n_labels:,} labels, each predicted out of fold")
        score_tables.add_metrics(table, {name: metrics[name] for name in shown})
        print_table(table)
        score_tables.print_left_out(metrics, found.result.n)
        print()
        score_tables.print_each(found.scores)
        print()
    if not len(found.next):
        return
    spread = found.spread
    table = score_tables.columns("to label next", *(["predicted", "probability"] if spread else []))
    for row in found.next[:MOST_SHOWN]:
        said = [spread.predicted[row], f"{spread.probabilities[row].max():.2f}"] if spread else []
        table.add_row(Text(str(found.ids[row])), *map(Text, said))
    print_table(table)
    if len(found.next) > MOST_SHOWN:
        print(f"{len(found.next) - MOST_SHOWN:,} more are in the table, in its column next.")
