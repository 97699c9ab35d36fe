"""Normal numbers that any processor draws alike: hashes of key and place choose them from a table."""

from __future__ import annotations

import functools
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# What is recorded of random views; those of files without it had other noise.
KIND = "hashed"
# lowbias32 (Wellons 2018): multipliers and shifts of a hash of 32 bits.
FACTORS, SHIFTS = (0x7FEB352D, 0x846CA68B), (16, 15, 16)
F32 = NDArray[np.float32]


@functools.cache
def normal_table() -> F32:
    """Return (65536,) normal numbers: the quantiles in the middle of as many equal steps."""
    quantile = NormalDist().inv_cdf
    upper = np.array([quantile((i + 0.5) / 65536) for i in range(32768, 65536)], np.float32)
    return np.concatenate([-upper[::-1], upper])


def normal(key: NDArray[np.int32], n: int) -> F32:
    """Return (n,) normal numbers of a key (2,)."""
    first, second = key.view(np.uint32)
    words = np.arange((n + 1) // 2, dtype=np.uint32)
    words += first
    _mix(words)
    words ^= second
    _mix(words)
    # Either half of a word chooses one number, the lower first on any machine.
    return normal_table().take(words.astype("<u4", copy=False).view("<u2")[:n])


def _mix(words: NDArray[np.uint32]) -> None:
    """Hash words in place."""
    shifted = np.empty_like(words)
    for shift, factor in zip(SHIFTS, (*FACTORS, None), strict=True):
        np.right_shift(words, shift, out=shifted)
        words ^= shifted
        if factor is not None:
            words *= np.uint32(factor)
