"""What is learnt of every image: its class, or its votes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.files.rows import Rows
from embedkit.files.vote_tree import VoteTree, check_votes, tree_of
from embedkit.scoring.splits import Split


@dataclass(frozen=True)
class Truth:
    """Classes or votes of n images.

    Parameters
    ----------
    names
        Of the c classes or t targets, in the order of a network's outputs.
    y : (n,) int64 or (n, t) float32
        Index of the class, -1 where it is not known; or the targets, NaN likewise.
    labels : (n,) int64
        What splits are drawn by: the class as the dataset counts it, or 0 and 1 in turn; -1 leaves a row out.
    left_out
        Rows that can't be used, by reason.
    asked : (n, t) float64, optional
        Of votes: how many people answered the question of each, where the dataset says so.
    """

    names: tuple[str, ...]
    y: NDArray[Any]
    labels: NDArray[np.int64]
    left_out: dict[str, int]
    asked: NDArray[np.float64] | None = None

    @property
    def tree(self) -> VoteTree | None:
        """The questions that targets answer, if they do."""
        return tree_of(self.names) if self.y.ndim == 2 else None

    def baseline(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return each class's share, or each target's mean, among some rows."""
        y = self.y[rows]
        if y.ndim == 2:
            means: NDArray[np.float64] = np.asarray(y, np.float64).mean(axis=0)
            return means
        return np.bincount(y, minlength=len(self.names)) / len(rows)

    def tensor(self, *, counted: bool = False) -> torch.Tensor:
        """Return what a loss compares outputs with; `counted` puts how many answered behind the votes."""
        if not counted or self.asked is None:
            return torch.from_numpy(np.ascontiguousarray(self.y))
        return torch.from_numpy(np.concatenate([self.y, self.asked.astype(np.float32)], axis=1))


def read_truth(
    rows: Rows, *, votes: bool, targets: Sequence[str] | None = None, name: str = "the dataset"
) -> Truth:
    """Read the classes of a dataset, or its targets as shares of votes.

    Parameters
    ----------
    rows
        Annotations of all images.
    votes
        Whether targets are learnt, rather than classes.
    targets
        Which targets; all by default.
    name
        Of the dataset, for messages.

    Raises
    ------
    DataError
        There are none; votes outside 0 to 1, or that don't sum up their tree.
    """
    return _votes(rows, targets, name) if votes else _classes(rows, name)


def _classes(rows: Rows, name: str) -> Truth:
    if rows.labels is None or (rows.labels < 0).all():
        more = " It has targets: give a recipe of votes, such as resnet18-votes." if rows.target_names else ""
        fix = " Give a folder with a subfolder for each class, a CSV, or --labels FILE."
        raise DataError(f"{name}: no labels.{more or fix}")
    present = np.unique(rows.labels[rows.labels >= 0])
    if len(present) < 2:
        raise DataError(
            f"{name}: all labelled images are of {rows.class_names[present[0]]!r}; give two classes."
        )
    y = np.where(rows.labels >= 0, np.searchsorted(present, rows.labels), -1)
    names = tuple(rows.class_names[label] for label in present)
    return Truth(names, y, rows.labels, {"unlabelled": int((rows.labels < 0).sum())})


def _votes(rows: Rows, targets: Sequence[str] | None, name: str) -> Truth:
    if rows.targets is None:
        raise DataError(
            f"{name}: no targets, which this recipe learns. Name a CSV's columns of vote fractions with "
            "--target-columns A,B, give another dataset, or a recipe of classes."
        )
    wanted = tuple(targets or rows.target_names)
    missing = [one for one in wanted if one not in rows.target_names]
    if missing:
        raise DataError(f"{name}: no target {missing[0]!r}. There are: {', '.join(rows.target_names[:40])}.")
    columns = [rows.target_names.index(one) for one in wanted]
    y = rows.targets[:, columns]
    known = np.asarray(np.isfinite(y).all(axis=1))
    if not known.any():
        raise DataError(f"{name}: no image has a number for all of its {len(wanted)} targets.")
    outside = np.asarray(known & ((y < 0) | (y > 1)).any(axis=1))
    tree = tree_of(wanted)
    if tree is not None:
        check_votes(y[known], tree, rows.ids[known], where=name)
    elif outside.any():
        row = int(np.argmax(outside))
        column = int(np.argmax((y[row] < 0) | (y[row] > 1)))
        raise DataError(
            f"{name}: {wanted[column]} of {str(rows.ids[row])!r} is {y[row, column]:g}, and votes are shares "
            "between 0 and 1. Divide them by their number, or choose others with --targets."
        )
    labels = np.full(len(y), -1, np.int64)
    labels[known] = np.arange(int(known.sum())) % 2
    asked = None if rows.asked is None else rows.asked[:, columns]
    left_out = {"unlabelled": int((~known).sum())}
    return Truth(wanted, np.where(known[:, None], y, np.nan), labels, left_out, asked)


def check_split(truth: Truth, split: Split, name: str) -> None:
    """Refuse a split from which a network can't learn every class, or can't tell when to stop.

    Raises
    ------
    DataError
        A part without rows, or training rows without a class that another part has.
    """
    for part in ("train", "validation", "test"):
        if not len(getattr(split, part)):
            raise DataError(f"{name}: no {part} rows in split {split.name!r}. Give another --split.")
    if truth.y.ndim == 2:
        return
    missing = np.setdiff1d(np.unique(truth.y[truth.y >= 0]), truth.y[split.train])
    if len(missing):
        raise DataError(
            f"{name}: split {split.name!r} has no training image of class {truth.names[missing[0]]!r}. "
            "Give a class more images, or leave it out of the dataset."
        )


def confidence(truth: Truth, rows: Rows) -> NDArray[np.float64]:
    """Return how sure the votes are of each image: the largest share of the first question's answers.

    Parameters
    ----------
    truth
        Votes; of classes, the dataset's targets say it where they are a vote tree.
    rows
        Annotations of all images.

    Returns
    -------
    (n,) float64
        0 to 1; NaN where it is not known.

    Raises
    ------
    DataError
        There are no votes to say it.
    """
    names = truth.names if truth.y.ndim == 2 else rows.target_names
    values = truth.y if truth.y.ndim == 2 else rows.targets
    tree = tree_of(names)
    if values is None or (tree is None and truth.y.ndim != 2):
        raise DataError(
            "a phase of this recipe takes rows by label confidence, which votes say, and there are none."
        )
    columns = list(range(len(names))) if tree is None else list(tree.branches[0].columns)
    found: NDArray[np.float64] = np.asarray(values, np.float64)[:, columns].max(axis=1)
    return found
