"""The split that a user asks for, of a file's rows: its own, one that is drawn, or one that was kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.files.rows import Rows
from embedkit.scoring.split_file import read_splits
from embedkit.scoring.splits import FRACTIONS, Split, file_split, folds, group_split, stratified_split

# Of fewer labelled rows, 15 % are so few that one image moves a score by over 2 points; folds test every row.
FEW = 300
FOLDS = 5
# Targets have no classes to keep in proportion: two interleaved halves stand for them.
HALVES = ("even rows", "odd rows")
_SAID = {
    "file": "the file's own",
    "group": "drawn by group, since the file has groups",
    "stratified": "drawn at random from --seed, every class in proportion",
}
_TOGETHER = "The file's groups are kept together: each is in one fold."


@dataclass(frozen=True)
class Asked:
    """How the rows are to be divided.

    Parameters
    ----------
    how
        ``auto`` (the file's own, else folds where fewer than `FEW` rows have a label, else by group, else
        stratified), ``file``, ``stratified``, ``group``, ``kfold:5``, or the path of a kept split, ending in
        .json.
    fractions
        Of train, validation and test; 0.7, 0.15, 0.15 by default. Where test is given (``file``, ``kfold``),
        the first two say how the rest is divided.
    seed
        Of what is drawn.
    one_for
        The option, such as ``--save-model``, for which ``auto`` makes one split of any number of rows.
    """

    how: str = "auto"
    fractions: tuple[float, float, float] | None = None
    seed: int = 0
    one_for: str | None = None


def draw_splits(
    rows: Rows, labels: NDArray[np.int64], asked: Asked, *, notes: list[str]
) -> tuple[Split, ...]:
    """Divide the rows with a label (at least 0) as asked.

    Parameters
    ----------
    rows
        Of the file, with its own split and groups.
    labels : (n,) int64
        Classes, or `HALVES` where there are targets; -1 leaves a row out.
    asked
        The way, and the seed.
    notes
        Takes what was decided.

    Raises
    ------
    DataError
        A split that can't be drawn.
    """
    how = asked.how
    if how.endswith(".json"):
        return _kept_splits(how, rows, labels, notes)
    shares = asked.fractions or FRACTIONS
    of_classes = rows.labels is not None and np.array_equal(labels[labels >= 0], rows.labels[labels >= 0])
    drawn: dict[str, Any] = {"seed": asked.seed, "class_names": rows.class_names if of_classes else HALVES}
    held: dict[str, Any] = {"groups": rows.group, "validation": shares[1] / (shares[0] + shares[1])}
    if how == "auto":
        if rows.split is not None and (rows.split != "").any():
            how = "file"
        else:
            if splits := _folds_of_few(labels, asked, notes, **held, **drawn):
                return splits
            how = "group" if rows.group is not None else "stratified"
        notes.append(f"Split: {_SAID[how]}.")
    if how == "file":
        if rows.split is None:
            raise DataError("no split column stored. Use --split stratified, or extract again with one.")
        return (file_split(rows.split, labels, **held, **drawn),)
    if how.startswith("kfold:"):
        if rows.group is not None:
            notes.append(_TOGETHER)
        return folds(labels, int(how.removeprefix("kfold:")), **held, **drawn)
    if how == "group":
        if rows.group is None:
            raise DataError("no group column stored. Use --split stratified, or extract again with one.")
        return (group_split(rows.group, labels, fractions=shares, **drawn),)
    if rows.group is not None:
        notes.append("The file's groups are ignored; --split group keeps each on one side.")
    return (stratified_split(labels, fractions=shares, **drawn),)


def _folds_of_few(
    labels: NDArray[np.int64], asked: Asked, notes: list[str], **drawing: Any
) -> tuple[Split, ...]:
    """Return folds where there are few labelled rows, as many as the rarest class fills; else nothing."""
    labelled = labels[labels >= 0]
    n, rarest = len(labelled), min(np.unique(labelled, return_counts=True)[1], default=0)
    one_for = asked.one_for or ("--fractions" if asked.fractions else None)
    if n >= FEW or rarest < 3:  # what can't be divided in three is refused in the words of one split
        return ()
    few = f"{n:,} labelled rows are fewer than {FEW}"
    if one_for:
        notes.append(
            f"One split, although {few}: the folds that `auto` makes of so few are not for {one_for}."
        )
        return ()
    for k in range(min(FOLDS, int(rarest)), 2, -1):
        try:
            splits = folds(labels, k, **drawing)
        except DataError:  # of groups; the stratified ones can be drawn
            continue
        why = (
            ""
            if k == FOLDS
            else f", as many as {'the groups' if k < min(FOLDS, rarest) else 'the rarest class'} can fill"
        )
        notes.append(f"Split: kfold:{k}, since {few}{why}; every one is tested once.")
        if drawing["groups"] is not None:
            notes.append(_TOGETHER)
        return splits
    return ()


def _kept_splits(path: str, rows: Rows, labels: NDArray[np.int64], notes: list[str]) -> tuple[Split, ...]:
    saved = read_splits(path, rows.ids)
    kept = tuple(
        Split(s.name, *(part[labels[part] >= 0] for part in (s.train, s.validation, s.test))) for s in saved
    )
    n_lost = sum(sum(s.counts.values()) - sum(t.counts.values()) for s, t in zip(saved, kept, strict=True))
    if n_lost:
        notes.append(f"{path}: {n_lost:,} of its entries are rows without features or label here.")
    return kept
