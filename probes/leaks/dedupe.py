"""Splits without copies on two sides: left out, or moved to one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedkit.files.store import FeatureFile
from embedkit.scoring.splits import Split
from probes.leaks.leaks import Leaks, without_copies
from probes.leaks.search import find


def dedupe(
    file: FeatureFile,
    splits: Sequence[Split],
    how: str,
    notes: list[str],
    *,
    leaks: Leaks | None = None,
) -> tuple[Split, ...]:
    """Return the splits with copies dropped or grouped; `notes` takes how many rows that changed.

    Parameters
    ----------
    file
        Whose images are compared where `leaks` is not given.
    splits
        One, or the folds.
    how
        ``drop`` or ``group``.
    notes
        Takes what a reader must know.
    leaks
        Copies that were found already.

    Raises
    ------
    DataError
        Nothing is left of a part.
    """
    leaks = leaks or find(file, notes)
    groups = leaks.groups(file.n)
    change = without_copies if how == "drop" else with_the_first
    after = tuple(change(split, groups) for split in splits)
    changed = sum(_n_changed(a, b) for a, b in zip(splits, after, strict=True))
    did = "left out of training and validation" if how == "drop" else "moved to the part of the first"
    over = f" over {len(splits)} folds" if len(splits) > 1 else ""
    notes.append(f"Copies: {changed:,} rows {did}{over}.")
    return after


def with_the_first(split: Split, groups: NDArray[np.int64]) -> Split:
    """Move every row to the part in which the first row of its group (n,) is.

    Over folds that test every row once, this still tests every row once.
    """
    parts = (split.train, split.validation, split.test)
    rows = np.concatenate(parts)
    part = np.repeat(np.arange(3), [len(p) for p in parts])
    order = np.argsort(rows)
    rows, part = rows[order], part[order]
    _, first, group = np.unique(groups[rows], return_index=True, return_inverse=True)
    moved = part[first[group]]
    return Split(f"{split.name}, copies together", *(rows[moved == i] for i in range(3)))


def _n_changed(before: Split, after: Split) -> int:
    return sum(
        len(np.setdiff1d(getattr(before, part), getattr(after, part)))
        for part in ("train", "validation", "test")
    )
