"""Models as their predictions: read, held against the votes, and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.results import Metric
from embedkit.files.tables import APPLIED_TARGETS, TARGET_PREDICTIONS, Table, read_table
from embedkit.files.vote_tree import TOLERANCE, VoteTree, contradictions
from embedkit.scoring.class_scores import wilson
from embedkit.scoring.target_scores import RegressionScores, score_targets
from reports.votes.answers import F64, FEATURED, SEVEN, Votes, columns_in
from reports.votes.options import named_file

# A table keeps six digits.
SAME = 1e-4
THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
N_BINS = 10


@dataclass(frozen=True)
class Model:
    """What one model says of m rows that it was not fitted on.

    Parameters
    ----------
    name, path
        What it is called, and the table.
    rows : (m,) int64
        In the dataset.
    true, predicted : (m, t) float64
        In the order of the dataset's targets.
    part
        ``test``, ``validation`` or ``all``: which rows of the table these are.
    """

    name: str
    path: Path
    rows: NDArray[np.int64]
    true: F64
    predicted: F64
    part: str

    @property
    def r2(self) -> F64:
        """(t,): 1 less the squared error over that of the mean; NaN of a target that never varies."""
        # By the range and not the sum of squares, which rounding leaves above 0.
        varies = self.true.max(axis=0) > self.true.min(axis=0)
        spread = ((self.true - self.true.mean(axis=0)) ** 2).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: F64 = 1 - ((self.true - self.predicted) ** 2).sum(axis=0) / spread
        found[~varies] = np.nan
        return found

    def contradictory(self, tree: VoteTree | None) -> int | None:
        """Rows whose predicted answers don't sum to their parent's share, by more than tables may be off."""
        if tree is None:
            return None
        return int(contradictions(self.predicted, tree, tolerance=TOLERANCE).sum())

    def scores(self, votes: Votes) -> RegressionScores:
        """Its RMSE with an interval, beside that of the mean of all other rows of the dataset."""
        mean = np.broadcast_to(mean_beside(votes, self.rows), self.true.shape)
        return score_targets(self.true, self.predicted, mean, target_names=votes.target_names)


def mean_beside(votes: Votes, rows: NDArray[np.int64]) -> F64:
    """Return the targets' means (t,) over the rows that are not among these; else over all."""
    others = np.setdiff1d(np.arange(len(votes.ids)), rows)
    shares = votes.shares[others] if len(others) else votes.shares
    if np.isnan(shares).all(axis=0).any():
        shares = votes.shares
    found: F64 = np.nanmean(shares, axis=0)
    return found


def read_models(texts: Sequence[str], votes: Votes) -> tuple[Model, ...]:
    """Read the tables of several models.

    Raises
    ------
    EmbedkitError
        Ids, targets or true values that are not those of the dataset.
    UsageError
        Two models of one name.
    """
    named = [named_file(text) for text in texts]
    stems = [path.stem for _, path in named]
    names = [
        name or (path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}/{path.stem}")
        for name, path in named
    ]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise UsageError(f"--predictions: two models are called {name!r}. Give NAME=FILE.")
    return tuple(_model(name, path, votes) for name, (_, path) in zip(names, named, strict=True))


def _model(name: str, path: Path, votes: Votes) -> Model:
    table = read_table(path, TARGET_PREDICTIONS, APPLIED_TARGETS)
    table, part = _scored(path, table)
    place = {str(one): row for row, one in enumerate(votes.ids)}
    missing = [str(one) for one in table["id"] if str(one) not in place]
    if missing:
        raise EmbedkitError(
            f"{path}: {missing[0]!r} is no image of {votes.name}{_others(len(missing))}. Give predictions of "
            f"its images, or those of an unlabelled set with --merger-of."
        )
    predicted = predicted_of(path, table, votes)
    rows = np.array([place[str(one)] for one in table["id"]], np.int64)
    true = votes.shares[rows]
    known = ~np.isnan(true).any(axis=1)
    if not known.any():
        raise EmbedkitError(f"{path}: none of its rows has all targets in {votes.name}.")
    rows, true, predicted = rows[known], true[known], predicted[known]
    said = table.repeated("true")
    if said and (columns := columns_in(votes, list(said))) is not None:
        theirs = np.stack(list(said.values()), axis=1)[known][:, columns]
        with np.errstate(invalid="ignore"):
            wrong = np.abs(theirs - true) > SAME * max(1.0, float(np.abs(true).max()))
        if wrong.any():
            row, column = (int(one) for one in np.argwhere(wrong)[0])
            raise EmbedkitError(
                f"{path}: {str(votes.ids[rows[row]])!r} has {theirs[row, column]:g} as the true "
                f"{votes.target_names[column]}, but {true[row, column]:g} in {votes.name}. They are "
                "predictions of other votes: predict again from this dataset's features."
            )
    return Model(name, path, rows, true, predicted, part)


