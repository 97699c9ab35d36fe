"""Galaxy Zoo 2 in the layout of the Kaggle challenge: two folders of JPEGs and a table of vote fractions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.csv_file import file_sizes, note_unnamed
from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.folder import ImageFiles
from embedkit.datasets.text_table import read_table
from embedkit.datasets.vote_counts import asked_of
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.regular import resolved
from embedkit.files.rows import Rows
from embedkit.files.vote_tree import GALAXY_ZOO_2, check_votes

TRAINING_IMAGES, TEST_IMAGES = "images_training_rev1", "images_test_rev1"
SOLUTIONS = "training_solutions_rev1.csv"
CLASS_NAMES = ("smooth", "featured")

# The challenge's column to the task and answer of Willett et al. 2013, table 2, as their catalogue spells it.
ANSWERS = {answer.column: answer.name for answer in GALAXY_ZOO_2.answers}


def load_galaxy_zoo_2(
    *, path: str | None = None, subset: str | None = None, threshold: float | None = None
) -> Dataset:
    """Read the challenge's images with their 37 vote fractions as targets, under the challenge's names.

    The table may call its columns by the descriptive names of `ANSWERS` too.

    Parameters
    ----------
    path
        The folder with ``images_training_rev1``, ``training_solutions_rev1.csv`` and, for the test images,
        ``images_test_rev1``.
    subset
        ``training`` (default), or ``test``, which has no votes.
    threshold
        Share of votes, over 0.5 and up to 1: images on which at least that share agrees become ``smooth`` or
        ``featured``, all others are dropped. Without it there are no labels and no image is dropped.

    Raises
    ------
    UsageError
        No path, or a threshold outside its range or on test images.
    EmbedkitError
        A part of the layout is missing, the table names images that don't exist, or a row's votes don't sum
        up their tree.
    """
    if path is None:
        raise UsageError(
            "galaxy-zoo-2: needs --path, the folder with the unpacked files of the Kaggle challenge "
            f"galaxy-zoo-the-galaxy-challenge ({TRAINING_IMAGES}, {SOLUTIONS})."
        )
    check_threshold(threshold, "galaxy-zoo-2")
    if subset not in (None, "training", "test"):
        raise UsageError(f"galaxy-zoo-2: no subset {subset!r}. Give --subset training or test.")
    root = resolved(path)
    origin = {"source": "galaxy-zoo-2", "path": str(root), "subset": subset, "threshold": threshold}
    if subset == "test":
        if threshold is not None:
            raise UsageError("galaxy-zoo-2: the test images have no votes, so --threshold does not apply.")
        folder = _find(root, TEST_IMAGES)
        names = sorted(entry.name for entry in folder.glob("*.jpg"))
        if not names:
            raise EmbedkitError(f"{folder}: no .jpg images. Unpack {TEST_IMAGES}.zip there.")
        rows = Rows(ids=np.array([name.removesuffix(".jpg") for name in names]))
        sizes = np.array([(folder / name).stat().st_size for name in names], dtype=np.int64)
    else:
        folder = _find(root, TRAINING_IMAGES)
        rows, sizes = _training(_find(root, SOLUTIONS), folder, threshold)
        names = [f"{galaxy}.jpg" for galaxy in rows.ids]
    files = ImageFiles(folder, names)
    return Dataset(
        name="galaxy-zoo-2" if subset != "test" else "galaxy-zoo-2-test",
        rows=rows,
        read=files.read,
        where=files.where,
        fingerprint=fingerprint(rows, {"sizes": sizes}),
        origin={name: value for name, value in origin.items() if value is not None},
    )


def _training(solutions: Path, folder: Path, threshold: float | None) -> tuple[Rows, NDArray[np.int64]]:
    table = read_table(solutions)
    called = {column: column if column in table.columns else name for column, name in ANSWERS.items()}
    lacking = [column for column, name in called.items() if name not in table.columns]
    lacking = [name for name in ("GalaxyID",) if name not in table.columns] + lacking
    if lacking:
        raise EmbedkitError(
            f"{solutions}: not the challenge's table: {len(lacking)} of its 38 columns are missing, such as "
            f"{lacking[0]!r}. Unpack it again."
        )
    ids = table.columns["GalaxyID"]
    names = [f"{galaxy}.jpg" for galaxy in ids]
    sizes = file_sizes(table, folder, names, fix=f"Unpack {TRAINING_IMAGES}.zip again.")
    note_unnamed(table, folder, names)
    votes = np.stack([table.numbers(name, "") for name in called.values()], axis=1)
    check_votes(votes, GALAXY_ZOO_2, ids, str(solutions))
    rows = Rows(
        ids=np.array(ids),
        targets=votes.astype(np.float32),
        target_names=tuple(ANSWERS),
        asked=asked_of(table, GALAXY_ZOO_2, votes),
    )
    if threshold is None:
        return rows, sizes
    labelled, clear = smooth_or_featured(rows, votes, threshold, f"{solutions}")
    return labelled, sizes[clear]


def smooth_or_featured(
    rows: Rows, votes: NDArray[np.float64], threshold: float, where: str
) -> tuple[Rows, NDArray[np.bool_]]:
    """Label the rows on which at least this share agrees, by the first two of their votes; drop the others.

    Returns
    -------
    The rows that are kept, and (n,) which of all they are.

    Raises
    ------
    EmbedkitError
        None is kept.
    """
    # Compared in float64: 0.6 as the table writes it must count as at least 0.6.
    labels = np.where(votes[:, 0] >= threshold, 0, np.where(votes[:, 1] >= threshold, 1, -1))
    clear = labels >= 0
    if not clear.any():
        raise EmbedkitError(f"{where}: no image reaches the threshold {threshold:g}. Lower --threshold.")
    dropped = int((~clear).sum())
    note(f"{where}: {dropped:,} of {len(labels):,} images dropped below {threshold:g} of votes.")
    kept = rows.take(clear)
    return replace(kept, labels=labels[clear], class_names=CLASS_NAMES), clear


def check_threshold(threshold: float | None, source: str) -> None:
    """Raise `UsageError` for a threshold at which an image could be both, or that none can reach."""
    if threshold is not None and not 0.5 < threshold <= 1:
        raise UsageError(
            f"{source}: threshold {threshold:g} is outside 0.5 to 1. At half of the votes or less an "
            "image could be both smooth and featured."
        )


def _find(root: Path, name: str) -> Path:
    # unzip -d puts the archive's own folder into one of the same name.
    for place in (root / name / name, root / Path(name).stem / name, root / name):
        if place.exists():
            return place
    release = (root / "gz2_hart16.csv").exists()
    hint = " This is the release with the table of Hart et al. 2016: galaxy-zoo-2-hart16 reads it."
    raise EmbedkitError(
        f"{root}: no {name} there. Unpack the files of the Kaggle challenge into this folder, or name theirs "
        f"with --path.{hint if release else ''}"
    )
