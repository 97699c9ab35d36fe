"""The split that a user asks for, of a file's rows: its own, one that is drawn, or one that was kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.files.rows import Rows
from embedkit.scoring.split_file import read_splits
from embedkit.scoring.splits import FRACTIONS, Split, file_split, folds, group_split, stratified_split

# Targets have no classes to keep in proportion: two interleaved halves stand for them.
HALVES = ("even rows", "odd rows")
_SAID = {
    "file": "the file's own",
    "group": "drawn by group, since the file has groups",
    "stratified": "drawn at random from --seed, every class in proportion",
}


def draw_splits(
    rows: Rows,
    labels: NDArray[np.int64],
    how: str,
    *,
    fractions: tuple[float, float, float] | None = None,
    seed: int = 0,
    notes: list[str],
) -> tuple[Split, ...]:
    """Divide the rows with a label (at least 0) as asked.

    Parameters
    ----------
    rows
        Of the file, with its own split and groups.
    labels : (n,) int64
        Classes, or `HALVES` where there are targets; -1 leaves a row out.
    how
        ``auto`` (the file's own, else by group, else stratified), ``file``, ``stratified``, ``group``,
        ``kfold:5``, or the path of a kept split, ending in .json.
    fractions
        Of train, validation and test; 0.7, 0.15, 0.15 by default. Where test is given (``file``, ``kfold``),
        the first two say how the rest is divided.
    seed
        Of what is drawn.
    notes
        Takes what was decided.

    Raises
    ------
    DataError
        A split that can't be drawn.
    """
    if how.endswith(".json"):
        return _kept_splits(how, rows, labels, notes)
    if how == "auto":
        if rows.split is not None and (rows.split != "").any():
            how = "file"
        else:
            how = "group" if rows.group is not None else "stratified"
        notes.append(f"Split: {_SAID[how]}.")
    shares = fractions or FRACTIONS
    of_classes = rows.labels is not None and np.array_equal(labels[labels >= 0], rows.labels[labels >= 0])
    drawn: dict[str, Any] = {"seed": seed, "class_names": rows.class_names if of_classes else HALVES}
    held: dict[str, Any] = {"groups": rows.group, "validation": shares[1] / (shares[0] + shares[1])}
    if how == "file":
        if rows.split is None:
            raise DataError("no split column stored. Use --split stratified, or extract again with one.")
        return (file_split(rows.split, labels, **held, **drawn),)
    if how.startswith("kfold:"):
        if rows.group is not None:
            notes.append("The file's groups are kept together: each is in one fold.")
        return folds(labels, int(how.removeprefix("kfold:")), **held, **drawn)
    if how == "group":
        if rows.group is None:
            raise DataError("no group column stored. Use --split stratified, or extract again with one.")
        return (group_split(rows.group, labels, fractions=shares, **drawn),)
    if rows.group is not None:
        notes.append("The file's groups are ignored; --split group keeps each on one side.")
    return (stratified_split(labels, fractions=shares, **drawn),)


def _kept_splits(path: str, rows: Rows, labels: NDArray[np.int64], notes: list[str]) -> tuple[Split, ...]:
    saved = read_splits(path, rows.ids)
    kept = tuple(
        Split(s.name, *(part[labels[part] >= 0] for part in (s.train, s.validation, s.test))) for s in saved
    )
    n_lost = sum(sum(s.counts.values()) - sum(t.counts.values()) for s, t in zip(saved, kept, strict=True))
    if n_lost:
        notes.append(f"{path}: {n_lost:,} of its entries are rows without features or label here.")
    return kept
