"""`embedkit cluster`: its options, and what it says."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from clustering.options import NAMES, ClusterOptions, ClusterPlaces, Settings
from embedkit.console import note, print_json, print_table
from embedkit.options import add_flags, add_json_flag, from_flags

if TYPE_CHECKING:
    from clustering.compare import Comparison
    from clustering.report import ClusterRun


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit cluster``."""
    parser.add_argument(
        "features",
        nargs="+",
        type=Path,
        help="a feature file from `embedkit extract`, or several of the same images",
    )
    add_flags(parser, ClusterOptions, ClusterPlaces, without=NAMES)
    add_flags(parser, Settings, title="settings of some methods")
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    options, places = from_flags(ClusterOptions, args), from_flags(ClusterPlaces, args)
    places.check(options)
    from clustering.calls import cluster
    from clustering.compare import Comparison
    from embedkit.computing.processes import under_torchrun

    found = cluster(args.features, options, places)
    if int(os.environ.get("RANK", "0")) and under_torchrun():
        return  # the leading process says it
    if isinstance(found, Comparison):
        _show_all(found, as_json=args.json)
        note(f"Results in {places.results}, assignments and models beside it.")
        return
    _show(found, as_json=args.json)
    model = "" if found.model_path is None else f", the model in {found.model_path}"
    note(f"Result in {places.results}, assignments in {found.assignments_path}{model}.")


def _show_all(compared: Comparison, *, as_json: bool) -> None:
    from clustering.compare import beats_chance
    from clustering.tables import comparison_table

    for line in dict.fromkeys(line for run in compared.runs for line in run.notes):
        note(line)
    if as_json:
        results = [json.loads(run.result.to_json()) for run in compared.runs]
        for document, run in zip(results, compared.runs, strict=True):
            document["beats_chance"] = beats_chance(run)
        print_json({"results": results, "failures": compared.failures})
        return
    print_table(comparison_table(compared))
    for run in compared.runs:
        if run.diagnosis is not None:
            print(f"\n{run.result.method}\n{run.diagnosis.text}")


def _show(run: ClusterRun, *, as_json: bool) -> None:
    for line in run.notes:
        note(line)
    if as_json:
        document = json.loads(run.result.to_json())
        document["notes"] = list(run.notes)
        print_json(document)
    else:
        from clustering.tables import print_run

        print_run(run)
