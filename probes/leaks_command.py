"""`embedkit leaks`: copies of one image in a feature file, and how many of them lie across a split."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.console import note, print_json, print_table, progress
from embedkit.errors import DataError, EmbedkitError
from probes.options import SPLIT_NAMES, ProbeOptions

if TYPE_CHECKING:
    from embedkit.store import FeatureFile
    from probes.leaks import Fingerprints, Leaks
    from probes.splits import Split

TITLES = {
    "exact": "exact copies",
    "near": "near copies",
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
    from embedkit.store import FeatureFile
    from probes.leaks import without_copies
    from probes.splits import write_splits

    options = ProbeOptions(split=args.split, seed=args.seed)
    with FeatureFile(args.features) as file:
        leaks = find(file)
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
        counts: dict[str, Any] = {
            kind: {
                "pairs": len(pairs),
                "test_rows": sum(leaks.n_across(kind, s, file.n) for s in splits) if splits else None,
            }
            for kind, pairs in leaks.pairs.items()
        }
    if args.json:
        names = [split.name for split in splits]
        print_json({"splits": names, "found": counts, "not_checked": dict(leaks.not_checked)})
    else:
        _print(counts, leaks, splits)


def find(file: FeatureFile) -> Leaks:
    """Look for copies in every way that the file and its images allow."""
    import numpy as np

    from embedkit.source_images import SourceImages
    from probes.leaks import Leaks, close_neighbours, exact_copies, near_copies, sky_copies

    pairs, not_checked = {}, {}
    try:
        prints, n_lost = _fingerprints(SourceImages.of(file))
    except EmbedkitError as error:
        not_checked["exact"] = not_checked["near"] = str(error)
    else:
        if n_lost:
            note(f"{n_lost:,} images could not be read, and are not compared.")
        pairs["exact"] = exact_copies(prints.digests)
        # One of each suffices: a hundred copies would make thousands of near pairs.
        thumbnails = prints.thumbnails.copy()
        thumbnails[pairs["exact"][:, 1]] = np.nan
        pairs["near"] = near_copies(thumbnails)
    if file.rows.coordinates is None:
        not_checked["sky"] = f"{file.path}: no coordinates stored."
    else:
        pairs["sky"] = sky_copies(file.rows.coordinates)
    rows = np.flatnonzero(file.ok)
    pairs["embedding"] = rows[close_neighbours(file.read(rows))]
    return Leaks(pairs, not_checked)


def _fingerprints(images: Any) -> tuple[Fingerprints, int]:
    import numpy as np

    from probes.leaks import SIDE, Fingerprints, fingerprint

    n = len(images.place)
    digests = [""] * n
    thumbnails = np.full((n, SIDE, SIDE), np.nan, dtype=np.float32)
    with progress("reading images", n, unit="images") as advance:
        for row, number in enumerate(images.place):
            if number >= 0:
                try:
                    source = images.dataset.read(int(number))
                    digests[row], thumbnails[row] = fingerprint(source, images.dataset.where(int(number)))
                except (EmbedkitError, OSError):
                    pass  # counted below
            advance()
    return Fingerprints(np.array(digests, dtype=np.str_), thumbnails), digests.count("")


def _splits(file: FeatureFile, options: ProbeOptions) -> tuple[Split, ...]:
    from probes.division import draw_splits, usable_labels

    if file.rows.labels is None or (file.rows.labels < 0).all():
        note(f"{file.path}: no labels stored, so no split is drawn.")
        return ()
    notes: list[str] = []
    labels, _ = usable_labels(file, notes)
    splits = draw_splits(file.rows, labels, options, notes)
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


def _print(counts: dict[str, Any], leaks: Leaks, splits: tuple[Split, ...]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(show_edge=False)
    for i, name in enumerate(("", "pairs", "test rows with one in training or validation")):
        table.add_column(name, justify="right" if i else "left")
    for kind, title in TITLES.items():
        if kind in counts:
            across = f"{counts[kind]['test_rows']:,}" if splits else "-"
            table.add_row(title, f"{counts[kind]['pairs']:,}", across)
        else:
            table.add_row(title, Text("not checked", style="dim"), "")
    print_table(table)
    for reason in dict.fromkeys(leaks.not_checked.values()):
        note(f"Not checked: {reason}")
