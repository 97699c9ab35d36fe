"""Galaxy Zoo DECaLS in the layout of its release: folders of PNGs in four parts, three tables of votes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.csv_file import file_sizes
from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.folder import ImageFiles
from embedkit.datasets.galaxy_zoo_2 import check_threshold, smooth_or_featured
from embedkit.datasets.large_table import kept, read_columns
from embedkit.datasets.text_table import Table
from embedkit.datasets.vote_counts import asked_of
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.regular import resolved
from embedkit.files.rows import Rows
from embedkit.files.vote_tree import (
    GALAXY_ZOO_DECALS_1_AND_2,
    GALAXY_ZOO_DECALS_5,
    Branch,
    VoteTree,
    check_votes,
    cumulative,
    each_by_itself,
)

NAME = "galaxy-zoo-decals"
PARTS = 4
_PART = re.compile(r"gz_decals_dr5_png_part\d+")


@dataclass(frozen=True)
class Votes:
    """One of the release's tables: its file, and the questions that it has."""

    file: str
    tree: VoteTree


TABLES = {
    "volunteers-5": Votes("gz_decals_volunteers_5.csv", GALAXY_ZOO_DECALS_5),
    "volunteers-1-and-2": Votes("gz_decals_volunteers_1_and_2.csv", GALAXY_ZOO_DECALS_1_AND_2),
    "predicted": Votes("gz_decals_auto_posteriors.csv", GALAXY_ZOO_DECALS_5),
}


def load_galaxy_zoo_decals(
    *, path: str | None = None, subset: str | None = None, threshold: float | None = None
) -> Dataset:
    """Read the release's images with the vote fractions of one of its tables as targets.

    The tables hold fractions among those who were asked a question. Targets are fractions of everybody, as in
    the Kaggle challenge: each is multiplied by its parent's, so that answers sum to the share of the answer
    that leads to them. A question that some should have been asked, and nobody answered, is missing (NaN).

    Parameters
    ----------
    path
        The folder with the unpacked ``gz_decals_dr5_png_part1`` to ``4`` and the tables.
    subset
        ``volunteers-5`` (default), ``volunteers-1-and-2``, or ``predicted``: what the network of Walmsley et
        al. 2022 expects of volunteers for all galaxies.
    threshold
        Share of votes, over 0.5 and up to 1: images on which at least that share agrees become ``smooth`` or
        ``featured``, all others are dropped.

    Raises
    ------
    UsageError
        No path, or another subset or threshold than there can be.
    EmbedkitError
        A part of the layout is missing, or fractions that are none or don't sum to 1.
    """
    if path is None:
        raise UsageError(
            f"{NAME}: needs --path, the folder with the unpacked files of the release "
            f"(gz_decals_dr5_png_part1 to {PARTS}, {TABLES['volunteers-5'].file})."
        )
    check_threshold(threshold, NAME)
    chosen = "volunteers-5" if subset is None else subset
    if chosen not in TABLES:
        raise UsageError(f"{NAME}: no subset {subset!r}. Give --subset {' or '.join(TABLES)}.")
    root = resolved(path)
    votes = TABLES[chosen]
    table = _read(root / votes.file, votes.tree)
    found, table = _with_images(root, table)
    files = ImageFiles(root, found)
    sizes = file_sizes(table, root, found, fix="Unpack the part of the release again.")
    rows, shares = _rows(table, votes.tree)
    if threshold is not None:
        rows, clear = smooth_or_featured(rows, shares, threshold, str(table.path))
        files = ImageFiles(root, [name for name, one in zip(found, clear, strict=True) if one])
        sizes = sizes[clear]
    origin = {"source": NAME, "path": str(root), "subset": subset, "threshold": threshold}
    return Dataset(
        name=NAME if subset is None else f"{NAME}-{chosen}",
        rows=rows,
        read=files.read,
        where=files.where,
        fingerprint=fingerprint(rows, {"sizes": sizes}),
        origin={name: value for name, value in origin.items() if value is not None},
    )


