"""``embedkit datasets``: which datasets there are, and what one of them holds."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from embedkit.console import fitting, note, print_json, print_table
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.errors import UsageError
from embedkit.options import add_json_flag, asked, declared, from_flags


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit datasets``."""
    parser.epilog = "Without DATASET: the datasets that are known by name. With it: what would be loaded."
    add_dataset_flags(parser, optional=True)
    add_json_flag(parser)
    return run


def run(args: argparse.Namespace) -> None:
    """List the datasets, or describe the one that was named."""
    options = from_flags(DatasetOptions, args)
    if args.dataset is None:
        given = asked(options)
        if given:
            flag = declared(DatasetOptions)[given[0]].flag
            raise UsageError(f"{flag} needs a DATASET that it applies to: embedkit datasets DATASET ...")
        _list(as_json=args.json)
        return
    from embedkit.datasets.load import open_dataset

    summary = open_dataset(args.dataset, options).describe()
    if args.json:
        print_json(summary)
    else:
        _print(summary)


def _print(summary: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("", "", show_header=False)
    for name, value in summary.items():
        if isinstance(value, dict):
            shown = "\n".join(f"{key}: {_shown(item)}" for key, item in value.items())
        elif isinstance(value, list):
            shown = ", ".join(value) or "none"
        else:
            shown = _shown(value)
        table.add_row(name, shown)
    print_table(table)


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _list(*, as_json: bool) -> None:
    from embedkit.datasets.load import DATASETS

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
    from rich.table import Table

    table = Table("name", "images", "labels", "comes from", "cite", "licence")
    for name, source in DATASETS.items():
        table.add_row(
            name,
            f"{source.summary}\n{source.images}",
            source.labels,
            source.origin,
            source.citation.replace("; ", "\n"),
            source.licence,
        )
    # On a narrow terminal one column beside the names, which six would break words of.
    narrow = Table("name", "what, and where from", show_lines=True)
    for name, source in DATASETS.items():
        about = [f"{source.summary}; {source.images}", f"labels: {source.labels}", f"from: {source.origin}"]
        about += [f"cite: {source.citation}", f"licence: {source.licence}"]
        narrow.add_row(name, "\n".join(about))
    print_table(fitting(table, narrow))
    note(
        "Your own images: embedkit datasets FOLDER, a .csv, .npy, .npz or .h5 file, or .tar or .parquet "
        "shards."
    )
