"""What a few labels are worth: each image that has one is predicted by a probe that never saw it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.scoring.calibration import fit_temperature
from embedkit.scoring.dividing import divide_groups
from probes.few_labels import MOST_FOLDS, held_out

Fit = Callable[[NDArray[np.int64]], Any]


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of labelled rows by probes that were fitted without them.

    Parameters
    ----------
    fold : (m,) int64
        Fold in which each row was held out, from 1; 0 where it never was.
    probabilities : (m, c) float64
        As those probes gave them; a class that one never saw has 0.
    """

    fold: NDArray[np.int64]
    probabilities: NDArray[np.float64]

    @property
    def tested(self) -> NDArray[np.bool_]:
        """(m,) whether a row was held out."""
        return np.asarray(self.fold > 0)


def folds_of(y: NDArray[np.int64], groups: NDArray[np.str_] | None, *, seed: int) -> list[NDArray[np.int64]]:
    """Divide labelled rows (m,) of classes y into folds; none where that can't be.

    At most five, every class in proportion, and as many as the largest class has rows; a class of one row
    is never held out. Groups stay together. What is left of each fold holds two classes at least.
    """

    def sound(folds: list[NDArray[np.int64]]) -> bool:
        rests = [np.setdiff1d(np.arange(len(y)), fold) for fold in folds]
        return all(len(fold) for fold in folds) and all(len(np.unique(y[rest])) > 1 for rest in rests)

    if groups is None:
        folds = held_out(y, np.random.default_rng(seed))
        return folds if sound(folds) else []
    for k in range(MOST_FOLDS, 1, -1):
        try:
            parts = divide_groups(groups, y, np.full(k, 1 / k), np.random.default_rng(seed))
        except DataError:  # fewer groups than folds
            continue
        if sound(parts):
            return parts
    return []


def predict_out_of_fold(
    x: NDArray[np.float32], y: NDArray[np.int64], folds: list[NDArray[np.int64]], fit: Fit
) -> OutOfFold:
    """Predict each fold's rows by a probe of the others.

    Parameters
    ----------
    x : (m, d)
        Prepared features of the labelled rows.
    y : (m,) int64
        Classes, 0 to c - 1.
    folds
        Rows of each fold.
    fit
        Returns a probe that was fitted on some of the rows.
    """
    c = int(y.max()) + 1
    fold = np.zeros(len(y), np.int64)
    p = np.zeros((len(y), c))
    for number, rows in enumerate(folds, start=1):
        rest = np.setdiff1d(np.arange(len(y)), rows)
        model = fit(rest)
        p[np.ix_(rows, np.unique(y[rest]))] = model.predict_proba(x[rows])
        fold[rows] = number
    return OutOfFold(fold, p)


def temperature_of(p: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Return the temperature of out-of-fold probabilities (m, c), with one image more that is wrong.

    Of a handful of labels all may be right, and the best temperature would make the probe certain of
    everything. So the row in the middle of the confidences is counted once more, as its second class.
    """
    order = np.argsort(p.max(axis=1), kind="stable")
    middle = order[len(order) // 2]
    second = np.argsort(-p[middle], kind="stable")[1]
    return fit_temperature(np.vstack([p, p[middle]]), np.append(y, second))
