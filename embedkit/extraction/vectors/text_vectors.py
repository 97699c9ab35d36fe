"""Vectors that stand as text in one cell of a table, as pandas writes a column of lists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.words import number

# [0.1, 0.2], [0.1 0.2] of NumPy, and array([0.1, 0.2], dtype=float32) or tensor([...]) around them.
_LIST = re.compile(r"(?:array|tensor)?\(?\s*\[([^\[\]]*)\]\s*(?:,[^\[\]]*)?\)?", re.DOTALL)
# As NumPy 2 writes its numbers in a list of Python's.
_NAMED = re.compile(r"(?:np|numpy)\.\w+\(([^()]*)\)")
_BETWEEN = re.compile(r"[\s,]+")
_SHORTENED = "..."


def columns_of_lists(columns: Mapping[str, NDArray[np.str_]]) -> list[str]:
    """Return the columns of which most cells are a list of numbers in text."""
    return [name for name, cells in columns.items() if _are_lists(cells)]


def _are_lists(cells: NDArray[np.str_]) -> bool:
    some = [cell for cell in cells.tolist() if cell]
    n_lists = sum(cell[0] in "[at" and _words(cell) is not None for cell in some)
    return 2 * n_lists > len(some) and all(
        _is_number(word) for word in _words(next(cell for cell in some if _words(cell) is not None)) or ()
    )


def _words(cell: str) -> list[str] | None:
    match = _LIST.fullmatch(_NAMED.sub(r"\1", cell))
    return None if match is None else [word for word in _BETWEEN.split(match[1]) if word]


def _is_number(word: str) -> bool:
    try:
        number(word)
    except ValueError:
        return word == _SHORTENED
    return True


def read_lists(
    path: Path, name: str, cells: NDArray[np.str_], lines: Sequence[int], unit: str = "line"
) -> NDArray[np.float64]:
    """Return the (n, d) vectors of a column of lists in text; a missing one is NaN.

    Parameters
    ----------
    path, name
        The file and the column, for messages.
    cells
        Of the column.
    lines
        Line of the file of each row.
    unit
        What these number: lines of text, or rows.

    Raises
    ------
    EmbedkitError
        Lists of different lengths, that NumPy has shortened, or of what is no number.
    """
    rows: list[list[float]] = []
    for cell, line in zip(cells.tolist(), lines, strict=True):
        words = _words(cell) if cell else []
        if words is None:
            raise EmbedkitError(
                f"{path}, {unit} {line}: {cell[:30]!r}... in column {name!r} is no list of numbers, as "
                "others are. Correct it, or leave it empty."
            )
        if _SHORTENED in words:
            raise EmbedkitError(
                f"{path}, {unit} {line}: the vector of column {name!r} was shortened by NumPy (...), so most "
                "of its numbers are not in the file. Save the array itself, with numpy.save."
            )
        try:
            rows.append([number(word) for word in words])
        except ValueError as error:
            raise EmbedkitError(
                f"{path}, {unit} {line}: the vector of column {name!r} holds what is no number ({error}). "
                "Correct it."
            ) from error
    d = Counter(map(len, filter(None, rows))).most_common(1)[0][0] if any(rows) else 0
    odd = next((row for row, values in enumerate(rows) if len(values) not in (0, d)), None)
    if odd is not None or not d:
        raise EmbedkitError(
            f"{path}, {unit} {lines[odd or 0]}: the vectors of column {name!r} are of different lengths: "
            f"{len(rows[odd or 0])} here, {d} elsewhere. Leave out those that are of another model."
        )
    return np.array([values or [np.nan] * d for values in rows], dtype=np.float64)
