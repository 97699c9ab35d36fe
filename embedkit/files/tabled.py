"""What a feature file knows of its rows, as columns by name, and as a pandas DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files.rows import Rows
from embedkit.files.showing import data_frame


class Tabled:
    """A feature file's rows as a table."""

    def to_pandas(self: Any, *, features: bool = False) -> Any:
        """Return what is known of each row as a pandas DataFrame.

        Parameters
        ----------
        features
            Whether the features are columns too, ``f0`` and so on.

        Returns
        -------
        pandas.DataFrame
            A row each, in the file's order: ``id``; where there are some ``label``, ``split`` and ``group``,
            ``ra`` and ``dec`` in degrees, the targets by their names, and of shares of votes how many people
            were asked, as ``asked:NAME``; ``ok``, which is False where the image could not be read, and then
            ``error``. What is not known is missing.

        Raises
        ------
        EmbedkitError
            pandas is not installed, or the file is damaged.
        """
        columns = row_columns(self.rows)
        columns["ok"] = self.ok
        if self.errors:
            columns["error"] = known_text([self.errors.get(name, "") for name in self.rows.ids.tolist()])
        if features:
            x = self.read()
            names = unique_names([f"f{i}" for i in range(x.shape[1])], list(columns))
            columns |= {name: x[:, i] for i, name in enumerate(names)}
        return data_frame(columns)


def row_columns(rows: Rows) -> dict[str, NDArray[Any]]:
    """Return the annotations of n rows as (n,) arrays by name.

    Text is an array of objects, in which None stands for what is not known. Targets whose names are taken, as
    one called ``id``, get a number: ``id#2``.
    """
    found: list[tuple[str, NDArray[Any]]] = [("id", known_text(rows.ids.tolist()))]
    if rows.labels is not None:
        found.append(("label", np.array([None, *rows.class_names], dtype=object)[rows.labels + 1]))
    for name in ("split", "group"):
        if (values := getattr(rows, name)) is not None:
            found.append((name, known_text(values.tolist())))
    if rows.coordinates is not None:
        found += [("ra", rows.coordinates[:, 0]), ("dec", rows.coordinates[:, 1])]
    for prefix, values in (("", rows.targets), ("asked:", rows.asked)):
        if values is not None:
            found += [(f"{prefix}{name}", values[:, i]) for i, name in enumerate(rows.target_names)]
    names = unique_names([name for name, _ in found], ("ok", "error"))
    return dict(zip(names, (values for _, values in found), strict=True))


def unique_names(names: Sequence[str], taken: Sequence[str] = ()) -> list[str]:
    """Return names of which none is taken, and no two are one: those that come later get a number.

    Names that differ by the case of their letters are one, as SQL has it.
    """
    seen = {name.casefold() for name in taken}
    unique = []
    for name in names:
        own, number = name, 2
        while own.casefold() in seen:
            own, number = f"{name}#{number}", number + 1
        seen.add(own.casefold())
        unique.append(own)
    return unique


def known_text(values: Sequence[str]) -> NDArray[Any]:
    """Return text as an array of objects, in which None stands for the empty one."""
    array = np.empty(len(values), dtype=object)
    array[:] = [value or None for value in values]
    return array
