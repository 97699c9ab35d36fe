"""What a call of `embedkit label` gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files import showing
from embedkit.files.results import Result, metric_cells
from embedkit.scoring.class_scores import Scores


@dataclass(frozen=True)
class Spread:
    """What probes of the labels say of every image.

    Parameters
    ----------
    class_names
        Of the c classes that have a label.
    probabilities : (n, c) float64
        Calibrated: of a row with a label out of fold, of all others by the probe of all labels.
    fold : (n,) int64
        In which a row was held out, from 1; 0 where the probe of all labels says it.
    temperature
        At which the probabilities are given; None where no row could be held out.
    """

    class_names: tuple[str, ...]
    probabilities: NDArray[np.float64]
    fold: NDArray[np.int64]
    temperature: float | None

    @property
    def predicted(self) -> NDArray[np.str_]:
        """(n,) name of the most probable class."""
        named: NDArray[np.str_] = np.array(self.class_names)[self.probabilities.argmax(axis=1)]
        return named


@dataclass(frozen=True, repr=False)
class Labelled(showing.Shown):
    """A few labels, taken as far as they go.

    Parameters
    ----------
    title
        What was looked at.
    ids : (n,) str
        Of the images that could be read.
    labels : (n,) str
        Class that was given, empty where none was.
    spread
        What is said of every image; None before there are labels of two classes.
    result
        The line of results.jsonl, with the out-of-fold accuracy; None where no row could be held out.
    scores
        The same with each class's; None likewise.
    next : (m,) int64
        Rows of `ids` to label next, in this order.
    notes
        What a reader must know.
    path
        The table, where it was written.
    """

    title: str
    ids: NDArray[np.str_]
    labels: NDArray[np.str_]
    spread: Spread | None
    result: Result | None
    scores: Scores | None
    next: NDArray[np.int64]
    notes: tuple[str, ...]
    path: Path | None = None

    @property
    def next_ids(self) -> tuple[str, ...]:
        """Ids of the images to label next, in this order."""
        return tuple(self.ids[self.next].tolist())

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of `embedkit.files.tables.LABELLED`."""
        place = np.full(len(self.ids), np.nan)
        place[self.next] = np.arange(1, len(self.next) + 1)
        columns: dict[str, NDArray[Any]] = {"id": self.ids, "label": self.labels, "next": place}
        if self.spread is None:
            return columns
        p = self.spread.probabilities
        columns |= {"predicted": self.spread.predicted, "probability": p.max(axis=1)}
        columns["fold"] = self.spread.fold
        return columns | {f"probability:{name}": p[:, j] for j, name in enumerate(self.spread.class_names)}

    def to_pandas(self) -> Any:
        """Return what is said of every image as a pandas DataFrame: see `columns`."""
        return showing.data_frame(self.columns())

    def _shown(self) -> showing.Parts:
        metrics = {} if self.result is None else self.result.metrics
        named = ", ".join(self.next_ids[:5]) + ", ..." * (len(self.next) > 5)
        ahead = (f"To label next: {named}.",) if len(self.next) else ()
        return self.title, metric_cells(metrics), (*self.notes, *ahead)
