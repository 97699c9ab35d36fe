"""From what a user names (a folder, a file or a registered name) to a dataset."""

from __future__ import annotations

import argparse
import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedkit.datasets.arrays import load_h5, load_npy, load_npz
from embedkit.datasets.csv_file import load_csv
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.first_radio import load_first_radio
from embedkit.datasets.folder import load_folder
from embedkit.datasets.galaxy10 import load_galaxy10_decals, load_galaxy10_sdss
from embedkit.datasets.galaxy_zoo_2 import load_galaxy_zoo_2
from embedkit.datasets.simulated import load_simulated
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
        Where the images come from.
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


_GALAXY_ZOO = "Lintott et al. 2008, MNRAS 389, 1179; Willett et al. 2013, MNRAS 435, 2835"

DATASETS = {
    "first-radio": Source(
        summary="radio galaxies of the VLA FIRST survey, with the published split",
        images="2,158, 300 x 300, grey",
        labels="FRI, FRII, Compact, Bent",
        load=load_first_radio,
        origin="the package firstgalaxydata: pip install 'embedkit[sample]'",
        citation="Griese et al. 2023, Data in Brief 47, 108974; Becker et al. 1995, ApJ 450, 559",
        licence="MIT (package); images: scholarly, educational and private non-commercial use",
    ),
    "galaxy10-decals": Source(
        summary="galaxies of the DESI Legacy Surveys in ten kinds",
        images="17,736, 256 x 256, colour",
        labels="ten kinds; redshift and pixel scale as targets; positions",
        load=load_galaxy10_decals,
        origin="downloaded once (2.5 GB), or --path",
        citation=f"Leung & Bovy 2019, MNRAS 483, 3255; Walmsley et al. 2022, MNRAS 509, 3966; {_GALAXY_ZOO}",
        licence="MIT (Galaxy10); see the Legacy Surveys' acknowledgment",
    ),
    "galaxy10-sdss": Source(
        summary="galaxies of the Sloan Digital Sky Survey in ten kinds",
        images="21,785, 69 x 69, colour",
        labels="ten kinds; redshift and pixel scale as targets; positions",
        load=load_galaxy10_sdss,
        origin="downloaded once, or --path",
        citation=f"Leung & Bovy 2019, MNRAS 483, 3255; {_GALAXY_ZOO}",
        licence="MIT (Galaxy10); see the SDSS image use policy",
    ),
    "galaxy-zoo-2": Source(
        summary="the Kaggle challenge's SDSS galaxies with vote fractions",
        images="61,578 and 79,975 test images, 424 x 424, colour",
        labels="37 vote fractions as targets; smooth, featured with --threshold",
        load=load_galaxy_zoo_2,
        origin="unpacked files of the Kaggle challenge: --path",
        citation=_GALAXY_ZOO,
        licence="the challenge's rules",
    ),
    "simulated": Source(
        summary="small galaxies of the ten Galaxy10 DECaLS kinds, drawn from a seed",
        images="--n (1,000), --size (128 x 128), colour",
        labels="ten kinds",
        load=load_simulated,
        origin="drawn when read",
        citation="none",
        licence="Apache-2.0, as this package",
    ),
}


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
    "images_key": Option("--images-key", "NAME", "npz, h5: array of images; by default images"),
    "labels_key": Option("--labels-key", "NAME", "npz, h5: array of labels; by default labels"),
    "subset": Option("--subset", "NAME", "galaxy-zoo-2: training (default) or test"),
    "threshold": Option(
        "--threshold",
        "SHARE",
        "galaxy-zoo-2: keep images with at least this share of votes, as classes",
        float,
    ),
    "n": Option("--n", "N", "simulated: number of images; by default 1000", int),
    "size": Option("--size", "PIXELS", "simulated: pixels a side; by default 128", int),
    # Not --seed, which commands that draw at random themselves have for their own.
    "seed": Option("--dataset-seed", "SEED", "simulated: seed of the drawing; by default 0", int),
}

_BY_ENDING: dict[str, Callable[..., Dataset]] = {
    ".csv": load_csv,
    ".tsv": load_csv,
    ".npy": load_npy,
    ".npz": load_npz,
    ".h5": load_h5,
    ".hdf5": load_h5,
}


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
            known = ", ".join(OPTIONS[option].flag for option in applies)
            raise UsageError(
                f"{flag} does not apply to {what}. "
                + (f"Its options are {known}." if known else "It has no options.")
            )
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


def add_dataset_arguments(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add DATASET and the options of all sources; `dataset_from_args` reads them."""
    group = parser.add_argument_group("dataset")
    group.add_argument(
        "dataset",
        metavar="DATASET",
        nargs="?" if optional else None,
        default=None if optional else argparse.SUPPRESS,
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
