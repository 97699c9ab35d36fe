"""What probes, and labels that spread, say of rows that they were not fitted on: columns of a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.tables import CLASS_PREDICTIONS, LABELLED, TARGET_PREDICTIONS, Table, read_table
from reports.map.columns import Column, Number, category


def read_predictions(path: Path) -> Table:
    """Read the table of predictions that a result names; raises `EmbedkitError` where it is none."""
    return read_table(path, CLASS_PREDICTIONS, TARGET_PREDICTIONS, LABELLED)


def prediction_columns(table: Table, path: Path, ids: NDArray[np.str_], title: str) -> list[Column]:
    """Return what a probe said of its test rows.

    Of classes the prediction and whether it is right, of targets each prediction and the row's error; where
    labels were drawn several times, those of the first draw.

    Raises
    ------
    EmbedkitError
        No id of the feature file is in the table.
    """
    if table.kind is LABELLED:
        return _labelled_columns(table, ids, path, title)
    tested = table.take(table["split"] == "test")
    if "draw" in tested and len(tested):
        tested = tested.take(tested["draw"] == tested["draw"][0])
    rows, inside = tested.among(ids)
    if not len(rows):
        raise EmbedkitError(f"{path}: none of its test rows is in the feature file.")
    tested = tested.take(inside)
    if tested.kind is TARGET_PREDICTIONS:
        return _target_columns(tested, rows, len(ids), title)
    predicted, verdict = np.full((2, len(ids)), "", dtype=object)
    predicted[rows] = tested["predicted"]
    verdict[rows] = np.where(tested["predicted"] == tested["true"], "right", "wrong")
    shared = {"section": "Probes", "missing": "not a test row"}
    return [
        category(f"predicted:{title}", predicted.tolist(), title=f"{title}: predicted class", **shared),
        category(f"verdict:{title}", verdict.tolist(), title=f"{title}: right or wrong", **shared),
    ]


def _labelled_columns(table: Table, ids: NDArray[np.str_], path: Path, title: str) -> list[Column]:
    """Return what `embedkit label` said of every image, and whether it is right where that is known."""
    rows, inside = table.among(ids)
    if not len(rows):
        raise EmbedkitError(f"{path}: none of its rows is in the feature file.")
    table = table.take(inside)
    predicted, verdict = np.full((2, len(ids)), "", dtype=object)
    predicted[rows] = table["predicted"]
    held_out = np.where(table["predicted"] == table["label"], "right", "wrong")
    verdict[rows] = np.where(table["fold"] > 0, held_out, "")
    probability, ahead = np.full((2, len(ids)), np.nan, np.float32)
    probability[rows] = table["probability"]
    ahead[rows] = table["next"]
    section = "Probes"
    columns: list[Column] = [
        category(
            f"predicted:{title}",
            predicted.tolist(),
            title=f"{title}: predicted class",
            section=section,
            missing="not predicted",
        ),
        Number(f"probability:{title}", f"{title}: probability of that class", section, probability),
        category(
            f"verdict:{title}",
            verdict.tolist(),
            title=f"{title}: right or wrong, out of fold",
            section=section,
            missing="no label",
        ),
    ]
    if np.isfinite(ahead).any():
        columns.append(Number(f"next:{title}", f"{title}: to label next", section, ahead))
    return columns


def _target_columns(table: Table, rows: NDArray[np.int64], n: int, title: str) -> list[Column]:
    def spread(values: NDArray[np.float64]) -> NDArray[np.float32]:
        over_all = np.full(n, np.nan, np.float32)
        over_all[rows] = values
        return over_all

    columns: list[Column] = [
        Number(f"predicted:{name}:{title}", f"{title}: predicted {name}", "Probes", spread(values))
        for name, values in table.repeated("predicted").items()
    ]
    error = spread(np.sqrt(table["squared_error"]))
    return [*columns, Number(f"error:{title}", f"{title}: RMS error of the row", "Probes", error)]
