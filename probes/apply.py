"""A saved probe put to use: what it says of new features, and how good that is where labels are known."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, EmbedkitError
from embedkit.files import showing
from embedkit.files.identity import check_alike
from embedkit.files.results import Metric, metric_cells
from embedkit.files.store import FeatureFile
from embedkit.files.tables import APPLIED_CLASSES, APPLIED_TARGETS, write_table
from embedkit.scoring.calibration import N_BINS, reliability
from embedkit.scoring.class_scores import Scores, score_predictions, wilson
from embedkit.scoring.target_scores import RegressionScores, score_targets
from probes.model_file import FORMAT, SavedProbe, load_probe


@dataclass(frozen=True, repr=False)
class Applied(showing.Shown):
    """What a saved probe says of a feature file.

    Parameters
    ----------
    saved
        The probe.
    ids : (n,) str
        Of the rows whose image could be read.
    outputs : (n, c) or (n, t) float64
        Calibrated probabilities of the classes, or targets.
    true
        Name of each row's class (n,), empty where it has none; or (n, t) targets, NaN likewise. None where
        the file has neither.
    metrics
        Of the rows whose class, or targets, the probe knows; empty without any.
    scores
        With each class's or target's; None without labels.
    notes
        What a reader must know.
    predictions_path
        The CSV, where it was written.
    """

    saved: SavedProbe
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
        named: NDArray[np.str_] = np.array(self.saved.names)[self.outputs.argmax(axis=1)]
        return named

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of `embedkit.files.tables.APPLIED_CLASSES` or ``APPLIED_TARGETS``."""
        names, true, outputs = self.saved.names, self.true, self.outputs
        columns: dict[str, NDArray[Any]] = {"id": self.ids}
        if self.saved.regression:
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

    def _shown(self) -> showing.Parts:
        title = f"{self.saved.kind} probe of {self.saved.fitted_on['dataset']} on {len(self.ids):,} rows"
        return title, metric_cells(self.metrics), self.notes


def apply(
    model: str | os.PathLike[str],
    features: str | os.PathLike[str] | FeatureFile,
    *,
    output: str | os.PathLike[str] | None = None,
) -> Applied:
    """Predict every row of a feature file with a saved probe; fits nothing.

    Classes and targets are compared by name.

    Parameters
    ----------
    model
        What ``embedkit probe --save-model`` wrote.
    features
        A feature file made as the fitted one was; or its path.
    output
        Folder for the predictions, or their own FILE.csv; nothing is written without it.

    Raises
    ------
    EmbedkitError
        A file that can't be read, or features that were made otherwise: the message names the difference.
    """
    saved = load_probe(model)
    with FeatureFile.opened(features) as file:
        try:
            applied = _apply(saved, file, model)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
    if output is None:
        return applied
    target = Path(output)
    if target.suffix != ".csv":
        # Predictions of some rows don't take the place of those of all.
        which = "" if file.selection is None else hashlib.sha256(file.dataset_name.encode()).hexdigest()[:8]
        target = target / f"{file.path.stem}-by-{Path(model).stem}{'-' * bool(which)}{which}.csv"
    write_applied(target, applied)
    return replace(applied, predictions_path=target)


def _apply(saved: SavedProbe, file: FeatureFile, model: str | os.PathLike[str]) -> Applied:
    notes = [f"{saved.kind} probe, fitted on {saved.fitted_on['dataset']}: nothing is fitted here."]
    notes += check_alike(saved.fitted_on, file, model="probe", again="fit a probe anew")
    notes += file.remarks
    rows = np.flatnonzero(file.ok)
    if not len(rows):
        raise DataError("none of its images could be read, so there is nothing to predict from.")
    if len(rows) < file.n:
        notes.append(f"Left out {file.n - len(rows):,} rows whose image could not be read.")
    if file.sha256 == saved.fitted_on["features_sha256"]:
        notes.append("The probe was fitted on rows of this very file: scores here are too good to be true.")
    with FORMAT.using(model):
        outputs = saved.outputs(file, rows)
        names = saved.names
        if outputs.shape != (len(rows), len(names)) or len(saved.baseline) != len(names):
            raise ValueError(f"outputs {outputs.shape} of {len(names)} names")
    score = _score_targets if saved.regression else _score_classes
    true, metrics, scores = score(saved, file, rows, outputs, notes)
    return Applied(saved, file.rows.ids[rows], outputs, true, metrics, scores, tuple(notes))


def _score_classes(
    saved: SavedProbe,
    file: FeatureFile,
    rows: NDArray[np.int64],
    p: NDArray[np.float64],
    notes: list[str],
) -> tuple[NDArray[np.str_] | None, dict[str, Metric], Scores | None]:
    if file.rows.labels is None or (file.rows.labels[rows] < 0).all():
        notes.append("No labels stored, so no scores.")
        return None, {}, None
    true = np.append(np.asarray(file.rows.class_names), "")[file.rows.labels[rows]]
    known = np.isin(true, saved.names)
    strange = sorted(set(true[~known]) - {""})
    if strange:
        n = int((~known & (true != "")).sum())
        notes.append(f"Left out of the scores: {n:,} rows of classes it doesn't know: {', '.join(strange)}.")
    if not known.any():
        notes.append(f"It knows the classes {', '.join(saved.names)}, and no row is of one: no scores.")
        return true, {}, None
    y = np.array([saved.names.index(name) for name in true[known]], np.int64)
    scores = score_predictions(y, p[known], class_names=saved.names)
    if scores.absent:
        notes.append(f"No rows of {', '.join(scores.absent)}: left out of balanced accuracy and ROC AUC.")
    majority = float((y == saved.baseline.argmax()).mean())
    error = reliability(p[known].max(axis=1), p[known].argmax(axis=1) == y).error
    metrics = {
        **scores.metrics,
        "majority_accuracy": wilson(majority, len(y), note="always the largest training class"),
        "expected_calibration_error_scaled": Metric(error, note=f"{N_BINS} bins, at the saved temperature"),
    }
    return true, metrics, scores


def _score_targets(
    saved: SavedProbe,
    file: FeatureFile,
    rows: NDArray[np.int64],
    predicted: NDArray[np.float64],
    notes: list[str],
) -> tuple[NDArray[np.float64] | None, dict[str, Metric], RegressionScores | None]:
    missing = [name for name in saved.names if name not in file.rows.target_names]
    if file.rows.targets is None or missing:
        what = f"no target {missing[0]!r}" if file.rows.targets is not None else "no targets"
        notes.append(f"The file has {what}, so no scores.")
        return None, {}, None
    columns = [file.rows.target_names.index(name) for name in saved.names]
    true = np.asarray(file.rows.targets, np.float64)[rows][:, columns]
    known = np.isfinite(true).all(axis=1)
    if not known.any():
        notes.append("No row has all targets, so no scores.")
        return true, {}, None
    mean = np.broadcast_to(saved.baseline, true[known].shape)
    scores = score_targets(true[known], predicted[known], mean, target_names=saved.names)
    return true, dict(scores.metrics), scores


def write_applied(path: Path, applied: Applied) -> Path:
    """Write the table of `APPLIED_CLASSES` or `APPLIED_TARGETS`, whole or not at all."""
    kind = APPLIED_TARGETS if applied.saved.regression else APPLIED_CLASSES
    return write_table(path, kind, applied.columns())
