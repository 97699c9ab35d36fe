"""What `embedkit leaks` can be asked for; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.options import Selection, Writes, check, check_split, option, seed_option, split_option


@dataclass(frozen=True)
class LeaksOptions(Selection):
    """Across which split copies are counted.

    Parameters
    ----------
    split, seed
        As of `probes.options.ProbeOptions`.

    Raises
    ------
    UsageError
        An unknown split.
    """

    split: str = split_option()
    seed: int = seed_option()

    def __post_init__(self) -> None:
        check(self)
        check_split(self.split)


@dataclass(frozen=True)
class LeaksPlaces:
    """Where the copies, and a split without them, are written.

    Parameters
    ----------
    save_split
        File for the split without the training and validation rows that have a copy in a later part.
    pairs
        File for the pairs as CSV.
    """

    save_split: Path | None = option(
        None,
        "keep the split, without training and validation rows that have a copy in a later part, for "
        "embedkit probe --split FILE.json",
        metavar="FILE.json",
        place=Writes(("a split",)),
    )
    pairs: Path | None = option(
        None,
        "write the pairs, to look at them",
        metavar="FILE.csv",
        place=Writes(("pairs of copies",)),
    )
