"""From what a user names (a folder, a file or a registered name) to a dataset."""

from __future__ import annotations

import argparse
import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedkit.datasets.csv_file import load_csv
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.folder import load_folder
from embedkit.errors import UsageError


@dataclass(frozen=True)
class Source:
    """A registered dataset.

    Parameters
    ----------
    summary
        What it is, in one line.
    images, labels
        How many images of what size, and which labels.
    load
        Its loader; the keyword arguments are the options that apply to it.
    origin
        How the images get here.
    citation, licence
        What to cite, and the terms of the images and labels.
    """

    summary: str
    images: str
    labels: str
    load: Callable[..., Dataset]
    origin: str
    citation: str
    licence: str


DATASETS: dict[str, Source] = {}


@dataclass(frozen=True)
class Option:
    """A command-line option of some sources."""

    flag: str
    metavar: str
    help: str
    type: Callable[[str], Any] = str


OPTIONS = {
    "path": Option("--path", "PATH", "where the files of a registered dataset lie"),
    "root": Option("--root", "DIR", "CSV: folder that file names are relative to; by default the CSV's own"),
    "file_column": Option("--file-column", "NAME", "CSV: column of file names; by default file"),
    "label_column": Option("--label-column", "NAME", "CSV: column of labels; by default label"),
    "split_column": Option(
        "--split-column", "NAME", "CSV: column of train, validation, test; by default split"
    ),
    "group_column": Option("--group-column", "NAME", "CSV: column of groups that no split divides"),
    "id_column": Option("--id-column", "NAME", "CSV: column of ids; by default the file names"),
    "target_columns": Option("--target-columns", "A,B,...", "CSV: columns of numbers to predict"),
}

_BY_ENDING: dict[str, Callable[..., Dataset]] = {".csv": load_csv, ".tsv": load_csv}


def load_dataset(source: str, *, path: str | None = None, **options: Any) -> Dataset:
    """Open a dataset; images are read later, one at a time.

    Parameters
    ----------
    source
        A folder, a .csv, .npy, .npz or .h5 file, or a name in `DATASETS`. A folder that bears such a name
        is meant with ``./name``.
    path
        Where the files of a registered dataset lie.
    **options
        Options of the source, as ``embedkit extract --help`` lists them (``root``, ``label_column``, ...).

    Raises
    ------
    UsageError
        Nothing of that name, or an option that does not apply to it.
    EmbedkitError
        Its files are missing or damaged; the message says which and what to do.
    """
    given = {name: value for name, value in {"path": path, **options}.items() if value is not None}
    load, what = _loader(source)
    applies = [name for name in inspect.signature(load).parameters if name != "source"]
    for name in given:
        if name not in applies:
            flag = OPTIONS[name].flag if name in OPTIONS else name
            known = ", ".join(OPTIONS[option].flag for option in applies) or "none"
            raise UsageError(f"{flag} does not apply to {what}. Its options: {known}.")
    return load(**given) if source in DATASETS else load(source, **given)


def _loader(source: str) -> tuple[Callable[..., Dataset], str]:
    if source in DATASETS:
        return DATASETS[source].load, source
    place = Path(source)
    if place.is_dir():
        return load_folder, f"the folder {source}"
    if place.exists():
        load = _BY_ENDING.get(place.suffix.lower())
        if load is None:
            raise UsageError(
                f"{source}: not a dataset by its ending. Give a folder, a file that ends in "
                f"{' '.join(_BY_ENDING)}, or a name that `embedkit datasets` lists."
            )
        return load, f"the file {source}"
    close = difflib.get_close_matches(source, DATASETS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UsageError(
        f"{source}: no such file or folder, and no dataset of that name.{hint} Known by name: "
        f"{', '.join(DATASETS)}."
    )


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """Add DATASET and the options of all sources; `dataset_from_args` reads them."""
    group = parser.add_argument_group("dataset")
    group.add_argument(
        "dataset",
        metavar="DATASET",
        help="a folder, a .csv, .npy, .npz or .h5 file, or a name that `embedkit datasets` lists",
    )
    for name, option in OPTIONS.items():
        # No default here: whether an option was given decides whether it must apply to the source.
        group.add_argument(
            option.flag,
            dest=f"dataset_{name}",
            metavar=option.metavar,
            type=option.type,
            default=argparse.SUPPRESS,
            help=option.help,
        )


def dataset_from_args(args: argparse.Namespace) -> Dataset:
    """Open the dataset that the options of `add_dataset_arguments` name."""
    given = {name: getattr(args, f"dataset_{name}", None) for name in OPTIONS}
    return load_dataset(args.dataset, **given)
