"""Galaxy Zoo 2 as its authors publish it: Hart et al. 2016's table of votes, and images named by another."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.annotations import check_ids
from embedkit.datasets.csv_file import file_sizes
from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.folder import ImageFiles
from embedkit.datasets.galaxy_zoo_2 import check_threshold, smooth_or_featured
from embedkit.datasets.large_table import kept, read_columns
from embedkit.datasets.text_table import Table
from embedkit.datasets.vote_counts import EVERYBODY, asked_of
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.regular import resolved
from embedkit.files.rows import Rows
from embedkit.files.vote_tree import GALAXY_ZOO_2, TOLERANCE, check_votes, cumulative, each_by_itself

NAME = "galaxy-zoo-2-hart16"
# As data.galaxyzoo.org has it, packed and not, and as the SDSS has that of Willett et al. 2013.
TABLES = ("gz2_hart16.csv", "gz2_hart16.csv.gz", "zoo2MainSpecz.csv", "zoo2MainSpecz.csv.gz")
MAPPING, IMAGES = "gz2_filename_mapping.csv", "images_gz2"
COLUMNS = {"weighted": "weighted_fraction", "plain": "fraction", "debiased": "debiased"}
# Of the release's galaxies, 0.08 % have no image; of an archive that was unpacked in part, far more.
MOST_WITHOUT = 0.01


def load_galaxy_zoo_2_hart16(
    *, path: str | None = None, vote_fractions: str | None = None, threshold: float | None = None
) -> Dataset:
    """Read the release's images with their 37 vote fractions as targets, under the Kaggle challenge's names.

    The table holds fractions among those who were asked a question. Targets are fractions of everybody, as in
    the challenge: each is multiplied by its parent's, so that answers sum to the share of the answer that
    leads to them. A question that some should have been asked, and nobody answered, is missing (NaN).

    Parameters
    ----------
    path
        The folder with ``gz2_hart16.csv``, ``gz2_filename_mapping.csv`` and the unpacked ``images_gz2``.
    vote_fractions
        ``weighted`` (default): by how much each volunteer agrees with others. ``plain``: counts over their
        sum. ``debiased``: as at one redshift; they need not sum to 1 within a question, and are divided by
        their sum.
    threshold
        Share of votes, over 0.5 and up to 1: images on which at least that share agrees become ``smooth`` or
        ``featured``, all others are dropped.

    Raises
    ------
    UsageError
        No path, or other fractions or another threshold than there can be.
    EmbedkitError
        A part of the layout is missing, over 1 % of the galaxies have no image, or fractions that are none.
    """
    if path is None:
        raise UsageError(
            f"{NAME}: needs --path, the folder with {TABLES[0]}, {MAPPING} and the unpacked {IMAGES}.zip."
        )
    check_threshold(threshold, NAME)
    chosen = "weighted" if vote_fractions is None else vote_fractions
    if chosen not in COLUMNS:
        raise UsageError(f"{NAME}: no fractions {chosen!r}. Give --vote-fractions {' or '.join(COLUMNS)}.")
    root = resolved(path)
    table = _read(_table(root), chosen)
    folder = _images(root)
    names, table = _with_images(table, _mapping(root / MAPPING), folder)
    files = ImageFiles(folder, names)
    sizes = file_sizes(table, folder, names, fix=f"Unpack {IMAGES}.zip again.")
    rows, shares = _rows(table, chosen)
    if threshold is not None:
        rows, clear = smooth_or_featured(rows, shares, threshold, str(table.path))
        files = ImageFiles(folder, [name for name, one in zip(names, clear, strict=True) if one])
        sizes = sizes[clear]
    origin = {"source": NAME, "path": str(root), "vote_fractions": vote_fractions, "threshold": threshold}
    return Dataset(
        name=NAME if vote_fractions is None else f"{NAME}-{chosen}",
        rows=rows,
        read=files.read,
        where=files.where,
        fingerprint=fingerprint(rows, {"sizes": sizes}),
        origin={name: value for name, value in origin.items() if value is not None},
    )


def _table(root: Path) -> Path:
    found = next((root / name for name in TABLES if (root / name).is_file()), None)
    if found is None:
        kaggle = (root / "training_solutions_rev1.csv").exists()
        hint = " These are the Kaggle challenge's files: galaxy-zoo-2 reads them." if kaggle else ""
        raise EmbedkitError(
            f"{root}: no {TABLES[0]} there. Put the table of Hart et al. 2016 into this folder, or name its "
            f"folder with --path.{hint}"
        )
    return found


def _images(root: Path) -> Path:
    places = (root / IMAGES / "images", root / IMAGES / IMAGES / "images", root / "images", root / IMAGES)
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise EmbedkitError(f"{root}: no folder {IMAGES}/images there. Unpack {IMAGES}.zip into this folder.")
    return found


def _read(path: Path, chosen: str) -> Table:
    """Read the columns that are used, of 231."""
    answers = [answer.name for answer in GALAXY_ZOO_2.answers]
    needed = ("dr7objid", "ra", "dec", "sample", *(f"{name}_{COLUMNS[chosen]}" for name in answers))
    return read_columns(path, needed, (EVERYBODY, *(f"{name}_count" for name in answers)))


def _mapping(path: Path) -> dict[str, dict[str, str]]:
    """Return each galaxy's samples and the number of the image of each."""
    table = read_columns(path, ("objid", "sample", "asset_id"))
    found: dict[str, dict[str, str]] = {}
    for galaxy, sample, image in zip(
        *(table.columns[name] for name in ("objid", "sample", "asset_id")), strict=True
    ):
        found.setdefault(galaxy, {})[sample] = image
    return found


