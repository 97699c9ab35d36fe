"""Mean 0 and variance 1 on the training rows; constant features are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probes.kinds.selection import check_varies, check_width


@dataclass(frozen=True)
class Standardiser:
    """A shift and a scale for each feature.

    Parameters
    ----------
    mean : (d,) float64
        Subtracted.
    scale : (d,) float64
        Divided by; 0 marks a feature that is left out.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, x: NDArray[np.float32], *, scaled: bool = True) -> Standardiser:
        """Learn it from (n, d) training rows; without `scaled`, only constant features are left out.

        Raises
        ------
        DataError
            Every feature is constant.
        """
        mean, scale = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
        # Rounding leaves some spread in a constant feature; scaled up, it would be noise. Below 1e-30 float32
        # can't scale it up.
        constant = scale <= np.maximum(1e-6 * np.abs(mean), 1e-30)
        if constant.all():
            check_varies(x[:1])
        if not scaled:
            return cls(np.zeros_like(mean), np.where(constant, 0.0, 1.0))
        return cls(mean, np.where(constant, 0.0, scale))

    @property
    def n_constant(self) -> int:
        """Number of features that are left out."""
        return int((self.scale == 0).sum())

    @property
    def notes(self) -> list[str]:
        """What a reader must know of it."""
        if not self.n_constant:
            return []
        return [f"Left out {self.n_constant:,} features that are constant on the training rows."]

    def apply(self, x: NDArray[np.float32], dtype: Any = np.float32) -> NDArray[Any]:
        """Standardise (n, d) rows.

        Raises
        ------
        DataError
            Another d.
        """
        check_width(x, len(self.mean))
        factor = np.divide(1.0, self.scale, out=np.zeros_like(self.scale), where=self.scale > 0)
        return np.asarray((x - self.mean.astype(dtype)) * factor.astype(dtype))
