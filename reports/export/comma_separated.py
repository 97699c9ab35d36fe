"""What is known of each image as CSV, for spreadsheets and everything else."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files.aside import aside
from embedkit.files.tabled import unique_names
from embedkit.files.tables import neutral
from reports.export.known import VECTOR, is_text, known_anywhere
from reports.export.table import BLOCK, Rowwise


def write_csv(
    path: Path, columns: Mapping[str, NDArray[Any]], vectors: Mapping[str, Rowwise]
) -> tuple[str, ...]:
    """Write a row an image, whole or not at all, and return the names of the columns.

    What is not known is empty. Numbers are as short as they can be without losing anything; before text that
    a spreadsheet would run stands an apostrophe. Features are a column a dimension: ``f0``, or ``f0:NAME`` of
    a further file.
    """
    known = known_anywhere(columns)
    n = len(next(iter(columns.values())))
    widths = {name: read(0, 1).shape[1] for name, read in vectors.items()}
    wanted = [f"f{i}{name.removeprefix(VECTOR)}" for name, d in widths.items() for i in range(d)]
    names = (*known, *unique_names(wanted, tuple(known)))
    with aside(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([neutral(name) for name in names])
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            cells = [_cells(values[start:stop]) for values in known.values()]
            for read in vectors.values():
                cells += [_cells(values) for values in read(start, stop).T]
            writer.writerows(zip(*cells, strict=True))
    return names


def _cells(values: NDArray[Any]) -> list[Any]:
    if is_text(values):
        return ["" if one is None else neutral(str(one)) for one in values]
    # As short as the type allows: a float32 needs fewer digits than a float64.
    written = values.astype(str)
    written[np.isnan(values)] = ""
    return list(written.tolist())
