"""What a kept model says of rows that it was not fitted on, and how good that is where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files import showing
from embedkit.files.results import Metric, metric_cells
from embedkit.files.rows import Rows
from embedkit.files.tables import APPLIED_CLASSES, APPLIED_TARGETS, write_table
from embedkit.files.vote_tree import TOLERANCE, contradictions, tree_of
from embedkit.scoring.calibration import N_BINS, reliability
from embedkit.scoring.class_scores import Scores, score_predictions, wilson
from embedkit.scoring.target_scores import RegressionScores, score_targets


@dataclass(frozen=True)
class Known:
    """What a kept model predicts.

    Parameters
    ----------
    names
        Of its classes or targets.
    regression
        Whether these are targets.
    baseline : (c,) or (t,) float64
        Share of each class, or mean of each target, among the rows that it was fitted on.
    kind, title
        What it is, in a word and in a few.
    """

    names: tuple[str, ...]
    regression: bool
    baseline: NDArray[np.float64]
    kind: str
    title: str


@dataclass(frozen=True, repr=False)
class Applied(showing.Shown):
    """What a kept model says of some rows.

    Parameters
    ----------
    known
        What it predicts.
    ids : (n,) str
        Of the rows whose image could be read.
    outputs : (n, c) or (n, t) float64
        Calibrated probabilities of the classes, or targets.
    true
        Name of each row's class (n,), empty where it has none; or (n, t) targets, NaN likewise. None where
        the rows have neither.
    metrics
        Of the rows whose class, or targets, the model knows; empty without any.
    scores
        With each class's or target's; None without labels.
    notes
        What a reader must know.
    predictions_path
        The CSV, where it was written.
    """

    known: Known
    ids: NDArray[np.str_]
    outputs: NDArray[np.float64]
    true: NDArray[Any] | None
    metrics: dict[str, Metric]
    scores: Scores | RegressionScores | None
    notes: tuple[str, ...]
    predictions_path: Path | None = None

    @property
    def predicted(self) -> NDArray[np.str_]:
        """(n,) name of the most probable class."""
        named: NDArray[np.str_] = np.array(self.known.names)[self.outputs.argmax(axis=1)]
        return named

    @property
    def contradictory(self) -> int | None:
        """Rows whose answers don't sum to their parent's share; None of what is no whole tree of votes."""
        tree = tree_of(self.known.names) if self.known.regression else None
        if tree is None:
            return None
        return int(contradictions(self.outputs, tree, tolerance=TOLERANCE).sum())

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of `embedkit.files.tables.APPLIED_CLASSES` or ``APPLIED_TARGETS``."""
        names, true, outputs = self.known.names, self.true, self.outputs
        columns: dict[str, NDArray[Any]] = {"id": self.ids}
        if self.known.regression:
            if true is not None:
                columns |= {f"true:{name}": true[:, j] for j, name in enumerate(names)}
            return columns | {f"predicted:{name}": outputs[:, j] for j, name in enumerate(names)}
        if true is not None:
            columns["true"] = true
        columns |= {"predicted": self.predicted, "probability": outputs.max(axis=1)}
        return columns | {f"probability:{name}": outputs[:, j] for j, name in enumerate(names)}

    def to_pandas(self) -> Any:
        """Return what it says of every row as a pandas DataFrame: see `columns`."""
        return showing.data_frame(self.columns())

    def document(self, model: object) -> dict[str, Any]:
        """Return all but the rows for JSON; `model` is the file or folder that was asked."""
        scores = {} if self.scores is None else asdict(self.scores)
        return {
            "model": str(model),
            "kind": self.known.kind,
            "n": len(self.ids),
            "predictions": str(self.predictions_path),
            "notes": self.notes,
            **({} if self.contradictory is None else {"contradictory": self.contradictory}),
            **scores,
            "metrics": {name: asdict(metric) for name, metric in self.metrics.items()},
        }

    def write(self, path: Path) -> None:
        """Write the table of `APPLIED_CLASSES` or `APPLIED_TARGETS`, whole or not at all."""
        write_table(path, APPLIED_TARGETS if self.known.regression else APPLIED_CLASSES, self.columns())

    def _shown(self) -> showing.Parts:
        return f"{self.known.title} on {len(self.ids):,} rows", metric_cells(self.metrics), self.notes


def judge(known: Known, rows: Rows, outputs: NDArray[np.float64], notes: Sequence[str]) -> Applied:
    """Score what a model says of rows; classes and targets are compared by name.

    Parameters
    ----------
    known
        What the model predicts.
    rows
        Those that it was asked about.
    outputs : (n, c) or (n, t)
        What it says.
    notes
        What a reader must know already.
    """
    said = list(notes)
    score = _score_targets if known.regression else _score_classes
    true, metrics, scores = score(known, rows, outputs, said)
    found = Applied(known, rows.ids, outputs, true, metrics, scores, tuple(said))
    if found.contradictory is None:
        return found
    said.append(
        f"{found.contradictory:,} of {len(outputs):,} rows contradict the tree of votes: the answers to a "
        f"question miss their parent's share by more than {TOLERANCE:g}."
    )
    return replace(found, notes=tuple(said))


def _score_classes(
    of: Known,
    rows: Rows,
    p: NDArray[np.float64],
    notes: list[str],
) -> tuple[NDArray[np.str_] | None, dict[str, Metric], Scores | None]:
    if rows.labels is None or (rows.labels < 0).all():
        notes.append("No labels stored, so no scores.")
        return None, {}, None
    true = np.append(np.asarray(rows.class_names), "")[rows.labels]
    known = np.isin(true, of.names)
    strange = sorted(set(true[~known]) - {""})
    if strange:
        n = int((~known & (true != "")).sum())
        notes.append(f"Left out of the scores: {n:,} rows of classes it doesn't know: {', '.join(strange)}.")
    if not known.any():
        notes.append(f"It knows the classes {', '.join(of.names)}, and no row is of one: no scores.")
        return true, {}, None
    y = np.array([of.names.index(name) for name in true[known]], np.int64)
    scores = score_predictions(y, p[known], class_names=of.names)
    if scores.absent:
        notes.append(f"No rows of {', '.join(scores.absent)}: left out of balanced accuracy and ROC AUC.")
    majority = float((y == of.baseline.argmax()).mean())
    error = reliability(p[known].max(axis=1), p[known].argmax(axis=1) == y).error
    metrics = {
        **scores.metrics,
        "majority_accuracy": wilson(majority, len(y), note="always the largest training class"),
        "expected_calibration_error_scaled": Metric(error, note=f"{N_BINS} bins, at the saved temperature"),
    }
    return true, metrics, scores


def _score_targets(
    of: Known,
    rows: Rows,
    predicted: NDArray[np.float64],
    notes: list[str],
) -> tuple[NDArray[np.float64] | None, dict[str, Metric], RegressionScores | None]:
    missing = [name for name in of.names if name not in rows.target_names]
    if rows.targets is None or missing:
        what = f"no target {missing[0]!r}" if rows.targets is not None else "no targets"
        notes.append(f"The file has {what}, so no scores.")
        return None, {}, None
    columns = [rows.target_names.index(name) for name in of.names]
    true = np.asarray(rows.targets, np.float64)[:, columns]
    known = np.isfinite(true).all(axis=1)
    if not known.any():
        notes.append("No row has all targets, so no scores.")
        return true, {}, None
    mean = np.broadcast_to(of.baseline, true[known].shape)
    scores = score_targets(true[known], predicted[known], mean, target_names=of.names)
    return true, dict(scores.metrics), scores
