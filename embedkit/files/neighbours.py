"""The nearest rows of a feature file to some of its rows, or to another image: exact, by cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.usable_rows import read_usable
from embedkit.options import nearest

# Similarities are held for so many queries and rows of the bank at a time.
QUERIES, BANK = 512, 8192
# Equal up to the order in which a product sums; so copies stand in the file's order.
ROUNDED = 2.0**40


@dataclass(frozen=True)
class Near:
    """The k nearest rows of each query, nearest first; equal ones in the file's order.

    Parameters
    ----------
    ids : (m,) str
        Of the queries.
    index : (m, k) int64
        Rows of the file.
    near_ids : (m, k) str
        Their ids.
    similarity : (m, k) float64
        Cosine similarity, in [-1, 1].
    """

    ids: NDArray[np.str_]
    index: NDArray[np.int64]
    near_ids: NDArray[np.str_]
    similarity: NDArray[np.float64]


class Searched:
    """What a feature file finds among its rows."""

    def neighbors(self: Any, k: int = 15, ids: Sequence[str] | None = None) -> Near:
        """Return the k nearest other rows of each row, by cosine similarity of the features; exact.

        Parameters
        ----------
        k
            Neighbours a row; fewer where there are fewer rows.
        ids : m of them
            Rows to ask about; by default all n whose image could be read.

        Returns
        -------
        Near
            ``ids`` (m,), ``index`` (m, k) into the file's rows, ``near_ids`` (m, k) and ``similarity``
            (m, k). A row is none of its own neighbours, and a row whose image could not be read is nobody's.
            A row of zeros has similarity 0 to all.

        Raises
        ------
        UsageError
            A k below 1.
        EmbedkitError
            An id that the file doesn't have, or whose image could not be read.
        DataError
            A row that holds NaN or infinity.
        """
        if k < 1:
            raise UsageError(f"k = {k}: at least 1 neighbour is needed.")
        rows = np.flatnonzero(self.ok)
        at = np.arange(len(rows)) if ids is None else rows_of(self, ids)
        x = read_usable(self, rows)
        place, similarity = nearest_rows(x[at], x, k, own=at)
        every = self.rows.ids[rows]
        return Near(every[at], rows[place], every[place], similarity)


def rows_of(file: Any, ids: Sequence[str]) -> NDArray[np.int64]:
    """Return where ids stand among the rows of a file whose image could be read.

    Raises
    ------
    EmbedkitError
        One that the file doesn't have, or whose image could not be read.
    """
    readable = {str(name): place for place, name in enumerate(file.rows.ids[file.ok])}
    for name in ids:
        if name not in readable:
            if name in file.errors:
                raise EmbedkitError(f"{file.path}: the image {name!r} could not be read: {file.errors[name]}")
            close = nearest(name, readable)
            first = next(iter(readable), "")
            raise EmbedkitError(
                f"{file.path}: no row {name!r}.{close} Its rows are called {first!r} and so on."
            )
    return np.array([readable[name] for name in ids], dtype=np.int64)


def nearest_rows(
    queries: NDArray[Any], bank: NDArray[Any], k: int, *, own: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return place and cosine similarity of the k nearest rows of a bank (n, d) to each of queries (m, d).

    Parameters
    ----------
    queries, bank
        Features; a row of zeros has similarity 0 to all.
    k
        At most the rows that there are to find.
    own : (m,) int64, optional
        Row of the bank that each query is, and that is not found.

    Returns
    -------
    place, similarity : (m, min(k, n)) or with `own` (m, min(k, n - 1))
        Nearest first, equal ones in the bank's order; in float64.
    """
    n = len(bank)
    k = min(k, n if own is None else n - 1)
    place, similarity = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))
    if not k:
        return place, similarity
    for start in range(0, len(queries), QUERIES):
        some = slice(start, start + QUERIES)
        left = _unit(queries[some])
        # What was found in earlier blocks of the bank stands first, so that a stable order keeps the bank's.
        found = np.empty((len(left), 0), np.int64)
        value = np.empty((len(left), 0))
        for at in range(0, n, BANK):
            near = np.round(left @ _unit(bank[at : at + BANK]).T * ROUNDED)
            if own is not None:
                here = np.flatnonzero((own[some] >= at) & (own[some] < at + BANK))
                near[here, own[some][here] - at] = -np.inf
            among, similar = _largest(near, k)
            found, value = np.hstack([found, among + at]), np.hstack([value, similar])
            order = np.argsort(-value, axis=1, kind="stable")[:, :k]
            found, value = np.take_along_axis(found, order, axis=1), np.take_along_axis(value, order, axis=1)
        place[some], similarity[some] = found, value / ROUNDED
    return place, similarity


def _largest(near: NDArray[np.float64], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the columns of the k largest of each row and these, in order; of equal ones the first."""
    m = near.shape[1]
    if k < m:
        # A whole number below 2^41 and a column in one number, so that no two are equal.
        key = np.where(np.isinf(near), -ROUNDED * 2, near).astype(np.int64) * BANK - np.arange(m)
        column = np.argpartition(key, m - k, axis=1)[:, m - k :]
        column.sort(axis=1)
        near = np.take_along_axis(near, column, axis=1)
    else:
        column = np.broadcast_to(np.arange(m), near.shape)
    order = np.argsort(-near, axis=1, kind="stable")
    return np.take_along_axis(column, order, axis=1), np.take_along_axis(near, order, axis=1)


def _unit(x: NDArray[Any]) -> NDArray[np.float64]:
    x = np.asarray(x, np.float64)
    largest = np.abs(x).max(axis=1, keepdims=True, initial=0)
    x = x / np.where(largest > 0, largest, 1)
    length = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return np.asarray(x / np.where(length > 0, length, 1))
