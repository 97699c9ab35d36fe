"""Cosine of rows that were centred: when it is little more than a sign, and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.preparing.steps import Preparation

# Rows that are looked at, and the share of their variance from which one direction decides a cosine.
N_ROWS = 2000
DOMINANT = 0.5


def leading_share(x: NDArray[Any]) -> float:
    """Return the share of the variance of rows (n, d) that their first principal direction holds."""
    rows = np.asarray(x[:: max(1, -(-len(x) // N_ROWS))], dtype=np.float64)
    if len(rows) < 2:
        return 0.0
    squares = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2
    total = float(squares.sum())
    return float(squares[0]) / total if total > 0 else 0.0


def cosine_remark(preparation: Preparation, x: NDArray[Any], what: str) -> str | None:
    """Say that a cosine of centred rows is little more than a sign, where it is; else None.

    Parameters
    ----------
    preparation
        What was done to the rows.
    x : (n, d)
        Rows as they were before anything scaled them to length 1.
    what
        Who takes the cosine, such as ``kNN compares by cosine``.
    """
    if not preparation.centres or (share := leading_share(x)) < DOMINANT:
        return None
    return (
        f"{what}, and --prep {preparation.name} centres the rows: one direction holds {100 * share:.0f} % of "
        "their variance, so that the cosine is little more than a sign. --prep none or l2 compares the "
        "features' own directions."
    )
