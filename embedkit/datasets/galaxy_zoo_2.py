"""Galaxy Zoo 2 in the layout of the Kaggle challenge: two folders of JPEGs and a table of vote fractions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.datasets.csv_file import file_sizes, note_unnamed
from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.folder import ImageFiles
from embedkit.datasets.text_table import read_table
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.regular import resolved
from embedkit.files.rows import Rows

TRAINING_IMAGES, TEST_IMAGES = "images_training_rev1", "images_test_rev1"
SOLUTIONS = "training_solutions_rev1.csv"
CLASS_NAMES = ("smooth", "featured")

# The challenge's column to the task and answer of Willett et al. 2013, table 2, as their catalogue spells it.
ANSWERS = {
    "Class1.1": "t01_smooth_or_features_a01_smooth",
    "Class1.2": "t01_smooth_or_features_a02_features_or_disk",
    "Class1.3": "t01_smooth_or_features_a03_star_or_artifact",
    "Class2.1": "t02_edgeon_a04_yes",
    "Class2.2": "t02_edgeon_a05_no",
    "Class3.1": "t03_bar_a06_bar",
    "Class3.2": "t03_bar_a07_no_bar",
    "Class4.1": "t04_spiral_a08_spiral",
    "Class4.2": "t04_spiral_a09_no_spiral",
    "Class5.1": "t05_bulge_prominence_a10_no_bulge",
    "Class5.2": "t05_bulge_prominence_a11_just_noticeable",
    "Class5.3": "t05_bulge_prominence_a12_obvious",
    "Class5.4": "t05_bulge_prominence_a13_dominant",
    "Class6.1": "t06_odd_a14_yes",
    "Class6.2": "t06_odd_a15_no",
    "Class7.1": "t07_rounded_a16_completely_round",
    "Class7.2": "t07_rounded_a17_in_between",
    "Class7.3": "t07_rounded_a18_cigar_shaped",
    "Class8.1": "t08_odd_feature_a19_ring",
    "Class8.2": "t08_odd_feature_a20_lens_or_arc",
    "Class8.3": "t08_odd_feature_a21_disturbed",
    "Class8.4": "t08_odd_feature_a22_irregular",
    "Class8.5": "t08_odd_feature_a23_other",
    "Class8.6": "t08_odd_feature_a24_merger",
    "Class8.7": "t08_odd_feature_a38_dust_lane",
    "Class9.1": "t09_bulge_shape_a25_rounded",
    "Class9.2": "t09_bulge_shape_a26_boxy",
    "Class9.3": "t09_bulge_shape_a27_no_bulge",
    "Class10.1": "t10_arms_winding_a28_tight",
    "Class10.2": "t10_arms_winding_a29_medium",
    "Class10.3": "t10_arms_winding_a30_loose",
    "Class11.1": "t11_arms_number_a31_1",
    "Class11.2": "t11_arms_number_a32_2",
    "Class11.3": "t11_arms_number_a33_3",
    "Class11.4": "t11_arms_number_a34_4",
    "Class11.5": "t11_arms_number_a36_more_than_4",
    "Class11.6": "t11_arms_number_a37_cant_tell",
}


def load_galaxy_zoo_2(
    *, path: str | None = None, subset: str | None = None, threshold: float | None = None
) -> Dataset:
    """Read the challenge's images with their 37 vote fractions as targets, under the challenge's names.

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
        A part of the layout is missing, or the table names images that don't exist.
    """
    if path is None:
        raise UsageError(
            "galaxy-zoo-2: needs --path, the folder with the unpacked files of the Kaggle challenge "
            f"galaxy-zoo-the-galaxy-challenge ({TRAINING_IMAGES}, {SOLUTIONS})."
        )
    if threshold is not None and not 0.5 < threshold <= 1:
        raise UsageError(
            f"galaxy-zoo-2: threshold {threshold:g} is outside 0.5 to 1. At half of the votes or less an "
            "image could be both smooth and featured."
        )
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
    lacking = [name for name in ("GalaxyID", *ANSWERS) if name not in table.columns]
    if lacking:
        raise EmbedkitError(
            f"{solutions}: not the challenge's table: {len(lacking)} of its 38 columns are missing, such as "
            f"{lacking[0]!r}. Unpack it again."
        )
    ids = table.columns["GalaxyID"]
    names = [f"{galaxy}.jpg" for galaxy in ids]
    sizes = file_sizes(table, folder, names, fix=f"Unpack {TRAINING_IMAGES}.zip again.")
    note_unnamed(table, folder, names)
    votes = np.stack([table.numbers(name, "") for name in ANSWERS], axis=1)
    rows = Rows(ids=np.array(ids), targets=votes.astype(np.float32), target_names=tuple(ANSWERS))
    if threshold is None:
        return rows, sizes
    # Compared in float64: 0.6 as the table writes it must count as at least 0.6.
    labels = np.where(votes[:, 0] >= threshold, 0, np.where(votes[:, 1] >= threshold, 1, -1))
    clear = labels >= 0
    if not clear.any():
        raise EmbedkitError(f"{solutions}: no image reaches the threshold {threshold:g}. Lower --threshold.")
    dropped = int((~clear).sum())
    note(f"galaxy-zoo-2: {dropped:,} of {len(labels):,} images dropped below {threshold:g} of votes.")
    kept = rows.take(clear)
    labelled = Rows(
        ids=kept.ids,
        labels=labels[clear],
        class_names=CLASS_NAMES,
        targets=kept.targets,
        target_names=kept.target_names,
    )
    return labelled, sizes[clear]


def _find(root: Path, name: str) -> Path:
    # unzip -d puts the archive's own folder into one of the same name.
    for place in (root / name / name, root / Path(name).stem / name, root / name):
        if place.exists():
            return place
    raise EmbedkitError(
        f"{root}: no {name} there. Unpack the files of the Kaggle challenge into this folder, or name theirs "
        "with --path."
    )