def _read(path: Path, tree: VoteTree) -> Table:
    """Read the columns that are used; the largest table has over a gigabyte of others."""
    fractions = [f"{name}_fraction" for name in tree.target_names]
    counts = [*tree.target_names, *(f"{question.name}_total-votes" for question in tree.questions)]
    return read_columns(path, ("iauname", "ra", "dec", *fractions), counts)


def _with_images(root: Path, table: Table) -> tuple[list[str], Table]:
    """Return paths of the galaxies' images below the root, and the rows of the table that have one."""
    places: dict[str, str] = {}
    parts = sorted({place.name: place for place in root.rglob("gz_decals_dr5_png_part*") if place.is_dir()})
    for part in parts:
        for folder in (root / part, root / part / part):
            if _PART.fullmatch(part) and folder.is_dir():
                places |= _pictures(root, folder)
    if not places:
        raise EmbedkitError(
            f"{root}: no images in gz_decals_dr5_png_part1 to {PARTS} there. Unpack the release's archives "
            "into this folder, or name theirs with --path."
        )
    names = [places.get(f"{galaxy}.png", "") for galaxy in table.columns["iauname"]]
    has = [bool(name) for name in names]
    n = len(has) - sum(has)
    if n:
        example = table.columns["iauname"][has.index(False)]
        if len(parts) >= PARTS or n == len(has):
            raise EmbedkitError(
                f"{table.path}: {n:,} of {len(has):,} galaxies have no image in {', '.join(parts)}, such as "
                f"{example}. Unpack the archives again, all {PARTS} of them."
            )
        note(
            f"{table.path}: {n:,} of {len(has):,} galaxies have no image in {', '.join(parts)}, such as "
            f"{example}: left out. The release has {PARTS} parts."
        )
    return [name for name in names if name], kept(table, has)


def _pictures(root: Path, part: Path) -> dict[str, str]:
    """Return the name of each image of a part, J004/J004544.11-005037.5.png, to its path below the root."""
    found = {}
    with os.scandir(part) as folders:
        for folder in folders:
            if folder.is_dir() and folder.name.startswith("J"):
                below = Path(folder.path).relative_to(root).as_posix()
                with os.scandir(folder) as images:
                    found.update({image.name: f"{below}/{image.name}" for image in images})
    return found


def _missing(table: Table, tree: VoteTree, branch: Branch) -> NDArray[np.bool_]:
    """Return which rows have no votes on a question, or some that are for none of the table's answers.

    Of early galaxies of campaign 5, merging was asked with other answers, and votes for these are in the
    total and in no column: of J134305.21-000639.5, 31 of 32. So the fractions of the others say nothing.
    """
    names = [tree.target_names[column] for column in branch.columns]
    total = f"{branch.question.name}_total-votes"
    if not {total, *names} <= table.columns.keys():  # predictions have no votes
        return np.zeros(len(table), dtype=np.bool_)
    cast = table.numbers(total, "")
    lost = np.sum([table.numbers(name, "") for name in names], axis=0) < cast
    if lost.any():
        note(
            f"{table.path}: {int(lost.sum()):,} of {len(table):,} galaxies have votes on "
            f"{branch.question.name} for none of the answers that the table has: these are missing there."
        )
    return np.asarray(lost | (cast == 0), dtype=np.bool_)


def _rows(table: Table, tree: VoteTree) -> tuple[Rows, NDArray[np.float64]]:
    within = np.stack([table.numbers(f"{name}_fraction", "") for name in tree.target_names], axis=1)
    for branch in tree.branches:
        # One table has 0 for the fractions of no votes, another has nothing.
        missing = _missing(table, tree, branch)
        for column in branch.columns:
            within[missing, column] = np.nan
    check_votes(within, each_by_itself(tree), table.columns["iauname"], str(table.path))
    shares = cumulative(within, tree)
    coordinates = np.stack([table.numbers("ra", ""), table.numbers("dec", "")], axis=1)
    rows = Rows(
        ids=np.array(table.columns["iauname"], dtype=np.str_),
        targets=shares.astype(np.float32),
        target_names=tree.target_names,
        coordinates=coordinates,
        asked=asked_of(table, tree, shares),
    )
    return rows, shares
