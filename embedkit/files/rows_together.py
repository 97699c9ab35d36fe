"""The annotations of images of two feature files, one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files.rows import Rows


def rows_together(first: Rows, second: Rows) -> Rows:
    """Return the rows of two files as those of one: classes and targets are matched by their names.

    What one of them lacks is not known of its rows. Classes and targets that only the second has come last.

    Raises
    ------
    EmbedkitError
        An id of both.
    """
    classes = tuple(dict.fromkeys((*first.class_names, *second.class_names)))
    names = tuple(dict.fromkeys((*first.target_names, *second.target_names)))
    both = (first, second)

    def column(name: str, unknown: Any) -> NDArray[Any] | None:
        if all(getattr(rows, name) is None for rows in both):
            return None
        parts = [
            np.full((len(rows), *np.shape(unknown)), unknown) if values is None else values
            for rows in both
            for values in [getattr(rows, name)]
        ]
        return np.concatenate(parts)

    return Rows(
        ids=np.concatenate([first.ids, second.ids]),
        labels=None if not classes else np.concatenate([_numbered(rows, classes) for rows in both]),
        class_names=classes,
        targets=_by_name("targets", both, names),
        target_names=names,
        asked=_by_name("asked", both, names),
        split=column("split", ""),
        group=column("group", ""),
        coordinates=column("coordinates", np.full(2, np.nan)),
    )


def _numbered(rows: Rows, classes: tuple[str, ...]) -> NDArray[np.int64]:
    if rows.labels is None:
        return np.full(len(rows), -1, np.int64)
    number = np.array([*(classes.index(name) for name in rows.class_names), -1], np.int64)
    return number[rows.labels]


def _by_name(name: str, both: tuple[Rows, Rows], names: tuple[str, ...]) -> NDArray[Any] | None:
    if all(getattr(rows, name) is None for rows in both):
        return None
    parts = []
    for rows in both:
        values = getattr(rows, name)
        part = np.full((len(rows), len(names)), np.nan, np.float64 if name == "asked" else np.float32)
        if values is not None:
            part[:, [names.index(one) for one in rows.target_names]] = values
        parts.append(part)
    return np.concatenate(parts)
