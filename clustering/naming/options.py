"""What `embedkit name` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clustering.options import ClusterPlaces
from embedkit.errors import UsageError
from embedkit.options import READS, Selection, Writes, as_in, check, option, output_option, seed_option


@dataclass(frozen=True, kw_only=True)
class NameOptions(Selection):
    """Which groups, and what they are called.

    Parameters
    ----------
    clustering
        The saved model of a clustering: the rows go to its groups, as with ``embedkit cluster --apply``.
    names
        A table of groups whose column ``name`` is filled; without it there is one to fill.
    cut
        Groups that are cut in two first: numbers, or ``mixed`` for all that are of two kinds.
    seed
        Of resamples and permutations, of the halves of a group that are held against each other, and of cuts.

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
    cut: tuple[str, ...] = option(
        (),
        "cut groups in two: mixed, or their numbers, as in 3,7; with --save-model for the clustering",
        metavar="mixed|N,...",
        separator=",",
        unset="none",
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
        The table of groups to fill or, with names, of all images with their labels; with groups that are cut
        the table, with the names that hold on.
    save_model
        The clustering whose groups were cut.
    """

    output: Path | None = output_option(
        None,
        "the table of the groups or, with --names, of the labels of all images",
        metavar="FILE.csv",
        unset="neither",
        writes=Writes(("groups to name", "labels by groups' names")),
    )
    save_model: Path | None = as_in(ClusterPlaces, "save_model", None)

    def __post_init__(self) -> None:
        if self.output is not None and self.output.suffix.lower() != ".csv":
            raise UsageError(f"-o {self.output}: a table is written. Give a name that ends in .csv.")

    def check(self, options: NameOptions) -> None:
        """Refuse a cut that is kept nowhere, or a model without one; raises `UsageError`."""
        if options.cut and self.save_model is None:
            raise UsageError("--cut makes another clustering. Say where it is kept: --save-model FILE.")
        if self.save_model is not None and not options.cut:
            raise UsageError(
                "--save-model is for --cut: without it the clustering stays as it is. Leave it out."
            )
