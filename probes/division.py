"""Which rows of a feature file are used, and what they are divided into."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import counted
from embedkit.errors import DataError
from embedkit.files.store import FeatureFile
from embedkit.scoring.asked_split import Asked, draw_splits
from embedkit.scoring.selected import selected, with_targets
from embedkit.scoring.splits import Split
from probes.options import ProbeOptions

if TYPE_CHECKING:
    from probes.leaks.leaks import Leaks


@contextmanager
def probed(features: str | os.PathLike[str] | FeatureFile, options: ProbeOptions) -> Iterator[FeatureFile]:
    """Yield the rows and the targets of a feature file that the options ask for."""
    with selected(features, options) as file:
        yield with_targets(file, options.targets)


@dataclass(frozen=True)
class Labelled:
    """What is known of a file's rows, and which of them can be used.

    Parameters
    ----------
    labels : (n,) int64
        What splits are drawn by: the class, or 0 and 1 in turn where there are targets; -1 for a row that
        can't be used.
    y : (n,) int64 or (n, t) float64
        What a probe learns.
    left_out
        Rows that can't be used, by reason.
    """

    labels: NDArray[np.int64]
    y: NDArray[Any]
    left_out: dict[str, int]


def read_labels(file: FeatureFile, options: ProbeOptions, notes: list[str]) -> Labelled:
    """Read labels, or targets for a regression; `notes` takes what is left out.

    Raises
    ------
    DataError
        None stored, or no image could be read.
    """
    if options.probe.regression:
        halves, left_out = usable_targets(file, notes)
        targets = np.asarray(file.rows.targets, dtype=np.float64)
        if options.fractions_only:
            _check_fractions(file, targets, halves >= 0, options)
        return Labelled(halves, targets, left_out)
    labels, left_out = usable_labels(file, notes, learnt=options.probe.semi_supervised)
    return Labelled(labels, labels, left_out)


def _check_fractions(
    file: FeatureFile, targets: NDArray[np.float64], used: NDArray[np.bool_], options: ProbeOptions
) -> None:
    """Refuse targets outside [0, 1] in any row, test rows as well."""
    outside = used[:, None] & ((targets < 0) | (targets > 1))
    if outside.any():
        row, column = np.argwhere(outside)[0]
        way = "Leave --clip out" if options.clip else "Use --kind ridge"
        n = int(outside.any(axis=1).sum())
        raise DataError(
            f"{n:,} of {int(used.sum()):,} rows have targets outside [0, 1], such "
            f"as {file.rows.target_names[column]} = {targets[row, column]:g} of {str(file.rows.ids[row])!r}. "
            f"{way}, or make fractions of them and extract again."
        )


@dataclass(frozen=True)
class Dealt:
    """A file's rows and the splits that they are dealt out to.

    Parameters
    ----------
    labelled
        The rows.
    splits
        One, or the folds.
    notes
        What was decided and left out.
    leaks
        Copies, where they were looked for already.
    """

    labelled: Labelled
    splits: tuple[Split, ...]
    notes: tuple[str, ...]
    leaks: Leaks | None = None


def deal_rows(file: FeatureFile, options: ProbeOptions, *, one_for: str | None = None) -> Dealt:
    """Read the labels and draw the splits, with copies where chance puts them.

    Parameters
    ----------
    file
        The rows.
    options
        The split and its seed.
    one_for
        The option for which ``auto`` makes one split, however few the labels.

    Raises
    ------
    DataError
        No labels, or a split that can't be drawn.
    """
    notes: list[str] = []
    labelled = read_labels(file, options, notes)
    asked = Asked(options.split, options.fractions, options.seed, one_for)
    return Dealt(labelled, draw_splits(file.rows, labelled.labels, asked, notes=notes), tuple(notes))


def settle_rows(file: FeatureFile, dealt: Dealt, options: ProbeOptions) -> Dealt:
    """Deal with copies as asked, and check that a probe can learn every class from what is left.

    Raises
    ------
    DataError
        A split without training rows of some class.
    """
    labelled, splits, notes = dealt.labelled, dealt.splits, list(dealt.notes)
    if options.dedupe:
        from probes.leaks.dedupe import dedupe  # with SciPy and Pillow, on use

        splits = dedupe(file, splits, options.dedupe, notes, leaks=dealt.leaks)
    used = np.unique(np.concatenate([part for s in splits for part in (s.train, s.validation, s.test)]))
    outside = int((labelled.labels >= 0).sum()) - len(used)
    if outside:
        notes.append(f"Left out {outside:,} labelled rows that no part of the split holds.")
    if not options.probe.regression:
        _check_classes(file, labelled.labels, used, splits)
    labelled = replace(labelled, left_out={**labelled.left_out, "outside_split": outside})
    return replace(dealt, labelled=labelled, splits=splits, notes=tuple(notes))


def _check_classes(
    file: FeatureFile, labels: NDArray[np.int64], used: NDArray[np.int64], splits: Sequence[Split]
) -> None:
    classes = np.unique(labels[used])
    for split in splits:
        missing = np.setdiff1d(classes, labels[split.train])
        if len(missing):
            raise DataError(
                f"split {split.name!r} has no training rows of class "
                f"{file.rows.class_names[missing[0]]!r}. Draw one with --split stratified."
            )


def learnable(
    file: FeatureFile, labelled: Labelled, split: Split, options: ProbeOptions
) -> NDArray[np.int64]:
    """Return the rows whose features are learnt from; never a test row.

    They are the training rows; of a semi-supervised probe also those to choose by and all without a label,
    rising.
    """
    if not options.probe.semi_supervised:
        return split.train
    unlabelled = np.flatnonzero(file.ok & (labelled.labels < 0))
    return np.unique(np.concatenate([split.train, split.validation, unlabelled]))


def usable_labels(
    file: FeatureFile, notes: list[str], *, learnt: bool = False
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the labels with -1 for every row that can't be used, and how many those are.

    `learnt` says that rows without a label take part.
    """
    rows, ok = file.rows, file.ok
    notes.extend(file.remarks)
    if not ok.any():
        raise DataError(
            f"none of the {file.n:,} images could be read, so there is nothing to probe. `embedkit verify "
            f"{file.path}` lists the reasons."
        )
    if rows.labels is None or (rows.labels < 0).all():
        raise DataError(
            "no labels stored. Name a table of ids and labels: --labels labels.csv. Or extract from a "
            "labelled dataset: a folder with a subfolder for each class, or a CSV with a label column, as in "
            "`embedkit extract labels.csv --root images/`."
        )
    left_out = {"failed": int((~ok).sum()), "unlabelled": int((ok & (rows.labels < 0)).sum())}
    if left_out["failed"]:
        notes.append(f"Left out {counted(left_out['failed'], 'row')} whose image could not be read.")
    if left_out["unlabelled"] and learnt:
        notes.append(f"{left_out['unlabelled']:,} rows without a label are learnt from as well.")
    elif left_out["unlabelled"]:
        notes.append(f"Left out {left_out['unlabelled']:,} rows without a label.")
    return np.where(ok, rows.labels, -1), left_out


