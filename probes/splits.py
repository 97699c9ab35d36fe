"""Which rows train, choose and test: drawn once from a seed, kept as data."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.rows import SPLITS

FRACTIONS = (0.70, 0.15, 0.15)
FORMAT = "embedkit-splits"


@dataclass(frozen=True)
class Split:
    """Three disjoint sets of rows.

    Parameters
    ----------
    name
        How it was made, such as ``stratified 70/15/15``.
    train : (n_train,) int64
        Rows that a probe, and the standardisation before it, is fitted on.
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
        For messages.

    Raises
    ------
    DataError
        No labels, a single class, or a class with fewer than three rows.
    UsageError
        Fractions that are not positive or don't add up to 1.
    """
    _check_fractions(fractions)
    _check_classes(labels, 3, "a stratified split puts at least one in each part", class_names)
    parts = _divide(labels, np.asarray(fractions), np.random.default_rng(seed))
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
    parts = _divide_groups(groups, labels, np.asarray(fractions), np.random.default_rng(seed))
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
    tests = (
        _deal(labels, k, random)
        if groups is None
        else _divide_groups(groups, labels, np.full(k, 1 / k), random)
    )
    splits = []
    for number, test in enumerate(tests, start=1):
        rest = labels.copy()
        rest[test] = -1
        train, held = _carve(rest, groups, validation, random)
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
            "train, merge the class with another, or draw a split with --split stratified."
        )
    if len(rows["validation"]):
        return Split("file", rows["train"], rows["validation"], rows["test"])
    rest = np.full_like(labels, -1)
    rest[rows["train"]] = labels[rows["train"]]
    train, held = _carve(rest, groups, validation, np.random.default_rng(seed))
    return Split(f"file, {100 * validation:.0f} % of train for validation", train, held, rows["test"])


def write_splits(path: str | os.PathLike[str], splits: Sequence[Split], ids: NDArray[np.str_]) -> None:
    """Keep splits as JSON, by id, so that they hold for every feature file of the same images.

    Parameters
    ----------
    path
        File to write, whole or not at all.
    splits
        One split, or the folds.
    ids : (n,) str
        Ids of the rows that the splits index.
    """
    path = Path(path)
    record = {
        "format": FORMAT,
        "splits": [
            {"name": split.name, **{part: ids[getattr(split, part)].tolist() for part in SPLITS}}
            for split in splits
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_splits(path: str | os.PathLike[str], ids: NDArray[np.str_]) -> tuple[Split, ...]:
    """Read what `write_splits` wrote, as row numbers into `ids`.

    Raises
    ------
    EmbedkitError
        No such file, another format, or an id that is not among `ids`.
    """
    path = Path(path)
    if not path.is_file():
        raise EmbedkitError(f"{path}: no such split file. Write one with --save-split {path}.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise ValueError("no embedkit format mark")
        parts = [(str(s["name"]), [[str(i) for i in s[p]] for p in SPLITS]) for s in record["splits"]]
    except (ValueError, KeyError, TypeError) as error:
        raise EmbedkitError(
            f"{path}: not a split file ({error}). Write one with --save-split, or name --split stratified."
        ) from error
    row = {str(name): i for i, name in enumerate(ids)}
    splits = []
    for name, names in parts:
        unknown = [i for part in names for i in part if i not in row]
        if unknown:
            raise EmbedkitError(
                f"{path}: {len(unknown)} ids, such as {unknown[0]!r}, are not in the feature file. Use the "
                "split of the same images."
            )
        splits.append(Split(name, *(np.array([row[i] for i in part], dtype=np.int64) for part in names)))
    if not splits:
        raise EmbedkitError(f"{path}: holds no split. Write it again with --save-split.")
    return tuple(splits)


def _divide(
    labels: NDArray[np.int64], shares: NDArray[np.float64], random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Divide each class by `shares`: largest remainders, and at least one row a part."""
    parts: list[list[NDArray[np.int64]]] = [[] for _ in shares]
    for label in np.unique(labels[labels >= 0]):
        rows = random.permutation(np.flatnonzero(labels == label))
        exact = len(rows) * shares
        n = np.maximum(np.floor(exact).astype(int), 1)
        while n.sum() < len(rows):
            n[np.argmax(exact - n)] += 1
        while n.sum() > len(rows):
            n[np.argmax(np.where(n > 1, n - exact, -np.inf))] -= 1
        for part, some in zip(parts, np.split(rows, np.cumsum(n)[:-1]), strict=True):
            part.append(some)
    return [np.sort(np.concatenate(part)) for part in parts]


def _deal(labels: NDArray[np.int64], k: int, random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Deal the rows, sorted by class and shuffled within, to k folds in turn: even in size and in class."""
    labelled = random.permutation(np.flatnonzero(labels >= 0))
    order = labelled[np.argsort(labels[labelled], kind="stable")]
    return [np.sort(order[fold::k]) for fold in range(k)]


def _divide_groups(
    groups: NDArray[np.str_],
    labels: NDArray[np.int64],
    shares: NDArray[np.float64],
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Give each group, large ones first, to the part that lacks most of what it holds."""
    rows = np.flatnonzero(labels >= 0)
    names, group = np.unique(groups[rows], return_inverse=True)
    if len(names) and names[0] == "":
        alone = np.flatnonzero(group == 0)
        group[alone] = len(names) + np.arange(len(alone))
        group = np.unique(group, return_inverse=True)[1]
    n_groups = int(group.max()) + 1
    if n_groups < len(shares):
        raise DataError(
            f"{n_groups} groups can't fill {len(shares)} parts when groups stay together. Use smaller "
            "groups, fewer folds, or --split stratified, which ignores them."
        )
    classes, label = np.unique(labels[rows], return_inverse=True)
    held = np.zeros((n_groups, len(classes)))
    np.add.at(held, (group, label), 1)
    total = held.sum(axis=0)
    lacking = shares[:, None] * total
    shuffled = random.permutation(n_groups)
    part_of = np.empty(n_groups, dtype=int)
    for g in shuffled[np.argsort(-held.sum(axis=1)[shuffled], kind="stable")]:
        # Each class weighs the same, so a rare one is spread before a common one fills up.
        part = int(np.argmax(((lacking / total) * (held[g] > 0) / shares[:, None]).sum(axis=1)))
        part_of[g] = part
        lacking[part] -= held[g]
    return [rows[part_of[group] == part] for part in range(len(shares))]


def _carve(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_] | None,
    fraction: float,
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    shares = np.array([1 - fraction, fraction])
    return (
        _divide(labels, shares, random) if groups is None else _divide_groups(groups, labels, shares, random)
    )


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
        raise DataError(
            f"too few labelled rows: {listed}; {why}, so a class needs at least {needed}. Merge it with "
            "another class, or leave its labels empty so that its rows are left out, and extract again."
        )


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
        f"every labelled row is of one class, {_name(label, class_names)}; a probe tells classes apart. "
        "Give at least two classes."
    )


def _name(label: Any, class_names: Sequence[str]) -> str:
    return repr(str(class_names[label])) if 0 <= label < len(class_names) else str(int(label))


def _rows(count: Any) -> str:
    return f"{int(count):,} row{'' if count == 1 else 's'}"


def _percent(fractions: Sequence[float]) -> str:
    return "/".join(f"{100 * fraction:.4g}" for fraction in fractions)
