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
from embedkit.errors import DataError
from embedkit.preparation import Prepared, prepare
from embedkit.preparation_steps import Preparation
from embedkit.store import FeatureFile
from probes.logistic import ConvergenceWarning
from probes.options import ProbeOptions
from probes.splits import Split

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
    """

    model: Any
    prepared: Prepared
    outputs: dict[str, NDArray[np.float64]]
    each: dict[int, NDArray[np.float64]]


def fit_splits(
    file: FeatureFile,
    y: NDArray[Any],
    splits: Sequence[Split],
    options: ProbeOptions,
    notes: list[str],
) -> tuple[list[Fitted], float]:
    """Fit one probe a split; returns them and the seconds without reading.

    Parameters
    ----------
    file
        Where the features are.
    y : (n,) int64 or (n, t) float
        Of every row of the file.
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
    used = np.unique(np.concatenate([getattr(split, part) for split in splits for part in PARTS]))
    preparation = Preparation.parse(options.prep)
    with_views = preparation.uses_views and file.n_views > 1
    features = file.read_view_mean(used) if with_views else file.read(used)
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise DataError(
            f"{int(broken.sum()):,} of {len(features):,} rows hold NaN or infinite features, such as "
            f"{str(file.rows.ids[used[int(np.argmax(broken))]])!r}. Extract again with --precision fp32."
        )
    fitted = []
    start = time.perf_counter()
    # Nothing of validation and test rows may enter what the probe is fitted on.
    prepared = [prepare(file, preparation, rows=split.train) for split in splits]
    with progress(f"{options.kind} probe", len(splits), unit="split") as advance:
        for split, fitted_on_train in zip(splits, prepared, strict=True):
            x = fitted_on_train.transform(features, view_mean=with_views)
            parts = {
                part: (x[np.searchsorted(used, getattr(split, part))], y[getattr(split, part)])
                for part in PARTS
            }
            fitted.append(_fit(parts, options, fitted_on_train))
            notes += fitted[-1].model.notes_
            advance()
    if preparation.steps:
        notes.append(prepared[0].describe() + " (the first fold)" * (len(prepared) > 1))
    return fitted, time.perf_counter() - start


def _fit(
    parts: dict[str, tuple[NDArray[np.float32], NDArray[Any]]], options: ProbeOptions, prepared: Prepared
) -> Fitted:
    model = options.make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the notes hold it
        model.fit(*parts["train"], validation=parts["validation"])
    test, each = parts["test"][0], {}
    if options.probe.regression:
        output = model.predict(test)
    elif hasattr(model, "predict_proba_each"):
        each = model.predict_proba_each(test)
        output = each[model.k_]
    else:
        output = model.predict_proba(test)
    return Fitted(model, prepared, {"validation": model.validation_output_, "test": output}, each)
