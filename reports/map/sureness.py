"""How sure a probe or a network was of its test images, and whether it was right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files.results import Result
from embedkit.files.tables import CLASS_PREDICTIONS, LABELLED, TARGET_PREDICTIONS, Table
from embedkit.scoring.calibration import Bin
from embedkit.strict_json import UndeclaredError, of_shape


@dataclass(frozen=True)
class Sureness:
    """The predictions of one result on images that it did not learn from.

    Parameters
    ----------
    result
        The line that names their table.
    title
        Method and settings, unique on a page.
    confidence : (n,) float64
        Probability of the predicted class.
    right : (n,) bool
    table
        Name of the file.
    calibrated
        Bins after temperature scaling, where the result keeps them.
    """

    result: Result
    title: str
    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    table: str
    calibrated: tuple[Bin, ...] = ()


@dataclass(frozen=True)
class Answers:
    """The targets that one result predicted for images that it did not learn from.

    Parameters
    ----------
    result, title, table
        As in `Sureness`.
    true, predicted : target to (n,) float64
    """

    result: Result
    title: str
    true: Mapping[str, NDArray[np.float64]]
    predicted: Mapping[str, NDArray[np.float64]]
    table: str


def sureness(table: Table, result: Result, title: str, name: str) -> Sureness | Answers | None:
    """Return what a table says; None where it has no test rows with probabilities or targets.

    Of labels drawn several times the first draw counts; of `embedkit label` the rows that have a label.
    """
    if table.kind is CLASS_PREDICTIONS:
        tested = _first_draw(table.take(table["split"] == "test"))
        true = "true"
    elif table.kind is TARGET_PREDICTIONS:
        tested = _first_draw(table.take(table["split"] == "test"))
        sides = tested.repeated("true"), tested.repeated("predicted")
        return (
            Answers(result, title, *sides, name)
            if len(tested) and sides[0].keys() == sides[1].keys()
            else None
        )
    elif table.kind is LABELLED and "fold" in table and "probability" in table:
        tested, true = table.take(table["fold"] > 0), "label"
    else:
        return None
    if not len(tested):
        return None
    p = np.asarray(tested["probability"], np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        return None
    right = np.asarray(tested["predicted"] == tested[true])
    return Sureness(result, title, p, right, name, _calibrated(result))


def _first_draw(table: Table) -> Table:
    return table.take(table["draw"] == table["draw"][0]) if "draw" in table and len(table) else table


def _calibrated(result: Result) -> tuple[Bin, ...]:
    """Return the bins that a result keeps; none where they are missing, or no bins."""
    record: Any = result.outcomes.get("calibration")
    try:
        bins = of_shape(record, _Record).bins_scaled
    except UndeclaredError:
        return ()
    there = [one for one in bins if one.n > 0]
    sound = all(
        one.confidence is not None
        and one.accuracy is not None
        and 0 <= one.confidence <= 1
        and 0 <= one.accuracy <= 1
        for one in there
    )
    return tuple(there) if sound else ()


@dataclass(frozen=True)
class _Record:
    """What a result keeps of its calibration."""

    bins_scaled: list[Bin]
