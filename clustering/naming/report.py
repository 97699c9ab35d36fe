"""What naming groups gives: the groups, and what is said of every image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clustering.matching import I64
from embedkit.files import showing
from embedkit.files.results import Metric, metric_cells


@dataclass(frozen=True, repr=False)
class Named(showing.Shown):
    """Groups with or without names.

    Parameters
    ----------
    title
        What was looked at.
    groups
        Columns of `embedkit.files.group_tables.GROUPS`, those beside each other alike.
    ids : (n,) str
        Of the images that could be read.
    clusters : (n,) int64
        Group of each, -1 for none.
    labels : (n,) str
        The name of its group, empty without; None before anything is named.
    confidence : (n,) float64
        How much it belongs to the groups of that name; NaN without a label.
    metrics
        Against the labels of the file, where it has some.
    notes
        What a reader must know.
    path
        The table, where it was written.
    """

    title: str
    groups: Mapping[str, NDArray[Any]]
    ids: NDArray[np.str_]
    clusters: I64
    labels: NDArray[np.str_] | None
    confidence: NDArray[np.float64] | None
    metrics: Mapping[str, Metric]
    notes: tuple[str, ...]
    path: Path | None = None

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the columns of the table that is written: of the images, or of groups without names."""
        if self.labels is None or self.confidence is None:
            return dict(self.groups)
        return {"id": self.ids, "label": self.labels, "confidence": self.confidence, "group": self.clusters}

    def to_pandas(self) -> Any:
        """Return the same as a pandas DataFrame: see `columns`."""
        return showing.data_frame(self.columns())

    def document(self) -> dict[str, Any]:
        """Return all but the images, for JSON."""
        columns = {name: values.tolist() for name, values in self.groups.items()}
        return {
            "title": self.title,
            "groups": [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
            "n": len(self.ids),
            "n_labelled": None if self.labels is None else int((self.labels != "").sum()),
            "metrics": {name: vars(metric) for name, metric in self.metrics.items()},
            "notes": self.notes,
            "path": self.path and str(self.path),
        }

    def _shown(self) -> showing.Parts:
        return self.title, metric_cells(self.metrics), self.notes
