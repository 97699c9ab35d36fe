"""Choosing a setting on validation rows: what every probe with a grid does the same way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, UsageError
from probes.kinds.interface import Validation


def accuracy(y: NDArray[Any], probabilities: NDArray[np.float64], classes: NDArray[Any]) -> float:
    """Return the fraction of rows whose most probable class is right."""
    return float((y == classes[probabilities.argmax(axis=1)]).mean())


def balanced_accuracy(y: NDArray[Any], probabilities: NDArray[np.float64], classes: NDArray[Any]) -> float:
    """Return the mean over the classes in `y` of the fraction of their rows that are right."""
    right = y == classes[probabilities.argmax(axis=1)]
    return float(np.mean([right[y == label].mean() for label in np.unique(y)]))


def log_loss(y: NDArray[Any], probabilities: NDArray[np.float64], classes: NDArray[Any]) -> float:
    """Return the mean log probability of the true class: a smaller loss is a higher score."""
    own = (probabilities * (y[:, None] == classes)).sum(axis=1)
    return float(np.log(np.maximum(own, 1e-12)).mean())


SELECT = {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "log_loss": log_loss}


def choose(
    probabilities: Mapping[Any, NDArray[np.float64]],
    validation: Validation | None,
    classes: NDArray[Any],
    select: str,
) -> tuple[int, list[float]]:
    """Return the position of the best setting and the score of each; ties go to the first.

    Parameters
    ----------
    probabilities
        Setting to (n, c) probabilities of the validation rows, in the order in which ties are broken.
    validation
        Features and (n,) labels of the validation rows.
    classes : (c,) array
        Labels of the columns.
    select
        A name in `SELECT`.

    Raises
    ------
    DataError
        No validation rows.
    UsageError
        Unknown `select`.
    """
    if select not in SELECT:
        raise UsageError(f"select {select!r} is unknown. Give one of {', '.join(SELECT)}.")
    if validation is None or not len(validation[1]):
        raise DataError(
            "several settings and no validation rows to choose by. Give validation=(x, y), or one setting."
        )
    y = np.asarray(validation[1])
    scores = [SELECT[select](y, p, classes) for p in probabilities.values()]
    return int(np.argmax(scores)), scores


def check_varies(x: NDArray[np.float32]) -> None:
    """Refuse features that are the same in every row."""
    if (x == x[:1]).all():
        raise DataError(
            "every feature is constant on the training rows, so nothing can be read out. Check the images "
            "and the weights that the features come from."
        )


def check_width(x: NDArray[np.float32], d: int) -> None:
    """Refuse features (n, d) of other dimensions than those that a probe was fitted on."""
    if x.shape[1] != d:
        raise DataError(
            f"features of {x.shape[1]} dimensions; this probe was fitted on {d}. "
            "Extract with the same backbone, layers and pooling."
        )


def class_index(y: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the sorted classes of n labels and each label's position in them.

    Raises
    ------
    DataError
        Another number of labels than n, or fewer than two classes.
    """
    y = np.asarray(y)
    if y.shape != (n,):
        raise DataError(f"{y.shape} labels don't fit {n} rows of features.")
    classes, index = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise DataError(
            f"{len(classes)} class in {n} training rows; a probe tells classes apart. Give at least two."
        )
    return classes, index.astype(np.int64)


def class_weights(
    label: NDArray[np.int64], n_classes: int, class_weight: str | None
) -> NDArray[np.float64] | None:
    """Return a weight for each row: None, or with ``balanced`` n / (c times the rows of its class)."""
    if class_weight is None:
        return None
    if class_weight != "balanced":
        raise UsageError(f"class_weight {class_weight!r} is unknown. Give balanced, or leave it out.")
    counts = np.bincount(label, minlength=n_classes)
    return np.asarray(len(label) / (n_classes * counts[label]))
