"""`embedkit label`: from a few labels to what they are worth, all other images, and which to label next."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import counted, progress
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.files.guard import guarded
from embedkit.files.identity import identity
from embedkit.files.lengths import named_after
from embedkit.files.results import RESULTS_FILE, Metric, Result, append_result, result_provenance
from embedkit.files.selected_file import rows_and_options
from embedkit.files.store import FeatureFile
from embedkit.files.tables import LABELLED, write_table
from embedkit.files.usable_rows import read_usable
from embedkit.preparing.matrix import checked_rows
from embedkit.preparing.preparation import Prepared
from embedkit.scoring.calibration import N_BINS, fit_temperature, reliability, scale
from embedkit.scoring.class_scores import Scores, score_predictions, wilson
from embedkit.scoring.confusions import kept
from embedkit.scoring.dividing import by_name
from embedkit.scoring.selected import selected
from probes.few_labels import fit_within
from probes.kinds.around import Around, Pool
from probes.labelling.default_probe import settled
from probes.labelling.next_images import next_images, uncertainty
from probes.labelling.options import LabelOptions, LabelPlaces
from probes.labelling.out_of_fold import OutOfFold, folds_of, predict_out_of_fold, temperature_of
from probes.labelling.report import Labelled, Spread
from probes.model_file import SavedProbe, save_probe


@dataclass(frozen=True)
class _Given:
    """The labels, and the features of all images that could be read.

    `rows` (n,) are rows of the file, `at` (m,) places among them that have a label, `y` (m,) their classes as
    numbers of `class_names`, which are those with a label. `options` name the probe and the preparation, and
    `remark` says why it is these where nothing was asked for.
    """

    options: LabelOptions
    rows: NDArray[np.int64]
    x: NDArray[np.float32]
    prepared: Prepared
    at: NDArray[np.int64]
    y: NDArray[np.int64]
    class_names: tuple[str, ...]
    groups: NDArray[np.str_] | None
    remark: str | None


@guarded()
def label(
    features: str | os.PathLike[str] | FeatureFile,
    table: str | os.PathLike[str] | None = None,
    options: LabelOptions = LabelOptions(),
    places: LabelPlaces = LabelPlaces(),
) -> Labelled:
    """Spread a few labels to all images, say what they are worth, and which images to label next.

    A probe is fitted on all labels, its settings chosen by cross-validation among them. What it is worth is
    said by probes that are fitted on four fifths of the labels and asked about the others.

    Parameters
    ----------
    features
        A feature file, or its path.
    table
        A .csv, .tsv or .npz with ids and labels of some of its rows; by default the labels that the file
        has. Without any label, the images to begin with are proposed.
    options
        The probe, and how many images are proposed.
    places
        Where the table and the model are written.

    Returns
    -------
    Labelled
        With ``result``, ``to_pandas()`` and ``next_ids``.

    Raises
    ------
    UsageError
        Two tables of labels, or a model to be saved of fewer than two classes.
    EmbedkitError
        A file that can't be read, or a table of other ids; the message says what to do.
    """
    which = options.which_with(None if table is None else Path(table))
    with selected(features, which) as file:
        try:
            notes = list(file.remarks)
            given = _given(file, options, notes)
            found, saved = _label(file, given, places, notes)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        if saved is not None and places.save_model is not None:
            save_probe(places.save_model, saved)
        return found if places.output is None else _write(file, found, given.options, places.output)


def _label(
    file: FeatureFile, given: _Given, places: LabelPlaces, notes: list[str]
) -> tuple[Labelled, SavedProbe | None]:
    options = given.options
    title = f"labels of {file.dataset_name}, {file.features_name}: {len(given.rows):,} images"
    n, c = len(given.rows), len(given.class_names)
    labels = np.full(n, "", dtype=np.array(["", *given.class_names]).dtype)
    labels[given.at] = np.array(["", *given.class_names])[given.y + 1]
    found = Labelled(title, file.rows.ids[given.rows], labels, None, None, None, given.at[:0], ())
    unlabelled = np.setdiff1d(np.arange(n), given.at)
    if c < 2:
        if places.save_model is not None:
            raise UsageError("--save-model needs labels of two classes at least. Label some images first.")
        notes.append(
            f"Every label is {given.class_names[0]!r}: nothing to tell apart yet."
            if c
            else "No labels yet: the images to begin with cover what there is."
        )
        return replace(found, next=_ahead(file, given, unlabelled, None), notes=tuple(notes)), None
    if given.remark is not None:
        notes.append(given.remark)
    start = time.perf_counter()
    folded, model = _fit(given, options, notes)
    tested = folded.tested
    temperature = temperature_of(folded.probabilities[tested], given.y[tested]) if tested.any() else None
    p = model.predict_proba(given.x)
    p[given.at[tested]] = folded.probabilities[tested]
    p = p if temperature is None else scale(p, temperature)
    fold = np.zeros(n, np.int64)
    fold[given.at] = folded.fold
    spread = Spread(given.class_names, p, fold, temperature)
    ahead = _ahead(file, given, unlabelled, uncertainty(p[unlabelled]))
    scores = result = None
    if tested.any():
        scores, metrics = _score(given, folded)
        result = _result(file, given, options, spread, (scores, metrics, model, time.perf_counter() - start))
    notes += [note for note in dict.fromkeys(model.notes_) if note not in notes]
    if len(given.prepared.steps):
        notes.append(given.prepared.describe())
    found = replace(found, spread=spread, result=result, scores=scores, next=ahead, notes=tuple(notes))
    return found, _saved(file, given, options, model, temperature)


def _given(file: FeatureFile, options: LabelOptions, notes: list[str]) -> _Given:
    rows = np.flatnonzero(file.ok)
    if not len(rows):
        raise DataError(
            "none of its images could be read, so there is nothing to label. `embedkit verify "
            f"{file.path}` lists the reasons."
        )
    if len(rows) < file.n:
        notes.append(f"Left out {counted(file.n - len(rows), 'row')} whose image could not be read.")
    found = settled(options, file, rows)
    stored = file.rows.labels if file.rows.labels is not None else np.full(file.n, -1)
    lost = int((stored[~file.ok] >= 0).sum())
    if lost:
        notes.append(f"{lost:,} of the labels are of images that could not be read.")
    stored = stored[rows]
    at = np.flatnonzero(stored >= 0)
    classes, y = np.unique(by_name(stored[at], file.rows.class_names), return_inverse=True)
    names = np.array(sorted(file.rows.class_names) if len(file.rows.class_names) else [], dtype=np.str_)
    groups = None if file.rows.group is None else file.rows.group[rows][at]
    class_names = tuple(names[classes].tolist())
    return _Given(found.options, rows, found.x, found.prepared, at, y, class_names, groups, found.remark)


def _fit(given: _Given, options: LabelOptions, notes: list[str]) -> tuple[OutOfFold, Any]:
    """Return out-of-fold predictions of the labelled rows, and the probe of all of them."""
    x, y = given.x[given.at], given.y
    folds = folds_of(y, given.groups, seed=options.seed)
    counts = np.bincount(y)
    single = [given.class_names[j] for j in np.flatnonzero(counts == 1)]
    if single and folds and given.groups is None:
        notes.append(
            f"One label only of {', '.join(single)}: learned from, never tested. One more of each would be."
        )
    if not folds:
        why = (
            "Each class has one label" if counts.max() == 1 else "Groups stay together, and these are too few"
        )
        notes.append(
            f"{why}: no image can be held out, so the accuracy is not known and the confidence not "
            "calibrated. Label more."
        )
    if folds and given.groups is not None:
        notes.append("The file's groups are kept together: each is in one fold.")

    # The others of the file, too, where the probe learns from rows without a label.
    everyone = Around(Pool(given.x), given.at) if options.probe.probe.semi_supervised else None

    def fit(rows: NDArray[np.int64]) -> Any:
        around = everyone.of(rows) if everyone is not None else None
        model = fit_within(x[rows], y[rows], y[rows], options.probe, seed=options.seed, around=around)
        advance()
        return model

    with checked_rows(), progress(f"{options.probe.kind} probe", len(folds) + 1, unit="fit") as advance:
        folded = predict_out_of_fold(x, y, folds, fit)
        return folded, fit(np.arange(len(y)))


def _ahead(
    file: FeatureFile, given: _Given, unlabelled: NDArray[np.int64], doubt: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """Return rows to label next, given the doubt about the unlabelled ones once there is any."""
    options, x = given.options, given.x
    if given.prepared.preparation.uses_views and options.next:
        # Chosen apart by whitened views, the first images are worth less: docs/results/label-next.md.
        x = read_usable(file, given.rows)
    return next_images(x, unlabelled, options.next, doubt=doubt, seed=options.seed)


def _score(given: _Given, folded: OutOfFold) -> tuple[Scores, dict[str, Metric]]:
    """Score the rows that were held out, once with each fold's own temperature, fitted on the others."""
    tested = folded.tested
    y, p, fold = given.y[tested], folded.probabilities[tested], folded.fold[tested]
    scores = score_predictions(y, p, class_names=given.class_names)
    majority = float((y == np.bincount(given.y).argmax()).mean())
    metrics = dict(scores.metrics)
    metrics["majority_accuracy"] = wilson(majority, len(y), note="always the largest class among the labels")
    scaled = np.empty_like(p)
    for one in np.unique(fold):
        others = fold != one
        scaled[~others] = scale(p[~others], fit_temperature(p[others], y[others])) if others.any() else p
    error = reliability(scaled.max(axis=1), scaled.argmax(axis=1) == y).error
    metrics["expected_calibration_error_scaled"] = Metric(
        error, note=f"{N_BINS} bins, each fold at the temperature of the others"
    )
    return scores, metrics