def _scored(path: Path, table: Table) -> tuple[Table, str]:
    """Return the rows to look at: of test, else of validation, and of the first draw of a label budget."""
    if not len(table):
        raise EmbedkitError(f"{path}: no rows. Predict again.")
    if "draw" in table:
        table = table.take(table["draw"] == table["draw"].min())
    if "split" not in table:
        return table, "all"
    part = "test" if (table["split"] == "test").any() else "validation"
    return table.take(table["split"] == part), part


def predicted_of(path: Path, table: Table, votes: Votes) -> F64:
    """Return the (m, t) predictions of a table, in the order of the dataset's targets."""
    said = table.repeated("predicted")
    columns = columns_in(votes, list(said))
    if columns is None:
        lacking = [name for name in votes.target_names if columns_in_one(votes, name, said) is False]
        raise EmbedkitError(
            f"{path}: it predicts {', '.join(list(said)[:3])}{', ...' if len(said) > 3 else ''}, but not "
            f"{lacking[0]} of {votes.name}{_others(len(lacking))}. Give predictions of all its targets."
        )
    return np.stack(list(said.values()), axis=1)[:, columns]


def columns_in_one(votes: Votes, name: str, said: dict[str, F64]) -> bool:
    """Whether a target of the dataset is predicted, by any of its names."""
    j = votes.target_names.index(name)
    known = {name, votes.names[j]} | (set() if votes.tree is None else {votes.tree.answers[j].column})
    return bool(known & set(said))


def _others(n: int) -> str:
    return f" ({n:,} such)" if n > 1 else ""


@dataclass(frozen=True)
class Bins:
    """Predictions of some columns in bins of what was predicted.

    Parameters
    ----------
    predicted, true : (b,) float64
        Means in each bin that is not empty.
    n : (b,) int64
        Cells in it.
    error
        Mean distance of the two, each bin by its cells.
    """

    predicted: F64
    true: F64
    n: NDArray[np.int64]
    error: float


def reliability(true: F64, predicted: F64, limits: tuple[float, float]) -> Bins:
    """Say of (m, a) predictions of a question's answers whether as many gave them as were predicted."""
    low, high = limits
    share = (predicted.ravel() - low) / max(high - low, 1e-12)
    which = np.clip((share * N_BINS).astype(int), 0, N_BINS - 1)
    n = np.bincount(which, minlength=N_BINS)
    there = n > 0
    sums = [np.bincount(which, values.ravel(), minlength=N_BINS)[there] for values in (predicted, true)]
    p, y = (one / n[there] for one in sums)
    return Bins(p, y, n[there], float((n[there] * np.abs(p - y)).sum() / n.sum()))


@dataclass(frozen=True)
class Kept:
    """Galaxies on which at least a share of the votes agrees: how many, and how often the model is right."""

    threshold: float
    n: int
    n_all: int
    accuracy: Metric


def smooth_or_featured(model: Model, votes: Votes) -> tuple[Kept, ...]:
    """Return the trade-off of the vote threshold; nothing where there are no such answers."""
    smooth, featured = votes.column(*SEVEN[0][1]), votes.column(*FEATURED)
    if smooth is None or featured is None:
        return ()
    pair = [smooth, featured]
    # Shares are float32 in the dataset: 0.6 as a table writes it must count as at least 0.6.
    agreed = model.true[:, pair].max(axis=1) + 1e-6
    right = model.true[:, pair].argmax(axis=1) == model.predicted[:, pair].argmax(axis=1)
    found = []
    for threshold in THRESHOLDS:
        kept = agreed >= threshold
        n = int(kept.sum())
        accuracy = wilson(float(right[kept].mean()) if n else 0.0, n)
        found.append(Kept(threshold, n, len(kept), accuracy))
    return tuple(found)
