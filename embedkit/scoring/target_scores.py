"""How far predicted targets are from true ones on test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.files.results import Metric
from embedkit.scoring.metrics import Z95, estimate


@dataclass(frozen=True)
class TargetScores:
    """Root mean squared error of one target, and that of always answering its training mean."""

    name: str
    rmse: float
    mean_rmse: float


@dataclass(frozen=True)
class RegressionScores:
    """What predictions of n rows and t targets are worth.

    Parameters
    ----------
    metrics
        ``rmse``: the root of the mean squared error over all rows and targets, as in the Galaxy Zoo challenge
        of Kaggle; ``mean_rmse``: that of always answering the targets' means on the training rows.
    targets
        Each target's.
    n
        Number of rows.
    """

    metrics: Mapping[str, Metric]
    targets: tuple[TargetScores, ...]
    n: int


def score_targets(
    y: NDArray[np.float64],
    predicted: NDArray[np.float64],
    mean: NDArray[np.float64],
    *,
    target_names: Sequence[str],
) -> RegressionScores:
    """Score (n, t) predictions of (n, t) targets against each row's (n, t) training means.

    Intervals are about the test rows, given the fitted model: the mean over rows of a row's mean squared
    error is taken to be normal, and its limits' roots are the interval's.
    """
    if y.shape != predicted.shape or y.shape != mean.shape or not len(y):
        raise DataError(f"predictions of shape {predicted.shape} don't fit targets of shape {y.shape}.")
    metrics = {
        "rmse": _rmse("rmse", (predicted - y) ** 2, None),
        "mean_rmse": _rmse("mean_rmse", (mean - y) ** 2, "always the training mean"),
    }
    each = tuple(
        TargetScores(
            str(name),
            float(np.sqrt(((predicted[:, j] - y[:, j]) ** 2).mean())),
            float(np.sqrt(((mean[:, j] - y[:, j]) ** 2).mean())),
        )
        for j, name in enumerate(target_names)
    )
    return RegressionScores(metrics, each, len(y))


def _rmse(name: str, squared: NDArray[np.float64], note: str | None) -> Metric:
    rows = squared.mean(axis=1)
    value = float(rows.mean())
    half = Z95 * float(rows.std(ddof=1)) / np.sqrt(len(rows)) if len(rows) > 1 else value
    return estimate(name, np.sqrt(value), np.sqrt(max(value - half, 0)), np.sqrt(value + half), note)
