"""What every estimator asks of its input: a finite (n, d) matrix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError

BLOCK = 8192
_CHECKED = ContextVar("checked", default=False)
NO_COVARIANCE = (
    "the within-image covariance is none: it holds NaN or a negative variance, as of a damaged file. Extract "
    "again."
)
CONSTANT = (
    "all {n} rows are equal. Constant features come from a backbone that collapsed, or from one image read "
    "{n} times: look at the images and the weights."
)


def as_matrix(
    estimator: Any, x: Any, *, dtype: Any = np.float32, reset: bool = True, min_rows: int = 1
) -> NDArray[Any]:
    """Return `x` as a C-ordered, finite (n, d) matrix and let the estimator remember d.

    Parameters
    ----------
    estimator
        The scikit-learn estimator that asks; its name stands in the messages.
    x : (n, d)
        Anything that scikit-learn takes as a dense matrix.
    dtype
        Type, or types of which the first is taken where `x` has none of them.
    reset
        True in ``fit``; False where d must be what ``fit`` saw.
    min_rows
        Fewest rows that make sense.

    Raises
    ------
    DataError
        Not a matrix, sparse, too few rows, another d, or NaN or infinite values.
    """
    from sklearn.utils.validation import validate_data  # on use: --help of a verb waits for no scikit-learn

    try:
        matrix: NDArray[Any] = validate_data(
            estimator,
            x,
            dtype=dtype,
            order="C",
            reset=reset,
            ensure_all_finite=False,
            ensure_min_samples=min(min_rows, 1),
        )
    except TypeError as error:
        if "sparse" not in str(error).lower():
            raise
        raise DataError(str(error)) from error
    except ValueError as error:
        raise DataError(str(error)) from error
    if len(matrix) < min_rows:
        name = type(estimator).__name__
        raise DataError(f"{name} needs at least {min_rows} rows; found {counted_rows(len(matrix))}.")
    check_finite(matrix)
    return matrix


def counted_rows(n: int) -> str:
    """Say how many rows there are; scikit-learn's checks of estimators look for "1 sample"."""
    return "1 sample" if n == 1 else f"{n:,} rows"


def too_many_clusters(n: int, k: int) -> DataError:
    """Return the error that says that k clusters can't be made of n rows."""
    return DataError(f"{counted_rows(n)} can't make {k:,} clusters. Ask for at most {n:,}.")


@contextmanager
def checked_rows() -> Iterator[None]:
    """Take every row for finite: they were checked where they were read.

    As ``assume_finite`` of scikit-learn: fits, choices and predictions on folds of one file would each look
    through the same rows again. It holds for this thread alone.
    """
    token = _CHECKED.set(True)
    try:
        yield
    finally:
        _CHECKED.reset(token)


def are_checked() -> bool:
    """Whether the rows at hand were checked where they were read."""
    return _CHECKED.get()


def features(x: NDArray[Any]) -> NDArray[np.float32]:
    """Return (n, d) features as float32, finite.

    Raises
    ------
    DataError
        Another shape, NaN or infinity.
    """
    x = np.asarray(x, dtype=np.float32)
    if x.ndim != 2 or not x.shape[1]:
        raise DataError(f"features of shape {x.shape}; (n, d) is expected.")
    check_finite(x)
    return x


def check_finite(x: NDArray[Any], *, first_row: int = 0) -> None:
    """Raise a `DataError` that counts the rows of `x` (n, d) with NaN or infinite values, if any."""
    if are_checked():
        return
    n_bad, first = 0, -1
    for start in range(0, len(x), BLOCK):
        bad = ~np.isfinite(x[start : start + BLOCK]).all(axis=1)
        if bad.any():
            if first < 0:
                first = first_row + start + int(np.argmax(bad))
            n_bad += int(bad.sum())
    if n_bad:
        raise DataError(
            f"{n_bad} of {len(x)} rows hold NaN or infinity, the first of them row {first}. Leave them out, "
            "or extract again with --precision fp32 if float16 overflowed."
        )
