"""What several verbs ask for, in the same words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from embedkit.errors import UsageError
from embedkit.options.declaring import option
from embedkit.options.places import READS, RESULTS, Writes

RUNS = Path("runs")
FOLDER = Writes(folder=True, makes=RESULTS)
MOST_SEED = 2**32 - 1  # of numpy's RandomState, which scikit-learn and UMAP draw from
# Where kernels of our own compute.
DEVICES = ("auto", "cpu", "cuda")
SPLITS = ("auto", "file", "stratified", "group", "kfold:K", "FILE.json")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?|mps")


def seed_option() -> Any:
    """Declare ``--seed``."""
    return option(0, "seed of everything that is random", least=0, most=MOST_SEED, metavar="N")


def seeds_option() -> Any:
    """Declare ``--seeds``."""
    return option(1, "repeat with N seeds, --seed the first of them", least=1, metavar="N")


def check_seeds(seed: int, seeds: int) -> None:
    """Refuse seeds in a row of which the last is none; raises `UsageError`."""
    last = seed + seeds - 1
    if last > MOST_SEED:
        raise UsageError(
            f"--seed {seed} with --seeds {seeds}: the last would be {last:,}, above {MOST_SEED:,}. "
            f"Give --seed {MOST_SEED - seeds + 1} or less."
        )


# What a clustering does to the features, and so a map of them, unless something else is asked for.
PREP = "pca95"


def prep_option(value: str | None, *, unset: str | None = None) -> Any:
    """Declare ``--prep``."""
    steps = "prepare the features first: auto, none, or l2, pca95, view-whiten, clip50, ..., joined with +"
    return option(value, steps, metavar="STEPS", unset=unset)


def split_option(value: str | None = "auto", *, unset: str | None = None) -> Any:
    """Declare ``--split``; `check_split` says whether a value is one."""
    words = ", ".join(SPLITS)
    auto = "auto takes the file's own, else kfold:5 below 300 labels, else by group, else stratified"
    how = f"how rows are divided: {words}; {auto}"
    return option(value, how, metavar="HOW", unset=unset, place=READS)


def check_split(split: str) -> None:
    """Refuse what is no way to divide rows; raises `UsageError` that lists the ways."""
    name, _, k = split.partition(":")
    folds = name == "kfold" and k.isdecimal()
    if folds and int(k) < 2:
        raise UsageError(f"--split {split}: at least 2 folds are needed, such as kfold:5.")
    if not folds and split not in SPLITS[:4] and not split.endswith(".json"):
        raise UsageError(f"--split {split}: unknown. Give one of {', '.join(SPLITS)}.")


def device_option(value: str | None = "auto", *, unset: str | None = None) -> Any:
    """Declare ``--device``; a verb that can't compute on one of them says so."""
    return option(value, "where it computes", read=_device, metavar="auto|cpu|cuda|cuda:N|mps", unset=unset)


def _device(text: str) -> str:
    if _DEVICE.fullmatch(text) is None:
        raise ValueError("give auto, cpu, cuda, cuda:N or mps")
    return text


def limit_option() -> Any:
    """Declare ``--limit``."""
    what = "take this many images, spread evenly over the dataset"
    return option(None, what, least=1, metavar="N", unset="all")


def batch_size_option(value: int | None, *, least: int = 1, group: str = "", unset: str | None = None) -> Any:
    """Declare ``--batch-size`` of what computes on images."""
    what = "images, or views of them, at a time"
    return option(value, what, least=least, metavar="N", group=group, unset=unset)


def dry_run_option() -> Any:
    """Declare ``--dry-run``."""
    return option(False, "show what would be done, and stop")


def path_option(*, group: str = "") -> Any:
    """Declare ``--path``."""
    what = "where the images are: of a registered dataset, or now"
    return option(None, what, metavar="PATH", group=group, place=READS)


def labels_option(*, group: str = "rows") -> Any:
    """Declare ``--labels``: the same table for a dataset and for a feature file."""
    what = "labels by id from a table (.csv, .tsv, .npz), in place of those that are there"
    return option(None, what, metavar="FILE", unset="its own", group=group, place=READS)


def output_option(
    value: Path | None,
    what: str,
    *,
    metavar: str = "DIR",
    unset: str | None = None,
    writes: Writes = FOLDER,
) -> Any:
    """Declare ``-o``, ``--output``: the one place that a verb writes to, by default a folder of results."""
    return option(value, what, metavar=metavar, unset=unset, place=writes)
