"""What several verbs ask for, in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from embedkit.errors import UsageError
from embedkit.options.declaring import option

RUNS = Path("runs")
DEVICES = ("auto", "cpu", "cuda")
SPLITS = ("auto", "file", "stratified", "group", "kfold:K", "FILE.json")


def seed_option() -> Any:
    """Declare ``--seed``."""
    return option(0, "seed of everything that is random", least=0, metavar="N")


def seeds_option() -> Any:
    """Declare ``--seeds``."""
    return option(1, "repeat with N seeds, --seed the first of them", least=1, metavar="N")


def prep_option(value: str | None, *, unset: str | None = None) -> Any:
    """Declare ``--prep``."""
    steps = "prepare the features first: none, l2, pca95, whiten30, view-whiten, ..., joined with +"
    return option(value, steps, metavar="STEPS", unset=unset)


def split_option(value: str | None = "auto", *, unset: str | None = None) -> Any:
    """Declare ``--split``; `check_split` says whether a value is one."""
    words = ", ".join(SPLITS)
    how = f"how rows are divided: {words}; auto takes the file's own, else by group, else stratified"
    return option(value, how, metavar="HOW", unset=unset)


def check_split(split: str) -> None:
    """Refuse what is no way to divide rows; raises `UsageError` that lists the ways."""
    name, _, k = split.partition(":")
    folds = name == "kfold" and k.isdigit()
    if not folds and split not in SPLITS[:4] and not split.endswith(".json"):
        raise UsageError(f"--split {split}: unknown. Give one of {', '.join(SPLITS)}.")


def device_option(value: str | None = "auto", *, unset: str | None = None) -> Any:
    """Declare ``--device`` of what computes on the CPU or on one GPU."""
    return option(value, "where it computes", choices=DEVICES, unset=unset)


def output_option(value: Path | None, what: str, *, metavar: str = "DIR", unset: str | None = None) -> Any:
    """Declare ``-o``, ``--output``: the one place that a verb writes to."""
    return option(value, what, metavar=metavar, unset=unset)
