"""`embedkit demo`: every command, one after another, on the galaxies that come with embedkit."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from embedkit import cli, console
from embedkit.cli import Handler
from embedkit.computing.interrupts import raise_if_received
from embedkit.errors import EmbedkitError
from embedkit.files.regular import resolved

DATASET = "galaxies"
CONTROL = "pixels:32"
# The one that comes along: it needs no network, and it knows galaxies.
BACKBONE = "embedkit-galaxy"


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit demo`."""
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("runs/demo"), help="folder for what it makes"
    )
    parser.add_argument(
        "--backbone",
        default=BACKBONE,
        help="another one, such as vit_small_patch16_224.dino from the model hub",
    )
    parser.add_argument("--limit", type=int, help="take this many images only")
    parser.add_argument("--open", action="store_true", help="open the report in the browser")
    return run


def run(args: argparse.Namespace) -> int:
    """Run `embedkit demo`."""
    started = time.perf_counter()
    folder: Path = args.output
    limit = [] if args.limit is None else ["--limit", str(args.limit)]
    features, control = folder / f"{DATASET}.h5", folder / f"{DATASET}-pixels.h5"
    runs = ["-o", str(folder)]
    extract = ["extract", DATASET, *limit]
    report = folder / "report.html"
    commands: list[list[str]] = [
        [*extract, "--backbone", args.backbone, "-o", str(features)],
        [*extract, "--backbone", CONTROL, "-o", str(control)],
        *[
            command
            for file in (str(features), str(control))
            for command in (
                ["cluster", file, "--prep", "auto", *_explained(file == str(features)), *runs],
                ["probe", file, "--kind", "linear", *runs],
                ["probe", file, "--kind", "knn", *runs],
            )
        ],
        ["report", str(features), "--runs", str(folder), "-o", str(report), *(["--open"] * args.open)],
        ["leaderboard", str(folder)],
    ]
    for command in commands:
        _run(command)
    console.note(f"\nDone in {time.perf_counter() - started:.0f} s. The map: {resolved(report)}")
    console.note("On your own images: embedkit extract FOLDER -o features.h5, and on as above.")
    return 0


def _explained(wanted: bool) -> Sequence[str]:
    """Options for a clustering whose score is put in words."""
    return ["--explain"] if wanted else []


def _run(command: Sequence[str]) -> None:
    console.note(f"\n$ embedkit {shlex.join(command)}")
    code = cli.main(command)
    raise_if_received()
    if code:
        raise EmbedkitError(f"the demo stopped: `embedkit {command[0]}` ended with exit code {code}.")
