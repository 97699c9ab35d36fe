"""The votes that a page is about: shares by image and answer, and how the answers hang together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.dataset import Dataset
from embedkit.errors import EmbedkitError
from embedkit.files.vote_tree import VoteTree, check_votes, tree_of

F64 = NDArray[np.float64]
TARGETS = "targets"
# Where no more of the values than this lie outside 0 to 1, they may be slips in a table of shares.
FEW = 0.1
# What the reports look at, by any of the answers that the trees call so.
SEVEN = (
    ("smooth", ("t01_smooth_or_features_a01_smooth", "smooth-or-featured_smooth")),
    ("star or artifact", ("t01_smooth_or_features_a03_star_or_artifact", "smooth-or-featured_artifact")),
    ("edge-on", ("t02_edgeon_a04_yes", "disk-edge-on_yes")),
    ("ring", ("t08_odd_feature_a19_ring",)),
    ("lens or arc", ("t08_odd_feature_a20_lens_or_arc",)),
    ("two arms", ("t11_arms_number_a32_2", "spiral-arm-count_2")),
    ("merger", ("t08_odd_feature_a24_merger", "merging_merger")),
)
FEATURED = ("t01_smooth_or_features_a02_features_or_disk", "smooth-or-featured_featured-or-disk")


@dataclass(frozen=True)
class Group:
    """Columns that belong together: the answers to one question, or all targets that are no votes."""

    name: str
    text: str
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Votes:
    """Shares of votes, or other targets.

    Parameters
    ----------
    name
        Of the dataset.
    ids : (n,) str
    shares : (n, t) float64
        NaN where missing.
    target_names
        As the dataset has them.
    tree
        None where the targets are no whole set of answers.
    asked : (n, t) float64, optional
        How many people answered the question of each, where the dataset says so.
    """

    name: str
    ids: NDArray[np.str_]
    shares: F64
    target_names: tuple[str, ...]
    tree: VoteTree | None
    asked: F64 | None = None

    @property
    def looked(self) -> F64 | None:
        """(n, t) how many of the people who looked at an image a share is of; None where nobody says so.

        A share is of everybody who was asked the first of the questions that lead to it.
        """
        if self.asked is None or self.tree is None:
            return None
        return self.asked[:, [self.tree.way(j)[-1] for j in range(len(self.target_names))]]

    @property
    def titles(self) -> tuple[str, ...]:
        """Words for each target."""
        if self.tree is None:
            return self.target_names
        return tuple(self.tree.title(j) for j in range(len(self.target_names)))

    @property
    def names(self) -> tuple[str, ...]:
        """The descriptive name of each target."""
        return self.target_names if self.tree is None else tuple(one.name for one in self.tree.answers)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The questions; of targets that are no votes, one group of all."""
        if self.tree is None:
            return (Group(TARGETS, "All targets", tuple(range(len(self.target_names)))),)
        return tuple(
            Group(branch.question.name, branch.question.text, branch.columns) for branch in self.tree.branches
        )

    @property
    def limits(self) -> tuple[float, float]:
        """Between what all values lie: 0 and 1 of shares."""
        low, high = float(np.nanmin(self.shares)), float(np.nanmax(self.shares))
        return (0.0, 1.0) if self.are_shares else (low, high)

    @property
    def are_shares(self) -> bool:
        """Whether all values lie in 0 to 1."""
        return not self._outside.any()

    @property
    def _outside(self) -> NDArray[np.bool_]:
        """(n, t) which values are no shares, for sure; NaN is not among them."""
        found: NDArray[np.bool_] = (self.shares < -1e-6) | (self.shares > 1 + 1e-6)
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the values: few of them outside 0 to 1, which make all no shares."""
        n, n_all = int(self._outside.sum()), int(np.isfinite(self.shares).sum())
        if not 0 < n <= FEW * n_all:
            return ()
        row, column = np.argwhere(self._outside)[0]
        which = self.target_names[column]
        return (
            f"{n:,} of {n_all:,} values {'lies' if n == 1 else 'lie'} outside 0 to 1: {which} "
            f"of {str(self.ids[row])!r} is {self.shares[row, column]:g}. So all targets are taken for "
            "measurements, which have no floor. If they are shares of votes, correct the table.",
        )

    @property
    def looked_at(self) -> tuple[tuple[str, int], ...]:
        """Words and column of the seven answers, as far as they are there; else of the first targets."""
        if self.tree is None:
            return tuple((name, j) for j, name in enumerate(self.target_names[:7]))
        found = [(words, self.column(*names)) for words, names in SEVEN]
        return tuple((words, column) for words, column in found if column is not None)

    def column(self, *names: str) -> int | None:
        """Return the column of the first of these descriptive names that is an answer here."""
        return next((self.names.index(name) for name in names if name in self.names), None)


def votes_of(dataset: Dataset) -> Votes:
    """Return the votes of a dataset.

    Raises
    ------
    EmbedkitError
        No targets, none with a value, fewer than two rows, or votes that contradict their tree.
    """
    rows = dataset.rows
    if rows.targets is None or not rows.target_names:
        raise EmbedkitError(
            f"{dataset.name}: no targets, such as shares of votes. Name their columns with --target-columns, "
            "give simulated --votes, or take a dataset that has some."
        )
    if len(rows) < 2:
        raise EmbedkitError(
            f"{dataset.name}: {len(rows) or 'no'} row, of which nothing can be split. Take more."
        )
    shares = np.asarray(rows.targets, np.float64)
    empty = [name for name, column in zip(rows.target_names, shares.T, strict=True) if np.isnan(column).all()]
    if empty:
        raise EmbedkitError(f"{dataset.name}: {empty[0]!r} has no value in any row. Leave that column out.")
    tree = tree_of(rows.target_names)
    if tree is not None:
        check_votes(shares, tree, rows.ids, dataset.name)
    return Votes(dataset.name, rows.ids, shares, tuple(rows.target_names), tree, rows.asked)


def columns_in(votes: Votes, names: Sequence[str]) -> list[int] | None:
    """Return where each of the dataset's targets stands among other names of them; None where one lacks."""
    place = {name: j for j, name in enumerate(names)}
    found = [
        place.get(own, place.get(votes.names[j], place.get(_published(votes, j), -1)))
        for j, own in enumerate(votes.target_names)
    ]
    return None if -1 in found else found


def _published(votes: Votes, column: int) -> str:
    return votes.target_names[column] if votes.tree is None else votes.tree.answers[column].column
