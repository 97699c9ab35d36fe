"""What a classifier or a regression says of rows that it was not fitted on, and the table that keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files.rows import Rows
from embedkit.files.tables import CLASS_PREDICTIONS, TARGET_PREDICTIONS, write_table


@dataclass(frozen=True)
class Predictions:
    """What was said of rows that were not fitted on.

    Parameters
    ----------
    index : (n,) int64
        Row in the feature file.
    part : (n,) str
        ``validation`` or ``test``; with folds only ``test``.
    fold : (n,) int64
        Number of the split, from 1.
    true, predicted : (n,) int64 or (n, t) float64
        Class, as in the feature file; or targets.
    probability : (n,) float64, optional
        Of the predicted class.
    draw : (n,) int64, optional
        Number of the draw of a label budget, from 1.
    """

    index: NDArray[np.int64]
    part: NDArray[np.str_]
    fold: NDArray[np.int64]
    true: NDArray[Any]
    predicted: NDArray[Any]
    probability: NDArray[np.float64] | None
    draw: NDArray[np.int64] | None = None


def write_predictions(path: Path, predictions: Predictions, rows: Rows) -> Path:
    """Write the table of `CLASS_PREDICTIONS` or `TARGET_PREDICTIONS`, whole or not at all.

    Parameters
    ----------
    path
        File to write.
    predictions
        Of classes, or without a probability of targets.
    rows
        Of the feature file: ids, and the names of classes and targets.
    """
    columns: dict[str, Any] = {
        "id": rows.ids[predictions.index],
        "split": predictions.part,
        "fold": predictions.fold,
    }
    if predictions.draw is not None:
        columns["draw"] = predictions.draw
    true, predicted = predictions.true, predictions.predicted
    if predictions.probability is not None:
        names = np.asarray(rows.class_names)
        columns |= {"true": names[true], "predicted": names[predicted]}
        return write_table(path, CLASS_PREDICTIONS, columns | {"probability": predictions.probability})
    for j, name in enumerate(rows.target_names):
        columns |= {f"true:{name}": true[:, j], f"predicted:{name}": predicted[:, j]}
    columns["squared_error"] = ((true - predicted) ** 2).mean(axis=1)
    return write_table(path, TARGET_PREDICTIONS, columns)
