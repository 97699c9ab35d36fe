"""`embedkit votes`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict

from embedkit.console import note, print_json
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.options import add_flags, add_json_flag, from_flags
from reports.votes.options import VotesOptions, VotesPlaces


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit votes``."""
    add_dataset_flags(parser)
    add_flags(parser, VotesOptions, VotesPlaces)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    data, options = from_flags(DatasetOptions, args), from_flags(VotesOptions, args)
    places = from_flags(VotesPlaces, args)
    from reports.votes.run import votes

    written = votes(args.dataset, data, options, places)
    for line in written.notes:
        note(line)
    if args.json:
        print_json(asdict(written))
        return
    print(written.path)
    note(written.facts)
