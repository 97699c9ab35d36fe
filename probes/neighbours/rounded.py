"""Rows rounded for fast products, with a bound on what that costs a similarity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Rounded:
    """Rows x of length 0 or 1, such that ``left @ right.T`` is their similarity less a constant, roughly.

    Notes
    -----
    With a centre m, ``x.y = |m|^2 + xc.yc + xc.m + yc.m`` for the centred xc and yc. They are rounded; the
    last two terms stand beside them in three parts each, which lose nothing. So rows that all point nearly
    the same way, as features of one kind of image do, are told apart as well as others.
    """

    left: torch.Tensor  # (n, d + 6 and some zeros)
    right: torch.Tensor
    lost: F32  # (n,) norm of what rounding took away
    norm: F32  # (n,) of the centred rows
    bias: F32  # (n,) |xc.m|

    @classmethod
    def of(cls, x: F32, centre: F32, precision: torch.dtype) -> Rounded:
        """Round `x` (n, d) around `centre` (d,) to ``bfloat16`` or ``float32``."""
        n, d = x.shape
        width = -(-(d + 6) // 32) * 32  # products of other widths are slower
        left, right = (torch.zeros((n, width), dtype=precision) for _ in range(2))
        left[:, d : d + 3] = right[:, d + 3 : d + 6] = 1
        lost, norm, bias = (np.empty(n, np.float32) for _ in range(3))
        for start in range(0, n, 1024):
            some = slice(start, start + 1024)
            centred = x[some] - centre
            rounded = torch.from_numpy(centred).to(precision)
            left[some, :d] = right[some, :d] = rounded
            norm[some] = np.linalg.norm(centred, axis=1)
            # The last term is the subtraction's own rounding.
            lost[some] = np.linalg.norm(centred - rounded.float().numpy(), axis=1) + 2.0**-23 * norm[some]
            rest = torch.from_numpy(centred.astype(np.float64) @ centre)
            bias[some] = rest.abs().float().numpy()
            for part in range(3):
                left[some, d + 3 + part] = right[some, d + part] = rest.to(precision)
                rest = rest - rest.to(precision).double()
        return cls(left, right, lost, norm, bias)

    @property
    def unit(self) -> float:
        """Relative error of a product that is rounded to the precision, and of another one."""
        return 1.01 * float(torch.finfo(self.left.dtype).eps)

    def margin(self, other: Rounded) -> F32:
        """Return (n,) twice the largest error of a row's products with the other rows.

        Cauchy and Schwarz bound what the lost parts can add up to; the sum's own error is at most width x u
        times that of its terms, whatever their order [1]_. Rounding the sum to the precision is left out: it
        keeps the order.

        References
        ----------
        .. [1] N. J. Higham 2002, Accuracy and stability of numerical algorithms, section 3.1.
        """
        lost, norm, bias = (float(a.max()) for a in (other.lost, other.norm, other.bias))
        rounding = self.lost * (norm + lost) + self.norm * lost
        terms = (self.norm + self.lost) * (norm + lost) + self.bias + bias
        # Sums are of float32: products of two bf16 are exact in it. Doubled, for the roundings above.
        error = rounding + 2 * 2.0**-24 * self.left.shape[1] * terms
        return np.asarray(2.001 * error + 1e-30, np.float32)

    def limit(self, kth: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
        """Return the product that a neighbour's must reach where the k-th largest is `kth`."""
        return kth - self.unit * kth.abs() - margin
