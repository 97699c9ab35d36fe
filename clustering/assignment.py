"""SciPy's optimal assignment for large tables that are nearly empty, pair for pair.

Of a thousand classes and a thousand clusters nearly all cells are zero, and each of SciPy's steps looks at
all columns of a row. Here a step looks at the cells that hold rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clustering.density.distances import I64, compiled


def assigned(rows: I64, columns: I64, counts: I64, *, shape: tuple[int, int]) -> I64:
    """Return the row that each column of tables (c, k) is assigned to, (b, k); -1 for none.

    The sum over assigned cells is as large as can be. Of several such assignments it is that of
    ``scipy.optimize.linear_sum_assignment(table, maximize=True)``, but for pairs whose cell is zero, which
    are left out. It is the same algorithm [1]_ with its order of columns. Where the cells of a column are
    zero in all rows visited, its distance is known without looking: the least of the rows' own, less the
    column's dual variable, which is never positive, and zero while a column is free. So a free column bounds
    the search, and only cells that are not zero can end it earlier.

    Parameters
    ----------
    rows, columns : (z,) int64
        Cells that are not zero in all tables, rising by row and then by column.
    counts : (b, z) int64
        What they hold, at least 0.
    shape
        c and k.

    References
    ----------
    .. [1] D. F. Crouse, On implementing 2D rectangular assignment algorithms, IEEE Transactions on Aerospace
       and Electronic Systems 52 (2016), doi:10.1109/TAES.2016.140952.
    """
    c, k = shape
    found = np.full((len(counts), k), -1, dtype=np.int64)
    # SciPy walks over the shorter side.
    turned = c > k
    order = np.lexsort((rows, columns)) if turned else np.arange(len(rows))
    outer, inner = (columns, rows) if turned else (rows, columns)
    outer, inner = outer[order], inner[order]
    starts = np.searchsorted(outer, np.arange(min(c, k) + 1))
    for own, values in zip(found, counts, strict=True):
        values = values[order]
        partner = _assign(starts, inner, values, max(c, k))
        # Pairs whose cell holds rows: the others are there because somebody had to take whom.
        held = (partner[outer] == inner) & (values > 0)
        own[columns[order][held]] = rows[order][held]
    return found


@compiled
def _nearest(
    lists: tuple[I64, NDArray[np.bool_]],
    n_near: int,
    reached: I64,
    bound: int,
    of_column: I64,
    order: tuple[I64, int],
) -> tuple[int, int, bool, int]:
    """Return the nearest column, -1 where none is nearer than `bound`, and how many are still that near.

    Of equals SciPy takes the last that is free, and where none is, the first.
    """
    (near, listed), (place, n_left) = lists, order
    best, lowest, free, kept = -1, bound, False, 0
    for i in range(n_near):
        j = near[i]
        if reached[j] >= bound or place[j] >= n_left:
            listed[j] = False
            continue
        near[kept] = j
        kept += 1
        own = of_column[j] < 0
        if reached[j] < lowest:
            best, lowest, free = j, reached[j], own
        elif best >= 0 and reached[j] == lowest:
            if own and (not free or place[j] > place[best]):
                best, free = j, True
            elif not own and not free and place[j] < place[best]:
                best = j
    return best, lowest, free, kept


@compiled
def _turn(by: I64, start: int, column: int, of_row: I64, of_column: I64) -> None:
    """Give each row on the path to a free column the column that it reached."""
    while True:
        row = by[column]
        of_column[column] = row
        of_row[row], column = column, of_row[row]
        if row == start:
            return


@compiled
def _assign(starts: I64, columns: I64, values: I64, n_columns: int) -> I64:
    """Return the column of each row of a table in compressed rows, with no more rows than columns."""
    n_rows, far = len(starts) - 1, np.iinfo(np.int64).max
    u, v = np.zeros(n_rows, np.int64), np.zeros(n_columns, np.int64)
    of_row, of_column = np.full(n_rows, -1, np.int64), np.full(n_columns, -1, np.int64)
    # Columns not yet reached, in SciPy's order: ties go by it. Taking one out puts the last in its place.
    left = np.arange(n_columns - 1, -1, -1)
    place = left.copy()
    reached, by, since = np.full(n_columns, far), np.zeros(n_columns, np.int64), np.zeros(n_columns, np.int64)
    near, listed = np.empty(n_columns, np.int64), np.zeros(n_columns, np.bool_)
    touched = np.empty(n_columns, np.int64)
    taken, taken_at = np.empty(n_columns, np.int64), np.empty(n_columns, np.int64)
    for start in range(n_rows):
        n_left, n_near, n_touched, n_taken = n_columns, 0, 0, 0
        row, least, bound, bound_by, bound_since = start, 0, far, start, 0
        step = 0
        while True:
            base = least - u[row]
            if base < bound:
                bound, bound_by, bound_since = base, row, step
            for i in range(starts[row], starts[row + 1]):
                j = columns[i]
                if values[i] == 0 or place[j] >= n_left:
                    continue
                distance = base - values[i] - v[j]
                if distance < reached[j]:
                    if reached[j] == far:
                        touched[n_touched] = j
                        n_touched += 1
                    reached[j], by[j], since[j] = distance, row, step
                    if not listed[j]:
                        listed[j] = True
                        near[n_near] = j
                        n_near += 1
            best, lowest, free, n_near = _nearest(
                (near, listed), n_near, reached, bound, of_column, (place, n_left)
            )
            if best < 0:
                free = True
                for i in range(n_left - 1, -1, -1):
                    if of_column[left[i]] < 0:
                        best = left[i]
                        break
                if reached[best] > bound or since[best] > bound_since:
                    by[best] = bound_by
            least = lowest
            if free:
                break
            row = of_column[best]
            taken[n_taken], taken_at[n_taken] = best, place[best]
            n_taken += 1
            n_left -= 1
            last = left[n_left]
            left[place[best]], place[last] = last, place[best]
            # Its own place becomes one that is not left; the order is put back below.
            left[n_left], place[best] = best, n_left
            step += 1
        u[start] += least
        for i in range(n_taken - 1, -1, -1):
            j = taken[i]
            u[of_column[j]] += least - reached[j]
            v[j] -= least - reached[j]
            last = left[taken_at[i]]
            left[taken_at[i]], left[n_left] = j, last
            place[j], place[last] = taken_at[i], n_left
            n_left += 1
        for i in range(n_near):
            listed[near[i]] = False
        for i in range(n_touched):
            reached[touched[i]] = far
        _turn(by, start, best, of_row, of_column)
    return of_row