def usable_targets(file: FeatureFile, notes: list[str]) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return -1 for rows that can't be used, 0 or 1 in turn for the others; and how many are left out."""
    rows, ok = file.rows, file.ok
    notes.extend(file.remarks)
    if rows.targets is not None and not np.isfinite(rows.targets).all(axis=1).any():
        empty = np.flatnonzero(~np.isfinite(rows.targets).any(axis=0))
        named = ", ".join(rows.target_names[t] for t in empty[:5])
        why = f"no row has a number for {named}" if len(empty) else "no row has a number for all of them"
        raise DataError(f"{why}. Name other targets with --targets ({', '.join(rows.target_names[:20])}).")
    if rows.targets is None:
        raise DataError(
            "no targets stored. Extract again from a dataset with targets, such as a CSV of vote fractions, "
            "or take a probe of labels, such as --kind linear."
        )
    known = np.isfinite(rows.targets).all(axis=1)
    left_out = {"failed": int((~ok).sum()), "unlabelled": int((ok & ~known).sum())}
    if left_out["failed"]:
        notes.append(f"Left out {counted(left_out['failed'], 'row')} whose image could not be read.")
    if left_out["unlabelled"]:
        notes.append(f"Left out {left_out['unlabelled']:,} rows without all targets.")
    use = np.flatnonzero(ok & known)
    halves = np.full(file.n, -1, dtype=np.int64)
    halves[use] = np.arange(len(use)) % 2
    return halves, left_out