def _with_images(table: Table, mapping: dict[str, dict[str, str]], folder: Path) -> tuple[list[str], Table]:
    """Return the images of the galaxies, and the rows of the table that have one."""
    galaxies, samples = table.columns["dr7objid"], table.columns["sample"]
    check_ids(np.array(galaxies, dtype=np.str_), str(table.path))
    there = set(os.listdir(folder))  # noqa: PTH208 - names alone are wanted
    names = [_image(mapping.get(one, {}), sample) for one, sample in zip(galaxies, samples, strict=True)]
    has = [name in there for name in names]
    n, n_all = len(has) - sum(has), len(has)
    if n:
        unmapped = [one for one, name in zip(galaxies, names, strict=True) if not name]
        gone = [name for name, one in zip(names, has, strict=True) if name and not one]
        facts = [f"{len(unmapped):,} are not in {MAPPING}, such as {unmapped[0]}"] if unmapped else []
        facts += [f"the files of {len(gone):,} are not in {folder}, such as {gone[0]}"] if gone else []
        said = f"{table.path}: {n:,} of {n_all:,} galaxies have no image: {'; '.join(facts)}."
        if n == n_all or n > max(1, MOST_WITHOUT * n_all):
            fixes = [f"download {MAPPING} again"] if unmapped else []
            fixes += [f"unpack {IMAGES}.zip again"] if gone else []
            fix = " and ".join(fixes)
            raise EmbedkitError(f"{said} {fix[0].upper()}{fix[1:]}, or take these galaxies out of the table.")
        note(f"{said} They are left out; of the whole release it is one in a thousand.")
    names, table = [name for name in names if name in there], kept(table, has)
    _check_once(names, table)
    more = sum(name.endswith(".jpg") for name in there) - len(names)
    if more:
        note(f"{folder}: {more:,} images are of galaxies that the table does not have: left out.")
    return names, table


def _image(of_samples: dict[str, str], sample: str) -> str:
    """Return the file of a galaxy: of its sample, or the only one; stripe 82 was shown in several depths."""
    number = of_samples.get(sample)
    if number is None and len(of_samples) == 1:
        number = next(iter(of_samples.values()))
    return f"{number}.jpg" if number else ""


def _check_once(names: list[str], table: Table) -> None:
    seen: dict[str, str] = {}
    for name, galaxy in zip(names, table.columns["dr7objid"], strict=True):
        other = seen.setdefault(name, galaxy)
        if other != galaxy:
            raise EmbedkitError(
                f"{table.path.parent / MAPPING}: {name} is the image of {other} and of {galaxy}. Each image "
                f"is of one galaxy: download {MAPPING} again."
            )


def _rows(table: Table, chosen: str) -> tuple[Rows, NDArray[np.float64]]:
    ids = np.array(table.columns["dr7objid"], dtype=np.str_)
    shares = cumulative(_within(table, chosen, ids), GALAXY_ZOO_2)
    rows = Rows(
        ids=ids,
        targets=shares.astype(np.float32),
        target_names=GALAXY_ZOO_2.target_names,
        coordinates=np.stack([table.numbers("ra", ""), table.numbers("dec", "")], axis=1),
        asked=asked_of(table, GALAXY_ZOO_2, shares),
    )
    return rows, shares


def _within(table: Table, chosen: str, ids: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return (n, 37) shares of those who were asked, which sum to 1 in each question; NaN where none was."""
    tree = GALAXY_ZOO_2
    names = [f"{answer.name}_{COLUMNS[chosen]}" for answer in tree.answers]
    within = np.stack([table.numbers(name, "") for name in names], axis=1)
    debiased = chosen == "debiased"
    # Each answer was debiased by itself, so sums of debiased ones are what they are.
    check_votes(
        within, each_by_itself(tree), ids, str(table.path), tolerance=np.inf if debiased else TOLERANCE
    )
    off = np.zeros(len(ids))
    for branch in tree.branches:
        columns = list(branch.columns)
        total = within[:, columns].sum(axis=1)
        total[total == 0] = np.nan  # nobody answered
        off = np.fmax(off, np.abs(total - 1))
        within[:, columns] /= total[:, None]  # of the others, that takes away the rounding to three decimals
    n = int((off > TOLERANCE).sum())
    if n:
        note(
            f"{table.path}: debiased fractions of {n:,} of {len(ids):,} galaxies don't sum to 1 within a "
            f"question (the farthest is off by {off.max():.2g}): each is divided by its question's sum."
        )
    return within
