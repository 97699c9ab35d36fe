"""`embedkit leaks`: copies of one image in a feature file, and how many of them lie across a split."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.console import note, print_json, print_table
from embedkit.errors import DataError, EmbedkitError
from probes.options import SPLIT_NAMES, ProbeOptions

if TYPE_CHECKING:
    from embedkit.files.store import FeatureFile
    from embedkit.scoring.splits import Split
    from probes.leaks.leaks import Leaks

TITLES = {
    "exact": "exact copies",
    "near": "near copies",
    "identical": "identical features",
    "sky": "within an arcsecond",
    "embedding": "close in the embedding",
}


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit leaks``."""
    parser.add_argument("features", help="a feature file, from `embedkit extract`")
    parser.add_argument(
        "--split", default="auto", metavar="HOW", help=f"as for embedkit probe: {', '.join(SPLIT_NAMES)}"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    parser.add_argument(
        "--save-split",
        metavar="FILE.json",
        help="keep the split without the training and validation rows that have a copy in a later part, for "
        "embedkit probe --split FILE.json",
    )
    parser.add_argument("--pairs", type=Path, metavar="FILE.csv", help="write the pairs, to look at them")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return run


def run(args: argparse.Namespace) -> None:
    """Run ``embedkit leaks``."""
    from embedkit.files.store import FeatureFile
    from embedkit.scoring.split_file import write_splits
    from probes.leaks.leaks import without_copies
    from probes.leaks.search import find

    options = ProbeOptions(split=args.split, seed=args.seed)
    with FeatureFile(args.features) as file:
        notes: list[str] = []
        leaks = find(file, notes)
        for line in notes:
            note(line)
        try:
            splits = _splits(file, options)
            if args.save_split and splits:
                groups = leaks.groups(file.n)
                kept = [without_copies(split, groups) for split in splits]
                write_splits(args.save_split, kept, file.rows.ids)
                lost = sum(len(s.train) + len(s.validation) for s in splits)
                lost -= sum(len(s.train) + len(s.validation) for s in kept)
                note(f"Split without {lost:,} copies kept in {args.save_split}; the test rows are the same.")
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        if args.pairs:
            _write_pairs(args.pairs, leaks, file)
        document = describe(leaks, splits, file.n)
    if args.json:
        print_json(document)
    else:
        print_leaks(document)


def describe(leaks: Leaks, splits: Sequence[Split], n: int) -> dict[str, Any]:
    """Count pairs and, of each kind, the test rows of the splits with a copy in training or validation."""
    found = {
        kind: {
            "pairs": len(pairs),
            "test_rows": sum(leaks.n_across(kind, s, n) for s in splits) if splits else None,
        }
        for kind, pairs in leaks.pairs.items()
    }
    names = [split.name for split in splits]
    return {"splits": names, "found": found, "not_checked": dict(leaks.not_checked)}


def _splits(file: FeatureFile, options: ProbeOptions) -> tuple[Split, ...]:
    from probes.division import asked_splits, usable_labels

    labels = file.rows.labels
    if labels is None or len(set(labels[labels >= 0].tolist())) < 2:
        note(f"{file.path}: no labels of two classes, so no split is drawn.")
        return ()
    notes: list[str] = []
    usable, _ = usable_labels(file, notes)
    splits = asked_splits(file, usable, options, notes)
    for line in notes:
        note(line)
    return splits


def _write_pairs(path: Path, leaks: Leaks, file: FeatureFile) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("kind", "id", "other"))
        for kind, pairs in leaks.pairs.items():
            for a, b in pairs:
                writer.writerow((kind, file.rows.ids[a], file.rows.ids[b]))


def print_leaks(document: Mapping[str, Any]) -> None:
    """Print what `describe` gave: a line a kind, and on stderr why a kind was not checked."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False)
    for i, name in enumerate(("", "pairs", "test rows with one in training or validation")):
        table.add_column(name, justify="right" if i else "left")
    for kind, title in TITLES.items():
        found = document["found"].get(kind)
        if found is None:
            table.add_row(title, Text("not checked", style="dim"), "")
        else:
            across = found["test_rows"]
            table.add_row(title, f"{found['pairs']:,}", "-" if across is None else f"{across:,}")
    print_table(table)
    for reason in dict.fromkeys(document["not_checked"].values()):
        note(f"Not checked: {reason}")