def _result(
    file: FeatureFile,
    given: _Given,
    options: LabelOptions,
    spread: Spread,
    found: tuple[Scores, dict[str, Metric], Any, float],
) -> Result:
    scores, metrics, model, seconds = found
    params = {
        "prep": None if not given.prepared.steps else given.prepared.name,
        "class_weight": options.class_weight,
        "choice": {"by": f"{options.probe.selected_by} in cross-validation within the labels"},
    }
    counts = np.bincount(given.y, minlength=len(given.class_names))
    outcomes = {
        **model.chosen_,
        "class_names": list(given.class_names),
        **kept(scores.confusion),
        "labels": dict(zip(given.class_names, counts.tolist(), strict=True)),
        "n_labels": len(given.y),
        "calibration": {"temperature": spread.temperature},
    }
    return Result(
        task="label",
        dataset=file.dataset_name,
        features=file.features_name,
        method=options.probe.kind,
        params={name: value for name, value in params.items() if value is not None},
        outcomes=outcomes,
        split=f"{int(spread.fold.max())} folds of the labels",
        seed=options.seed,
        metrics=metrics,
        n=scores.n,
        seconds=seconds,
        backend=model.backend_,
        provenance=result_provenance(file),
    )


def _saved(
    file: FeatureFile, given: _Given, options: LabelOptions, model: Any, temperature: float | None
) -> SavedProbe:
    settings: dict[str, Any] = {
        "choice": {
            "by": f"{options.probe.selected_by} in cross-validation within the labels",
            "grid": list(map(str, model.validation_scores_)),
        },
        "division": {"asked": "label", "folds": []},
        **model.chosen_,
        "class_weight": options.class_weight,
        "seed": options.seed,
    }
    shares = np.bincount(given.y) / len(given.y)
    names: Sequence[str] = given.class_names
    return SavedProbe(
        options.probe.kind, model, given.prepared, tuple(names), shares, temperature, settings, identity(file)
    )


def _write(file: FeatureFile, found: Labelled, options: LabelOptions, output: Path) -> Labelled:
    """Write the table, then the result that names it."""
    # The name of a file with other labels or rows has the digest of these.
    about = json.dumps([file.sha256, *rows_and_options(file, options)], sort_keys=True)
    digest = hashlib.sha256(about.encode()).hexdigest()[:8]
    path = output / named_after(file.path, f"label-{options.probe.kind}-{digest}.csv")
    write_table(path, LABELLED, found.columns())
    result = found.result
    if result is not None:
        result = replace(result, provenance={**result.provenance, "predictions": path.name})
        result = append_result(output / RESULTS_FILE, result)
    return replace(found, result=result, path=path)
