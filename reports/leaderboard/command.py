"""`embedkit leaderboard`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from embedkit.console import note
from embedkit.options import RUNS, add_flags, add_json_flag, from_flags
from reports.leaderboard.options import LeaderboardOptions, LeaderboardPlaces


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit leaderboard``."""
    parser.add_argument(
        "runs", nargs="?", type=Path, default=RUNS, help="a folder of results, or one results.jsonl"
    )
    add_flags(parser, LeaderboardOptions, LeaderboardPlaces)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    if args.json:
        args.format = "json"
    options, places = from_flags(LeaderboardOptions, args), from_flags(LeaderboardPlaces, args)
    from reports.leaderboard.calls import leaderboard
    from reports.leaderboard.text import written

    board = leaderboard(args.runs, options, places)
    if board.n_older:
        times = "run" if board.n_older == 1 else "runs"
        note(f"Left out {board.n_older} older {times} of the same thing; the newest of each is shown.")
    if places.html is not None:
        note(f"{places.html}: open it in a browser.")
    print(written(board, places.style, wide=places.wide) if places.output is None else places.output)
