"""What a source of images can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedkit.images.reading import FIELDS, STRETCH, STRETCHES, Reading
from embedkit.options import READS, add_flags, check, labels_option, option, path_option

if TYPE_CHECKING:
    import argparse

GROUP = "dataset"
CSV, TABLES = "CSV: ", "CSV, Parquet: "
VOTE_FRACTIONS = ("weighted", "plain", "debiased")
SUBSETS = ("training", "test", "volunteers-5", "volunteers-1-and-2", "predicted")


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """Options of the sources of images; each source has some of them, see `embedkit.datasets.load`.

    None is not given: what is given must apply to the source.

    Parameters
    ----------
    path
        Where the files of a registered dataset lie.
    root
        Of a table: the folder that file names are relative to.
    file_column, label_column, split_column, group_column, id_column, target_columns
        Of a table or Parquet: names of its columns. `label_column` and `target_columns` are also fields of
        the .json in tar shards.
    images_key, labels_key
        Of an .npz or .h5 file: names of its arrays; of tar shards: endings of members; of Parquet:
        `images_key` is the column of images.
    labels
        A table whose labels take the place of the source's own, found by id.
    subset, threshold
        Of galaxy-zoo-2 and galaxy-zoo-decals, see `embedkit.datasets.galaxy_zoo_2.load_galaxy_zoo_2` and
        `embedkit.datasets.galaxy_zoo_decals.load_galaxy_zoo_decals`; the second of galaxy-zoo-2-hart16 too.
    vote_fractions
        Of galaxy-zoo-2-hart16, see `embedkit.datasets.galaxy_zoo_2_hart16.load_galaxy_zoo_2_hart16`.
    follow_links
        Of a folder: whether links to folders, and out of it, are followed.
    channels, white, hdu, stretch, percentiles
        How numbers become pixels, see `embedkit.images.reading.Reading`; the last three are of FITS.
    n, size, dataset_seed
        Of simulated: how many images, pixels a side, and the seed that they are drawn from, which is not the
        ``seed`` of a verb that draws at random itself.
    votes
        Of simulated: whether shares of votes are its targets, see `embedkit.datasets.simulated_votes`.
    """

    path: str | None = path_option(group=GROUP)
    root: str | None = option(
        None,
        CSV + "folder that file names are relative to",
        metavar="DIR",
        unset="the CSV's own",
        group=GROUP,
        place=READS,
    )
    file_column: str | None = option(
        None, CSV + "column of file names", metavar="NAME", unset="file", group=GROUP
    )
    label_column: str | None = option(
        None, TABLES + "column of labels", metavar="NAME", unset="label", group=GROUP
    )
    split_column: str | None = option(
        None, TABLES + "column of train, validation, test", metavar="NAME", unset="split", group=GROUP
    )
    group_column: str | None = option(
        None, TABLES + "column of groups that no split divides", metavar="NAME", unset="group", group=GROUP
    )
    id_column: str | None = option(
        None, TABLES + "column of ids", metavar="NAME", unset="the file names, or a usual name", group=GROUP
    )
    target_columns: tuple[str, ...] | None = option(
        None, TABLES + "columns of numbers to predict", metavar="A,B,...", separator=",", group=GROUP
    )
    images_key: str | None = option(
        None,
        "npz, h5: array of images; tar: ending of the image; Parquet: its column",
        metavar="NAME",
        unset="images",
        group=GROUP,
    )
    labels_key: str | None = option(
        None,
        "npz, h5: array of labels; tar: ending of the label, such as cls",
        metavar="NAME",
        unset="labels",
        group=GROUP,
    )
    labels: Path | None = labels_option(group=GROUP)
    subset: str | None = option(
        None,
        "galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes",
        choices=SUBSETS,
        unset="training, or volunteers-5",
        group=GROUP,
    )
    threshold: float | None = option(
        None,
        "galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes",
        metavar="SHARE",
        group=GROUP,
    )
    vote_fractions: str | None = option(
        None,
        "galaxy-zoo-2-hart16: which of the table's fractions are the targets",
        choices=VOTE_FRACTIONS,
        unset="weighted",
        group=GROUP,
    )
    follow_links: bool | None = option(
        None, "folder: follow links to folders, and out of it; each folder is read once", group=GROUP
    )
    channels: tuple[int, ...] | None = option(
        None,
        "arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2",
        least=0,
        metavar="A,B,...",
        separator=",",
        group=GROUP,
    )
    white: float | None = option(
        None, "value that is drawn white, such as 4095", above=0, metavar="VALUE", group=GROUP
    )
    hdu: str | None = option(
        None, "FITS: number or name of the part", metavar="PART", unset="the first image", group=GROUP
    )
    stretch: str | None = option(
        None, "FITS: from values to grey", choices=STRETCHES, unset=STRETCH, group=GROUP
    )
    percentiles: tuple[float, float] | None = option(
        None,
        "FITS: percentages drawn black and white",
        least=0,
        most=100,
        metavar="LOW HIGH",
        unset="0.5 99.5",
        group=GROUP,
    )
    n: int | None = option(
        None, "simulated: number of images", flag="--n", least=1, metavar="N", unset="1000", group=GROUP
    )
    size: int | None = option(
        None, "simulated: pixels a side", least=16, most=1024, metavar="PIXELS", unset="128", group=GROUP
    )
    dataset_seed: int | None = option(
        None, "simulated: seed of the drawing", least=0, metavar="SEED", unset="0", group=GROUP
    )
    votes: bool | None = option(
        None, "simulated: shares of votes as targets, by 40 simulated volunteers a galaxy", group=GROUP
    )

    def __post_init__(self) -> None:
        check(self)
        self.reading()

    def reading(self) -> Reading:
        """Return how numbers become pixels."""
        return Reading.of({name: getattr(self, name) for name in FIELDS})


def add_dataset_flags(
    parser: argparse.ArgumentParser, *, optional: bool = False, or_else: str = "", without: Iterable[str] = ()
) -> None:
    """Add DATASET, whose help ends with what else it may be, and the options of all sources but some."""
    what = (
        "a folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, or a name that `embedkit "
        "datasets` lists"
    )
    parser.add_argument(
        "dataset",
        metavar="DATASET",
        nargs="?" if optional else None,
        help=what + or_else,
    )
    add_flags(parser, DatasetOptions, without=without)
