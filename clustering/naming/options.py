"""What `embedkit name` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.errors import UsageError
from embedkit.options import READS, Selection, Writes, check, option, output_option, seed_option


@dataclass(frozen=True, kw_only=True)
class NameOptions(Selection):
    """Which groups, and what they are called.

    Parameters
    ----------
    clustering
        The saved model of a clustering: the rows go to its groups, as with ``embedkit cluster --apply``.
    names
        A table of groups whose column ``name`` is filled; without it there is one to fill.
    seed
        Of resamples and permutations, and of the halves of a group that are held against each other.

    Raises
    ------
    UsageError
        No clustering, or a value out of range.
    """

    clustering: Path | None = option(
        None,
        "the groups: the model that `embedkit cluster` wrote",
        metavar="MODEL",
        unset="it has to be given",
        place=READS,
    )
    names: Path | None = option(
        None,
        "a table of the groups with their names, which all images take",
        metavar="FILE",
        unset="a table of the groups to fill",
        place=READS,
    )
    seed: int = seed_option()

    def __post_init__(self) -> None:
        check(self)
        if self.clustering is None:
            raise UsageError(
                "Which groups? Give --clustering MODEL, the .model.h5 that `embedkit cluster -k auto:fine` "
                "wrote."
            )


@dataclass(frozen=True, kw_only=True)
class NamePlaces:
    """Where it writes.

    Parameters
    ----------
    output
        The table of groups to fill or, with names, of all images with their labels.
    """

    output: Path | None = output_option(
        None,
        "the table of the groups or, with --names, of the labels of all images",
        metavar="FILE.csv",
        unset="neither",
        writes=Writes(("groups to name", "labels by groups' names")),
    )

    def __post_init__(self) -> None:
        if self.output is not None and self.output.suffix.lower() != ".csv":
            raise UsageError(f"-o {self.output}: a table is written. Give a name that ends in .csv.")
