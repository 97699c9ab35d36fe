"""The gradient noise scale: how many images a batch needs before its gradient is more signal than noise.

Of one image's gradient with mean G and covariance S it is tr(S) / |G|^2 [1]_. A batch of b images has a mean
gradient whose square is |G|^2 + tr(S) / b on average, so two sizes of batch tell the two apart.

References
----------
.. [1] McCandlish et al. 2018, An Empirical Model of Large-Batch Training, arXiv:1812.06162: its
   simple noise scale, the estimate of that from gradients of two batch sizes, and its optimal step size.
.. [2] Malladi et al. 2022, On the SDEs and Scaling Rules for Adaptive Gradient Algorithms, arXiv:2205.10287.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import torch

from embedkit.strict_json import of_shape
from pretrain import ranks

# A measurement weighs e times less after 20 more of them.
DECAY = 0.95
# Steps between two measurements. Always these, also where parts come for free: then several processes, which
# have parts of every batch, measure what one process measures.
EVERY = 4
# Batches that are measured before the first step.
AT_START = 8


@dataclass
class NoiseScale:
    """Running means of |G|^2 and tr(S), each by itself, since the mean of their ratio is another number.

    Parameters
    ----------
    decay
        Of the weight of a measurement, with each further one.
    weight
        Sum of all weights, which the two means are divided by.
    signal, noise
        Weighted sums of estimates of |G|^2 and of tr(S); each estimate is without bias, and may be negative.
    """

    decay: float = DECAY
    weight: float = 0.0
    signal: float = 0.0
    noise: float = 0.0

    def add(self, small: float, large: float, *, n_small: float, n_large: float) -> None:
        """Take in a measurement.

        Parameters
        ----------
        small, large
            Mean square of the gradients of the parts of a batch, and square of that of the whole batch.
        n_small, n_large
            Images in a part, and in the batch.
        """
        signal = (n_large * large - n_small * small) / (n_large - n_small)
        noise = (small - large) / (1 / n_small - 1 / n_large)
        keep = 1 - self.decay
        self.weight = self.decay * self.weight + keep
        self.signal = self.decay * self.signal + keep * signal
        self.noise = self.decay * self.noise + keep * noise

    @property
    def gradient_square(self) -> float:
        """The estimate of |G|^2."""
        return self.signal / self.weight

    @property
    def variance(self) -> float:
        """The estimate of tr(S)."""
        return self.noise / self.weight

    @property
    def value(self) -> float:
        """The scale in images: infinite where the noise hides the gradient, NaN before any measurement."""
        if not self.weight:
            return math.nan
        return max(0.0, self.noise) / self.signal if self.signal > 0 else math.inf

    def state(self) -> dict[str, float]:
        """Return what a checkpoint holds of it."""
        return asdict(self)

    @classmethod
    def of_state(cls, state: object) -> NoiseScale:
        """Return the one that a checkpoint holds; raises `UndeclaredError`."""
        return of_shape(state, cls)


class PartGradients:
    """The squares of the gradients of a batch's parts, seen while they are summed up.

    Parameters
    ----------
    parameters
        Those that train.
    masks
        Pairs of a parameter and of what of its gradient counts, where not all of it does.
    """

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        masks: Iterable[tuple[torch.nn.Parameter, torch.Tensor]] = (),
    ) -> None:
        self.parameters, self.masks = parameters, {id(p): mask for p, mask in masks}
        self._before: list[torch.Tensor] = []
        self._squares: list[torch.Tensor] = []

    def see_part(self) -> None:
        """Take in what one more part has added to the gradients."""
        now = self._gradients()
        added = [a - b for a, b in zip(now, self._before, strict=True)] if self._before else now
        self._squares.append(_square(added))
        self._before = now

    def see_all(self, scale: NoiseScale, size: int) -> None:
        """Add the measurement of a batch of `size` images, whose parts, of all processes, have been seen."""
        n = len(self._squares)
        # Every part's loss was divided by their number in a process, and so was its gradient.
        small = torch.stack(self._squares).mean()[None] * n**2
        ranks.average([small])
        parts = n * ranks.world()
        large = _square(self._gradients())
        self.forget()
        if parts > 1 and bool(torch.isfinite(small + large)):
            scale.add(float(small), float(large), n_small=size / parts, n_large=size)

    def forget(self) -> None:
        """Forget the parts of a batch that will be taken again."""
        self._before, self._squares = [], []

    def _gradients(self) -> list[torch.Tensor]:
        # The product is a copy, which the next part leaves as it is.
        return [
            torch.zeros_like(p) if p.grad is None else p.grad * self.masks.get(id(p), 1)
            for p in self.parameters
        ]


def _square(gradients: Sequence[torch.Tensor]) -> torch.Tensor:
    return torch.stack([g.float().square().sum() for g in gradients]).sum()


def compensation(size: int, reference: int, scale: float, *, power: float) -> float:
    """Return by what a rate that is right for batches of `reference` images is multiplied for others.

    Parameters
    ----------
    size
        Images in the batch.
    scale
        The gradient noise scale; NaN, where nothing is known of it, changes nothing.
    power
        See `POWER`.

    Notes
    -----
    The largest useful rate of a batch of b images is in proportion to 1 / (1 + scale / b) ([1]_, the
    optimal step size), so this is ((1 + scale / reference) / (1 + scale / b)) ^ power: proportional to
    b^power where the scale is far above both sizes, and 1 where it is far below.
    """
    if math.isnan(scale):
        return 1.0
    share = size / reference
    if not math.isinf(scale):
        share *= (reference + scale) / (size + scale)
    return float(share**power)


# Adam divides by the size of the gradient, which is mostly noise in small batches; its rate then grows with
# the square root of the batch [2]_, and [1]_ finds powers from 1/2 to 1.
POWER = {"sgd": 1.0, "adam": 0.5, "adamw": 0.5}
