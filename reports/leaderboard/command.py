"""`embedkit leaderboard`: results of a folder in, one table a dataset and task out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from embedkit.console import note, print_json, print_table
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.aside import aside
from embedkit.files.results import Result, locate_results
from embedkit.scoring.outcomes import read_outcomes
from reports.leaderboard.page import render
from reports.leaderboard.table import leaderboard
from reports.leaderboard.text import csv_text, document, markdown, tables

FORMATS = ("table", "markdown", "csv", "json", "html")


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit leaderboard``."""
    parser.add_argument("runs", nargs="?", default="runs", help="a folder of results, or one results.jsonl")
    parser.add_argument("--task", help="only this task: cluster, probe, ...")
    parser.add_argument("--dataset", help="only this dataset")
    parser.add_argument("--method", help="only this method: linear, knn, kmeans, ...")
    parser.add_argument("--features", metavar="PART", help="only feature sets whose name holds this")
    parser.add_argument(
        "--budget", metavar="LABELS", help="only this label budget, such as '5 per class'; all: no budget"
    )
    parser.add_argument(
        "--metric",
        "--sort",
        dest="sort",
        metavar="METRIC",
        help="rank by this metric, seconds or n (default: accuracy; RMSE of targets)",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="how to write it")
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument("-o", "--output", metavar="FILE", help="write it there instead of on the terminal")
    parser.add_argument(
        "--html", metavar="FILE", help="also write one sortable page with the intervals drawn"
    )
    return _run


def _run(args: argparse.Namespace) -> None:
    style = "json" if args.json else args.format
    if args.output is not None and style == "table":
        by_ending = {".md": "markdown", ".csv": "csv", ".json": "json", ".html": "html"}
        style = by_ending.get(Path(args.output).suffix.lower(), "")
        if not style:
            raise UsageError(
                f"-o {args.output}: give --format, or a name that ends in {', '.join(by_ending)}."
            )
    located = locate_results(args.runs)
    folders = {id(result): folder for folder, result in located}
    board = leaderboard([result for _, result in _kept(located, args)], task=args.task, sort=args.sort)
    if not board.entries:
        raise EmbedkitError(f"{args.runs}: no results yet. Run `embedkit cluster` or `embedkit probe` first.")
    board = board.with_ranks(lambda result: read_outcomes(result, folders[id(result)]))
    if board.n_older:
        runs = "run" if board.n_older == 1 else "runs"
        note(f"Left out {board.n_older} older {runs} of the same thing; the newest of each is shown.")
    if args.html is not None:
        _write(Path(args.html), render(board, title=_title(args.runs)))
        note(f"{args.html}: open it in a browser.")
    if style == "table":
        for i, (table, (key, _)) in enumerate(zip(tables(board), board.groups(), strict=True)):
            if i:
                print()
            print_table(table)
            for line in board.notes(key):
                print(line)
        return
    if style == "json" and args.output is None:
        print_json(document(board))
        return
    if style == "markdown":
        text = markdown(board)
    elif style == "csv":
        text = csv_text(board)
    elif style == "html":
        text = render(board, title=_title(args.runs))
    else:
        text = json.dumps(document(board), indent=2) + "\n"
    if args.output is None:
        print(text, end="")
    else:
        _write(Path(args.output), text)
        print(args.output)


def _kept(located: Sequence[tuple[Path, Result]], args: argparse.Namespace) -> list[tuple[Path, Result]]:
    """Results that the filters leave; an unknown dataset, method or feature set lists the known ones."""
    kept = list(located)
    for name in ("dataset", "method", "features"):
        wanted = getattr(args, name)
        if wanted is None:
            continue
        known = sorted({getattr(result, name) for _, result in kept})
        kept = [
            (folder, result)
            for folder, result in kept
            if (wanted in getattr(result, name) if name == "features" else wanted == getattr(result, name))
        ]
        if not kept and known:
            raise UsageError(f"--{name} {wanted}: no such result. There are: {', '.join(known)}.")
    if args.budget is not None:
        known = sorted({_budget(result) for _, result in kept})
        if known and args.budget not in known:
            raise UsageError(f"--budget {args.budget}: no such result. There are: {', '.join(known)}.")
        kept = [(folder, result) for folder, result in kept if _budget(result) == args.budget]
    return kept


def _budget(result: Result) -> str:
    budget = result.params.get("budget")
    return str(budget["asked"]) if isinstance(budget, Mapping) else "all"


def _title(runs: str) -> str:
    return f"Leaderboard: {Path(runs).resolve().name}"


def _write(path: Path, text: str) -> None:
    with aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
