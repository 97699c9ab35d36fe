"""``embedkit datasets``: which datasets there are, and what one of them holds."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from embedkit.cli import Handler
from embedkit.console import note, print_json, print_table
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import DATASETS, OPTIONS, add_dataset_arguments, dataset_from_args
from embedkit.errors import UsageError
from embedkit.files.rows import SPLITS

_FIRST = 3


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of ``embedkit datasets``."""
    parser.epilog = "Without DATASET: the datasets that are known by name. With it: what would be loaded."
    add_dataset_arguments(parser, optional=True)
    parser.add_argument("--json", action="store_true", help="print JSON on stdout instead of a table")
    return run


def run(args: argparse.Namespace) -> None:
    """List the datasets, or describe the one that was named."""
    if args.dataset is None:
        given = [option.flag for name, option in OPTIONS.items() if hasattr(args, f"dataset_{name}")]
        if given:
            raise UsageError(f"{given[0]} needs a DATASET that it applies to: embedkit datasets DATASET ...")
        _list(as_json=args.json)
        return
    summary = describe(dataset_from_args(args))
    if args.json:
        print_json(summary)
    else:
        _print(summary)


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what a dataset holds, as JSON values; no image is read."""
    rows = dataset.rows
    summary: dict[str, Any] = {"name": dataset.name, "n": len(rows), "fingerprint": dataset.fingerprint}
    if rows.labels is not None:
        counts = np.bincount(rows.labels[rows.labels >= 0], minlength=len(rows.class_names))
        summary["classes"] = {name: int(n) for name, n in zip(rows.class_names, counts, strict=True)}
        summary["unlabelled"] = int((rows.labels < 0).sum())
    else:
        summary["unlabelled"] = len(rows)
    if rows.split is not None:
        summary["split"] = {name: int((rows.split == name).sum()) for name in SPLITS}
        summary["in no split"] = int((rows.split == "").sum())
    if rows.group is not None:
        summary["groups"] = len(np.unique(rows.group[rows.group != ""]))
    if rows.coordinates is not None:
        summary["with position"] = int(np.isfinite(rows.coordinates).all(axis=1).sum())
    summary["targets"] = list(rows.target_names)
    summary["first"] = [str(name) for name in rows.ids[:_FIRST]]
    summary["origin"] = dict(dataset.origin)
    return summary


def _print(summary: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "", show_header=False)
    for name, value in summary.items():
        if isinstance(value, dict):
            shown = "\n".join(f"{key}: {_shown(item)}" for key, item in value.items())
        elif isinstance(value, list):
            shown = ", ".join(value) or "none"
        else:
            shown = _shown(value)
        table.add_row(name, escape(shown))
    print_table(table)


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _list(*, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                name: {
                    field: getattr(source, field)
                    for field in ("summary", "images", "labels", "origin", "citation", "licence")
                }
                for name, source in DATASETS.items()
            }
        )
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("name", "images", "labels", "comes from", "cite", "licence")
    for name, source in DATASETS.items():
        table.add_row(
            name,
            f"{source.summary}\n{source.images}",
            source.labels,
            escape(source.origin),
            source.citation.replace("; ", "\n"),
            source.licence,
        )
    print_table(table)
    note("Your own images: embedkit datasets FOLDER, or a .csv, .npy, .npz or .h5 file.")
