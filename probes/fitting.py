"""Fit a probe on each split, with everything before it fitted on the split's training rows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import progress
from embedkit.files.store import FeatureFile
from embedkit.files.usable_rows import read_usable
from embedkit.preparing.direction import cosine_remark
from embedkit.preparing.matrix import checked_rows
from embedkit.preparing.preparation import Prepared, preparation_for, prepare
from embedkit.preparing.steps import Preparation
from embedkit.scoring.calibration import fit_temperature
from embedkit.scoring.splits import Split
from probes.division import Labelled, learnable
from probes.kinds.around import Around, Pool
from probes.kinds.logistic import ConvergenceWarning
from probes.options import ProbeOptions

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Fitted:
    """A probe of one split.

    Parameters
    ----------
    model
        The estimator.
    prepared
        The preparation, fitted on the training rows.
    outputs
        ``validation`` and ``test`` to (n, c) probabilities or (n, t) targets. The validation rows' are those
        of the probe that was fitted without them.
    each
        Of the test rows, for every candidate of a probe that gives them all at once (kNN).
    temperature
        That calibrates the probabilities of the validation rows best; None of targets, or without such rows.
    """

    model: Any
    prepared: Prepared
    outputs: dict[str, NDArray[np.float64]]
    each: dict[int, NDArray[np.float64]]
    temperature: float | None = None


def fit_splits(
    file: FeatureFile,
    labelled: Labelled,
    splits: Sequence[Split],
    options: ProbeOptions,
    notes: list[str],
) -> tuple[list[Fitted], float]:
    """Fit one probe a split; returns them and the seconds without reading.

    Parameters
    ----------
    file
        Where the features are.
    labelled
        What is known of every row of the file.
    splits
        Rows of each part.
    options
        Kind and settings.
    notes
        Takes what a reader must know.

    Raises
    ------
    DataError
        NaN or infinite features.
    """
    y = labelled.y
    learnt = [learnable(file, labelled, split, options) for split in splits]
    used = np.unique(np.concatenate([*(getattr(split, part) for split in splits for part in PARTS), *learnt]))
    preparation = preparation_for(file, options.prep)
    features, with_views = read_features(file, used, preparation)
    fitted = []
    start = time.perf_counter()
    with checked_rows(), progress(f"{options.kind} probe", len(splits), unit="split") as advance:
        # Nothing of validation and test rows may enter what the probe is fitted on; a semi-supervised one
        # learns from the features of all but the test rows anyway.
        prepared = [prepare(file, preparation, rows=rows) for rows in learnt]
        for split, rows, fitted_on_train in zip(splits, learnt, prepared, strict=True):
            x = fitted_on_train.transform(features, view_mean=with_views)
            parts = {
                part: (x[np.searchsorted(used, getattr(split, part))], y[getattr(split, part)])
                for part in PARTS
            }
            places = None
            if options.probe.semi_supervised:
                places = Around(
                    Pool(x[np.searchsorted(used, rows)]),
                    np.searchsorted(rows, split.train),
                    np.searchsorted(rows, split.validation),
                )
            fitted.append(_fit(parts, options, fitted_on_train, places))
            notes += fitted[-1].model.notes_
            advance()
        if options.by_cosine and (
            remark := cosine_remark(preparation, x, f"{options.kind} compares by cosine")
        ):
            notes.append(remark)
    if preparation.steps:
        notes.append("In the first fold: " * (len(prepared) > 1) + prepared[0].describe())
    return fitted, time.perf_counter() - start


def read_features(
    file: FeatureFile, rows: NDArray[np.int64], preparation: Preparation
) -> tuple[NDArray[np.float32], bool]:
    """Read what a preparation takes: view means or features (rows, d), and whether it is the former.

    Raises
    ------
    DataError
        NaN or infinite features.
    """
    with_views = preparation.uses_views and file.n_views > 1
    return read_usable(file, rows, view_mean=with_views), with_views


def _fit(
    parts: dict[str, tuple[NDArray[np.float32], NDArray[Any]]],
    options: ProbeOptions,
    prepared: Prepared,
    around: Around | None,
) -> Fitted:
    model = options.make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the notes hold it
        more = {} if around is None else {"around": around}
        model.fit(*parts["train"], validation=parts["validation"], **more)
    test, each = parts["test"][0], {}
    outputs = {"validation": model.validation_output_}
    if options.probe.regression:
        return Fitted(model, prepared, outputs | {"test": model.predict(test)}, {})
    if hasattr(model, "predict_proba_each"):
        each = model.predict_proba_each(test)
        outputs["test"] = each[model.k_]
    else:
        outputs["test"] = model.predict_proba(test)
    known = np.searchsorted(np.unique(parts["train"][1]), parts["validation"][1])
    return Fitted(model, prepared, outputs, each, fit_temperature(outputs["validation"], known))
