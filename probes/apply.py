"""A saved probe put to use: what it says of new features, and how good that is where labels are known."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from embedkit.console import counted
from embedkit.errors import DataError, EmbedkitError
from embedkit.files.feature_set import opened
from embedkit.files.identity import check_alike
from embedkit.files.lengths import MOST, cut, named_after
from embedkit.files.store import FeatureFile
from embedkit.scoring.applied import Applied, Known, judge
from probes.model_file import FORMAT, SavedProbe, load_probe


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
    with opened(features) as file:
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
        tail = f"by-{cut(Path(model).stem, MOST // 2)}{'-' * bool(which)}{which}.csv"
        target = target / named_after(file.path, tail)
    applied.write(target)
    return replace(applied, predictions_path=target)


def _apply(saved: SavedProbe, file: FeatureFile, model: str | os.PathLike[str]) -> Applied:
    notes = [f"{saved.kind} probe, fitted on {saved.fitted_on['dataset']}: nothing is fitted here."]
    notes += check_alike(saved.fitted_on, file, model="probe", again="fit a probe anew")
    notes += file.remarks
    rows = np.flatnonzero(file.ok)
    if not len(rows):
        raise DataError("none of its images could be read, so there is nothing to predict from.")
    if len(rows) < file.n:
        notes.append(f"Left out {counted(file.n - len(rows), 'row')} whose image could not be read.")
    if file.sha256 == saved.fitted_on["features_sha256"]:
        notes.append("The probe was fitted on rows of this very file: scores here are too good to be true.")
    with FORMAT.using(model):
        outputs = saved.outputs(file, rows)
        names = saved.names
        if outputs.shape != (len(rows), len(names)) or len(saved.baseline) != len(names):
            raise ValueError(f"outputs {outputs.shape} of {len(names)} names")
    title = f"{saved.kind} probe of {saved.fitted_on['dataset']}"
    known = Known(tuple(names), saved.regression, saved.baseline, saved.kind, title)
    return judge(known, file.rows.take(rows), outputs, notes)
