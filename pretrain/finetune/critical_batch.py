"""The critical batch size, measured: how many more images larger batches take to the same loss.

With batches of b images a loss is reached after E images in S = E / b steps, and
(S / S_min - 1)(E / E_min - 1) = 1 [1]_, so E = E_min + S_min b. The critical size is E_min / S_min, where
images and steps are both twice their least.

References
----------
.. [1] McCandlish et al. 2018, An Empirical Model of Large-Batch Training, arXiv:1812.06162.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrain.finetune.curve import Curve


@dataclass(frozen=True)
class AtSize:
    """The branch of a size that came to the loss first.

    Parameters
    ----------
    size
        Images a batch.
    factor
        Its rates over those of the recipe.
    images
        That it took.
    """

    size: int
    factor: float
    images: float

    @property
    def steps(self) -> float:
        """Updates that it took."""
        return self.images / self.size


@dataclass(frozen=True)
class CriticalBatch:
    """What branches say.

    Parameters
    ----------
    target
        The validation loss that all sizes come to; NaN where one never came below that of the start.
    each
        Of each size, smallest first; empty without a target.
    e_min, s_min
        Least images and least steps, of the fit.
    predicted
        The gradient noise scale of a branch; None where it was not measured.
    """

    target: float
    each: tuple[AtSize, ...]
    e_min: float
    s_min: float
    predicted: float | None

    @property
    def value(self) -> float:
        """The critical size in images; infinite where larger batches took no more images."""
        if not self.each:
            return float("nan")
        return self.e_min / self.s_min if self.s_min > 0 else float("inf")

    def record(self) -> dict[str, Any]:
        """Return it for a result; what is not finite is None."""
        numbers = {
            "critical_batch": self.value,
            "noise_scale": self.predicted,
            "target_loss": self.target,
            "e_min": self.e_min,
            "s_min": self.s_min,
        }
        each = [
            {"size": one.size, "factor": one.factor, "images": one.images, "steps": one.steps}
            for one in self.each
        ]
        finite = {k: v if v is not None and np.isfinite(v) else None for k, v in numbers.items()}
        return {**finite, "each": each}

    def sentence(self) -> str:
        """Say it, and what the noise scale predicts."""
        if not self.each:
            return (
                "Critical batch size: not measured, since a branch of one of the sizes never came below the "
                "loss of its start."
            )
        sizes = [one.size for one in self.each]
        if self.value < sizes[0]:
            much = f"below {sizes[0]:,} images, the smallest of the sizes (the line gives {self.value:,.3g})"
        elif self.value > sizes[-1]:
            line = "" if self.value == float("inf") else f" (the line gives {self.value:,.3g})"
            much = f"above {sizes[-1]:,} images, the largest of the sizes{line}"
        else:
            much = f"{self.value:,.3g} images"
        took = ", ".join(f"{one.images:,.0f} images at {one.size:,}" for one in self.each)
        said = f"Critical batch size {much}: to a validation loss of {self.target:.4g} branches took {took}. "
        if self.predicted is None:
            return said + "The gradient noise scale was not measured."
        if not np.isfinite(self.predicted):
            return said + "The gradient noise scale is hidden by the noise."
        return said + f"The gradient noise scale predicts {self.predicted:,.3g}."


def measured(branches: Mapping[tuple[int, float], Curve], *, predicted: float | None) -> CriticalBatch:
    """Return what branches from the same weights say.

    Parameters
    ----------
    branches
        Batch size and factor of the rates -> validation loss against images seen.
    predicted
        The gradient noise scale.

    Notes
    -----
    The loss is the lowest that all sizes reach, each at the best of its rates. The line through images
    against size has the least sum of squared relative differences, with no part below 0.
    """
    sizes = sorted({size for size, _ in branches})
    of_size = {size: {f: curve for (b, f), curve in branches.items() if b == size} for size in sizes}
    target = max(min(curve.loss[-1] for curve in curves.values()) for curves in of_size.values())
    start = next(iter(branches.values())).loss[0]
    if not target < start:
        return CriticalBatch(float("nan"), (), float("nan"), float("nan"), predicted)
    each = []
    for size, curves in of_size.items():
        took = {factor: curve.reached(target, curve.images) for factor, curve in curves.items()}
        factor = min(took, key=lambda one: (took[one], one))
        each.append(AtSize(size, factor, took[factor]))
    e_min, s_min = fit(sizes, [one.images for one in each])
    return CriticalBatch(float(target), tuple(each), e_min, s_min, predicted)


def fit(sizes: Sequence[int], images: Sequence[float]) -> tuple[float, float]:
    """Return E_min and S_min of the line E = E_min + S_min b, neither below 0.

    Parameters
    ----------
    sizes, images
        Of each branch: images a batch, and images to the loss.
    """
    from scipy.optimize import nnls

    b, e = np.asarray(sizes, np.float64), np.asarray(images, np.float64)
    found, _ = nnls(np.stack([1 / e, b / e], axis=1), np.ones(len(e)))
    return float(found[0]), float(found[1])


def factors(size: int, reference: int, *, power: float) -> tuple[float, ...]:
    """Return by what the rates of a branch are multiplied, where the recipe's are for `reference` images.

    The best rate lies between the recipe's own, where noise matters little, and (size / reference) ^ power
    times it, where it prevails (`noise_scale.compensation`): these two, and their geometric mean.
    """
    most = (size / reference) ** power
    return tuple(sorted({1.0, most**0.5, most}))
