"""The merger fraction of images without votes, with its errors, and what others found near z = 0."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.files.results import Metric
from embedkit.scoring.class_scores import wilson
from embedkit.scoring.metrics import Z95

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Published:
    """A value of the literature, with the unit that it is in."""

    source: str
    what: str
    value: str
    unit: str


FRACTION = "fraction of galaxies"
RATE = "fraction of galaxies per Gyr"
VOLUME_RATE = "mergers per volume and time"
# As the abstracts of the published papers have them. That of De Propris et al. on arXiv (1407.4996) lacks the
# "per Gyr" of the published one: units are where such comparisons go wrong.
LITERATURE = (
    Published(
        "Darg et al. 2010, MNRAS 401, 1043",
        "major mergers by Galaxy Zoo votes, 0.005 < z < 0.1, M_r < -20.55; C of about 1.5 for pairs without "
        "two spectra",
        "1 to 3 % × C",
        FRACTION,
    ),
    Published(
        "Casteels et al. 2014, MNRAS 445, 1157",
        "major mergers by asymmetry in GAMA, stellar masses of 10^9.5 to 10^11.5 of the Sun",
        "1.3 to 2 %",
        FRACTION,
    ),
    Published(
        "Robotham et al. 2014, MNRAS 444, 3986",
        "major close pairs in GAMA and others, their fit at z = 0; not all of them merge",
        "2.1 ± 0.1 %",
        FRACTION,
    ),
    Published(
        "De Propris et al. 2014, MNRAS 444, 2200",
        "close pairs in GAMA, 0.01 < z < 0.22, half of which are taken to merge",
        "about 1.5 % per Gyr",
        RATE,
    ),
    Published(
        "De Propris et al. 2014, MNRAS 444, 2200",
        "the same pairs, with a Hubble constant of 100 km/s/Mpc",
        "about 3.5 × 10⁻⁴ per Mpc³ and Gyr",
        VOLUME_RATE,
    ),
    Published(
        "Casteels et al. 2014, MNRAS 445, 1157",
        "major mergers, stellar masses of 10^8 to 10^11.5 of the Sun",
        "(1.2 ± 0.5) × 10⁻³ h₇₀³ per Mpc³ and Gyr",
        VOLUME_RATE,
    ),
)


@dataclass(frozen=True)
class Confusion:
    """How often a yes or no is right, on rows where it is known.

    Parameters
    ----------
    n_yes, n_no
        Rows that are, and that are not.
    found_yes, found_no
        Of these, rows that were taken for what they are.
    """

    n_yes: int
    n_no: int
    found_yes: int
    found_no: int

    @property
    def sensitivity(self) -> float:
        """Share of the yes that is found."""
        return self.found_yes / self.n_yes if self.n_yes else np.nan

    @property
    def specificity(self) -> float:
        """Share of the no that is left alone."""
        return self.found_no / self.n_no if self.n_no else np.nan


@dataclass(frozen=True)
class MergerFraction:
    """The merger fraction of n images.

    Parameters
    ----------
    n
        Images.
    share
        Of votes, from which a galaxy is counted.
    counted
        Fraction counted, with Wilson's interval: the statistical error alone.
    mean_share
        Mean predicted share of votes for a merger, with an interval; it needs no threshold.
    confusion
        Of the model on rows with votes.
    corrected
        The fraction after the confusion, its interval with the errors of all three numbers; without a value
        where the model can't tell mergers on the rows with votes.
    """

    n: int
    share: float
    counted: Metric
    mean_share: Metric
    confusion: Confusion
    corrected: Metric


def merger_fraction(true: F64, seen: F64, predicted: F64, *, share: float) -> MergerFraction:
    """Count mergers, and correct the count by what is known of the model.

    Parameters
    ----------
    true, seen : (m,)
        Share of votes for a merger on rows with votes: voted, and predicted.
    predicted : (n,)
        The same on rows without votes.
    share
        From which a galaxy is counted as a merger.
    """
    # Shares may be float32: what a table writes as the threshold must reach it.
    is_merger, is_seen, is_found = (values >= share - 1e-6 for values in (true, seen, predicted))
    confusion = Confusion(
        int(is_merger.sum()),
        int((~is_merger).sum()),
        int((is_merger & is_seen).sum()),
        int((~is_merger & ~is_seen).sum()),
    )
    n = len(predicted)
    counted = wilson(float(is_found.mean()), n)
    mean = float(predicted.mean())
    half = Z95 * float(predicted.std(ddof=1)) / np.sqrt(n) if n > 1 else np.nan
    return MergerFraction(
        n,
        share,
        counted,
        Metric(mean, *((mean - half, mean + half) if np.isfinite(half) else (None, None))),
        confusion,
        rogan_gladen(float(is_found.mean()), n, confusion),
    )


def rogan_gladen(fraction: float, n: int, confusion: Confusion) -> Metric:
    """Correct a counted fraction by sensitivity Se and specificity Sp [1]_.

    p = (q + Sp - 1) / (Se + Sp - 1), cut to 0 to 1. Its variance carries those of all three, by the first
    order: [q (1 - q) / n + p^2 Se (1 - Se) / n_yes + (1 - p)^2 Sp (1 - Sp) / n_no] / (Se + Sp - 1)^2. In the
    variances each share is that with one more right and one more wrong, as in [2]_: 20 of 20 found does not
    mean that none is ever missed.

    Returns
    -------
    Metric
        Without a value where it finds as many mergers among the others as among mergers, or there are none.

    References
    ----------
    .. [1] Rogan & Gladen 1978, American Journal of Epidemiology 107, 71.
    .. [2] Lang & Reiczigel 2014, Preventive Veterinary Medicine 113, 13.
    """
    if not confusion.n_yes or not confusion.n_no:
        return Metric(None, note="no merger, or nothing else, among the images with votes")
    se, sp = confusion.sensitivity, confusion.specificity
    gain = se + sp - 1
    if gain <= 0:
        return Metric(None, note="it finds mergers no better than by chance")
    p = (fraction + sp - 1) / gain
    variance = (
        _variance(fraction * n, n)
        + p**2 * _variance(confusion.found_yes, confusion.n_yes)
        + (1 - p) ** 2 * _variance(confusion.found_no, confusion.n_no)
    )
    half = Z95 * math.sqrt(variance) / gain
    value, low, high = (float(np.clip(one, 0, 1)) for one in (p, p - half, p + half))
    note = None if 0 <= p <= 1 else f"cut to 0 to 1; before, {p:.3f}"
    return Metric(value, low, high, note)


def _variance(right: float, n: int) -> float:
    share = (right + 1) / (n + 2)
    return share * (1 - share) / n
