"""Which rows train, choose and test: drawn once from a seed, kept as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, UsageError
from embedkit.files.words import SPLITS
from embedkit.scoring.dividing import by_name, carve, deal, divide, divide_groups

FRACTIONS = (0.70, 0.15, 0.15)


class TooFewRowsError(DataError):
    """A class with fewer rows than the split has parts for.

    Parameters
    ----------
    fact
        Which ones, and how many rows they need.
    needed
        Rows of each class.
    n_others
        Classes that have as many. Of fewer than two, nothing is left to tell apart without the others.
    """

    def __init__(self, fact: str, needed: int, n_others: int) -> None:
        self.fact = fact
        fix = (
            f"Leave such classes out (--min-per-class {needed}), or merge them with others."
            if n_others > 1
            else "Label more rows of them, or merge them: without them no two classes are left to tell apart."
        )
        super().__init__(f"{fact} {fix}")


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of rows.

    Parameters
    ----------
    name
        How it was made, such as ``stratified 70/15/15``.
    train : (n_train,) int64
        Rows that a model, and all that comes before it, is fitted on.
    validation : (n_validation,) int64
        Rows that choose between settings.
    test : (n_test,) int64
        Rows that are scored, and used for nothing else.

    Raises
    ------
    DataError
        A part without rows, or a row in two parts.
    """

    name: str
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    def __post_init__(self) -> None:
        for part in SPLITS:
            index = np.sort(np.asarray(getattr(self, part), dtype=np.int64))
            if not len(index):
                raise DataError(f"split {self.name!r} has no {part} rows. Give each part some rows.")
            object.__setattr__(self, part, index)
        rows = np.concatenate([self.train, self.validation, self.test])
        unique, counts = np.unique(rows, return_counts=True)
        if len(unique) < len(rows):
            raise DataError(
                f"split {self.name!r} has row {int(unique[counts > 1][0])} more than once. "
                "A row may be in one part only."
            )

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each part."""
        return {part: len(getattr(self, part)) for part in SPLITS}


def stratified_split(
    labels: NDArray[np.int64],
    *,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    class_names: Sequence[str] = (),
) -> Split:
    """Divide the labelled rows so that every class has the same fractions in each part.

    Parameters
    ----------
    labels : (n,) int64
        -1 leaves a row out.
    fractions
        Of train, validation and test, together 1. Each class gets the nearest whole numbers, and at least
        one row in each part.
    seed
        Same seed and labels, same split.
    class_names
        For messages, and so that another order of the classes gives the same split.

    Raises
    ------
    DataError
        No labels, a single class, or a class with fewer than three rows.
    UsageError
        Fractions that are not positive or don't add up to 1.
    """
    _check_fractions(fractions)
    _check_classes(labels, 3, "a stratified split puts at least one in each part", class_names)
    drawn_by = by_name(labels, class_names)
    parts = divide(drawn_by, np.asarray(fractions), np.random.default_rng(seed))
    return Split(f"stratified {_percent(fractions)}", *parts)


def group_split(
    groups: NDArray[np.str_],
    labels: NDArray[np.int64],
    *,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    class_names: Sequence[str] = (),
) -> Split:
    """Divide the labelled rows with all rows of a group in one part, and classes as even as that allows.

    Parameters
    ----------
    groups : (n,) str
        Group of each row; a row with an empty group is one of its own.
    labels : (n,) int64
        -1 leaves a row out.
    fractions, seed, class_names
        As in `stratified_split`.

    Raises
    ------
    DataError
        No labels, a single class, or a class whose groups can't fill all three parts.
    """
    _check_fractions(fractions)
    _check_classes(labels, 3, "a split by group needs some in each part", class_names)
    drawn_by = by_name(labels, class_names)
    parts = divide_groups(groups, drawn_by, np.asarray(fractions), np.random.default_rng(seed))
    split = Split(f"group {_percent(fractions)}", *parts)
    for part in SPLITS:
        _check_groups(labels, split, part, class_names)
    return split


def folds(
    labels: NDArray[np.int64],
    k: int,
    *,
    groups: NDArray[np.str_] | None = None,
    validation: float = FRACTIONS[1] / (FRACTIONS[0] + FRACTIONS[1]),
    seed: int = 0,
    class_names: Sequence[str] = (),
) -> tuple[Split, ...]:
    """Make k splits that together test every labelled row once.

    Parameters
    ----------
    labels : (n,) int64
        -1 leaves a row out.
    k
        Number of folds, at least 2.
    groups : (n,) str, optional
        Rows of one group stay in one fold, and on one side between training and validation.
    validation
        Fraction of the rows outside the test fold that validates, stratified.
    seed, class_names
        As in `stratified_split`.

    Raises
    ------
    DataError
        No labels, a single class, or a class with too few rows for k folds.
    UsageError
        Fewer than two folds, or a validation fraction outside (0, 1).
    """
    if k < 2:
        raise UsageError(f"kfold:{k}: at least 2 folds are needed, such as --split kfold:5.")
    if not 0 < validation < 1:
        raise UsageError(f"a validation fraction of {validation:g} is outside (0, 1).")
    needed = max(k, 4 if k == 2 else 3)
    _check_classes(labels, needed, f"{k} folds put at least one in each", class_names)
    random = np.random.default_rng(seed)
    drawn_by = by_name(labels, class_names)
    tests = (
        deal(drawn_by, k, random)
        if groups is None
        else divide_groups(groups, drawn_by, np.full(k, 1 / k), random)
    )
    splits = []
    for number, test in enumerate(tests, start=1):
        rest = drawn_by.copy()
        rest[test] = -1
        train, held = carve(rest, groups, validation, random)
        split = Split(f"kfold:{k} fold {number}", train, held, test)
        _check_groups(labels, split, "train", class_names)
        splits.append(split)
    return tuple(splits)


def file_split(
    split: NDArray[np.str_],
    labels: NDArray[np.int64],
    *,
    groups: NDArray[np.str_] | None = None,
    validation: float = FRACTIONS[1] / (FRACTIONS[0] + FRACTIONS[1]),
    seed: int = 0,
    class_names: Sequence[str] = (),
) -> Split:
    """Take the split that a file gives; validation is carved from its training rows where it has none.

    Parameters
    ----------
    split : (n,) str
        ``train``, ``validation``, ``test``, or empty for neither.
    labels : (n,) int64
        -1 leaves a row out.
    groups : (n,) str, optional
        Rows of one group stay together when validation is carved.
    validation
        Fraction of the training rows that validates where the file names no validation rows, stratified.
    seed, class_names
        As in `stratified_split`.

    Raises
    ------
    DataError
        No train or no test rows with a label, or a class without training rows.
    """
    labelled = labels >= 0
    rows = {part: np.flatnonzero(labelled & (split == part)) for part in SPLITS}
    for part in ("train", "test"):
        if not len(rows[part]):
            found = ", ".join(f"{int((labelled & (split == p)).sum())} {p}" for p in SPLITS)
            raise DataError(
                f"the split column has no labelled {part} rows ({found}). Name rows `train` and `test` and "
                "extract again, or draw a split with --split stratified."
            )
    present = np.unique(labels[labelled & (split != "")])
    counts = np.bincount(labels[rows["train"]], minlength=int(present.max()) + 1)[present]
    needed = 1 if len(rows["validation"]) else 2
    if len(present) < 2:
        raise DataError(_single_class(present[0], class_names))
    if (counts < needed).any():
        worst = int(np.argmin(counts))
        why = "" if needed == 1 else ", one to train and one to validate on"
        raise DataError(
            f"class {_name(present[worst], class_names)} has {_rows(counts[worst])} to train on in the split "
            f"column; at least {needed} {'is' if needed == 1 else 'are'} needed{why}. Move some rows to "
            "train, leave the class out with --exclude-class, or draw a split with --split stratified."
        )
    if len(rows["validation"]):
        return Split("file", rows["train"], rows["validation"], rows["test"])
    rest = np.full_like(labels, -1)
    rest[rows["train"]] = by_name(labels, class_names)[rows["train"]]
    train, held = carve(rest, groups, validation, np.random.default_rng(seed))
    return Split(f"file, {100 * validation:.0f} % of train for validation", train, held, rows["test"])


def _check_classes(labels: NDArray[np.int64], needed: int, why: str, class_names: Sequence[str]) -> None:
    present, counts = np.unique(labels[labels >= 0], return_counts=True)
    if not len(present):
        raise DataError("no row has a label. Extract again from a labelled dataset.")
    if len(present) == 1:
        raise DataError(_single_class(present[0], class_names))
    few = counts < needed
    if few.any():
        listed = ", ".join(
            f"{_name(label, class_names)} ({_rows(count)})"
            for label, count in zip(present[few][:5], counts[few][:5], strict=True)
        )
        fact = f"too few labelled rows: {listed}; {why}, so a class needs at least {needed}."
        raise TooFewRowsError(fact, needed, int((~few).sum()))


def _check_groups(labels: NDArray[np.int64], split: Split, part: str, class_names: Sequence[str]) -> None:
    absent = np.setdiff1d(labels[labels >= 0], labels[getattr(split, part)])
    if len(absent):
        raise DataError(
            f"class {_name(absent[0], class_names)} has no {part} rows when groups stay together: its "
            f"{_rows((labels == absent[0]).sum())} are in too few groups. Use smaller groups, merge "
            "the class with another, or try another --seed."
        )


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise UsageError(
            f"fractions {' '.join(f'{f:g}' for f in fractions)}: train, validation and test must each be "
            "above 0 and add up to 1, such as --fractions 0.7 0.15 0.15."
        )


def _single_class(label: Any, class_names: Sequence[str]) -> str:
    return (
        f"every labelled row is of one class, {_name(label, class_names)}; there is nothing to tell apart. "
        "Give at least two classes."
    )


def _name(label: Any, class_names: Sequence[str]) -> str:
    return repr(str(class_names[label])) if 0 <= label < len(class_names) else str(int(label))


def _rows(count: Any) -> str:
    return f"{int(count):,} row{'' if count == 1 else 's'}"


def _percent(fractions: Sequence[float]) -> str:
    return "/".join(f"{100 * fraction:.4g}" for fraction in fractions)
