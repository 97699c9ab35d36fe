"""`embedkit bench`: its options, and what it says."""

from __future__ import annotations

import argparse
import shlex

from embedkit import console
from embedkit.cli import EXIT_FAILED, Handler
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.options import add_flags, add_json_flag, from_flags
from embedkit.workflows.bench_options import NAMES, BenchOptions, BenchPlaces


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit bench`."""
    parser.description = (
        "Extract, cluster, probe and rank. Give DATASET and flags, or one TOML file in its place; started "
        "again, the same command goes on where it was stopped."
    )
    add_flags(parser, BenchOptions, BenchPlaces)
    add_dataset_flags(parser, optional=True, or_else="; or a .toml file that says all", without=NAMES)
    add_json_flag(parser)
    return run


def run(args: argparse.Namespace) -> int:
    """Run `embedkit bench`."""
    options, images = from_flags(BenchOptions, args), from_flags(DatasetOptions, args)
    places = from_flags(BenchPlaces, args)
    from embedkit.workflows.bench import bench

    found = bench(args.dataset, options, images, places)
    if places.dry_run:
        if args.json:
            console.print_json({"commands": found.steps})
        else:
            print("\n".join(f"embedkit {shlex.join(command)}" for command in found.steps))
        return 0
    if args.json:
        names = {"output": str(found.output), "done": found.done, "failed": found.failed}
        console.print_json(names | {"n_finished_before": found.n_before, "index": found.index})
    elif found.board is not None:
        print(found.board, flush=True)
    if found.index is not None:
        console.note(f"{found.index}: the page that leads to all others; open it in a browser.")
    return EXIT_FAILED if found.failed else 0
