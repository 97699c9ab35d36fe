"""What a comparison of two feature files can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.errors import UsageError
from embedkit.options import (
    Selection,
    Writes,
    check,
    check_split,
    option,
    output_option,
    prep_option,
    seed_option,
    split_option,
)


def few_labels(budget: str) -> str:
    """Name a measure by its budget, ``10`` or ``5%``."""
    return f"{budget}-of-the-labels" if budget.endswith("%") else f"{budget}-labels-a-class"


@dataclass(frozen=True)
class CompareOptions(Selection):
    """How two feature files are compared.

    Parameters
    ----------
    prep
        What is done to both first; every measure has its own by default.
    prep_a, prep_b
        What is done to one of them instead.
    split
        Of the probes, drawn once for both.
    seed
        Of the split and of k-means.
    budget
        Labels of the measure with few: a number a class, or a percentage.
    draws
        Random draws of those labels.
    common
        Take the images that are in both files.
    """

    prep: str | None = prep_option(None, unset="each measure's own")
    prep_a: str | None = option(None, "prepare A so instead", metavar="STEPS")
    prep_b: str | None = option(None, "prepare B so instead", metavar="STEPS")
    split: str = split_option("kfold:5")
    seed: int = seed_option()
    budget: str = option(
        "10", "labels of the measure with few: a number a class, or a percentage", metavar="N|P%"
    )
    draws: int = option(5, "random draws of each budget", least=1, metavar="N")
    common: bool = option(False, "take the images that are in both files")

    def __post_init__(self) -> None:
        check(self)
        check_split(self.split)
        if "," in self.budget:
            raise UsageError(f"--budget {self.budget}: give one, such as 10 or 5%.")

    @property
    def preps(self) -> tuple[str | None, str | None]:
        """The preparation of A, and of B."""
        return self.prep_a or self.prep, self.prep_b or self.prep

    @property
    def few(self) -> str:
        """What the measure with few labels is called."""
        return few_labels(self.budget)


@dataclass(frozen=True)
class ComparePlaces:
    """Where a comparison writes.

    Parameters
    ----------
    output
        Folder for what it computes.
    """

    output: Path = output_option(
        Path("runs/compare"), "folder for what it computes", writes=Writes(folder=True)
    )
