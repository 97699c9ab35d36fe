"""`embedkit verify`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from embedkit import console
from embedkit.extraction.verify_options import VerifyOptions
from embedkit.options import add_flags, add_json_flag, from_flags


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit verify``."""
    parser.add_argument("features", type=Path, help="a feature file from `embedkit extract`")
    add_flags(parser, VerifyOptions)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> int:
    options = from_flags(VerifyOptions, args)
    from embedkit.extraction.verify import verify

    found = verify(args.features, options)
    if args.json:
        console.print_json(asdict(found))
    else:
        for problem in found.problems:
            print(f"{found.path}: {problem}")
        if found.not_compared:
            console.note(f"No image was extracted again: {found.not_compared}")
        for said in (found.weights, found.source):
            if said:
                console.note(said)
        if not found.problems:
            print(f"{found.path}: {found.n} x {found.d}, every invariant holds.")
            if found.lowest_cosine is not None:
                agree = f"{found.n_compared} rows extracted again agree"
                print(f"{found.path}: {agree} (cosine at least {found.lowest_cosine:.5f}).")
    return 1 if found.problems else 0
