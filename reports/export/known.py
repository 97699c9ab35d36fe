"""What a report knows of each of its images, as the columns of one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files.tabled import known_text, unique_names
from reports.map.columns import Category
from reports.map.content import Page

# Of columns that every table of this kind may have; what is known of images takes other names.
ID, X, Y, PATH, IMAGE, NEIGHBORS, VECTOR = "id", "x", "y", "path", "image", "neighbors", "vector"
RESERVED = (ID, X, Y, PATH, IMAGE, NEIGHBORS, VECTOR)


def known_columns(
    page: Page, paths: Sequence[str] | None = None, *, taken: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Return what is known of each image, by name.

    Text is an array of objects, in which None stands for what is not known; of numbers that is NaN. No two
    names differ by the case of their letters alone, which SQL takes for one.

    Parameters
    ----------
    page
        What the report shows.
    paths : (n,)
        Where each image is, where that is known.
    taken
        Names that no column may have.

    Returns
    -------
    dict
        Name to (n,) values: ``id``, ``x``, ``y``, of each further feature set ``x:NAME`` and ``y:NAME``, then
        the columns of the page, with all of their categories, the group of each row, the position on the sky
        to its last digit, and ``path``.
    """
    found: list[tuple[str, NDArray[Any]]] = []
    clusters = {f"cluster:{one.title}": one for one in page.clusterings}
    exact = _exact(page)
    for other in page.linked:
        found += [(f"{axis}:{other.name}", other.xy[:, i]) for i, axis in enumerate((X, Y))]
    for column in page.known:
        if not isinstance(column, Category):
            values: NDArray[Any] = column.values
        elif column.key in clusters:
            one = clusters[column.key]
            values = known_text([one.name(int(number)) if number >= -1 else "" for number in one.cluster])
        else:
            values = np.array([None, *column.names], dtype=object)[column.codes + 1]
        found.append((column.key, exact.pop(column.key, values)))
    found += exact.items()
    named = unique_names([name for name, _ in found], (*RESERVED, *taken))
    first = {ID: known_text(page.ids.tolist()), X: page.map.xy[:, 0], Y: page.map.xy[:, 1]}
    last = {} if paths is None else {PATH: known_text(paths)}
    return {**first, **dict(zip(named, (values for _, values in found), strict=True)), **last}


def _exact(page: Page) -> dict[str, NDArray[Any]]:
    """Return what a page shows less of than the feature file holds."""
    rows = page.rows
    found: dict[str, NDArray[Any]] = {}
    if rows.group is not None and (rows.group != "").any():
        found["group"] = known_text(rows.group.tolist())
    if rows.coordinates is not None:
        found |= {"ra": rows.coordinates[:, 0], "dec": rows.coordinates[:, 1]}
    return found


def is_text(values: NDArray[Any]) -> bool:
    """Whether a column holds text."""
    return values.dtype == object


def known_anywhere(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the columns in which something is known of some image."""

    def known(values: NDArray[Any]) -> bool:
        return any(one is not None for one in values) if is_text(values) else not np.isnan(values).all()

    return {name: values for name, values in columns.items() if known(values)}
