"""Whether a group is of two kinds of images, told without labels."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from clustering.scores import F64

# Fewer rows tell nothing, of more a sample is looked at.
LEAST, MOST = 30, 2000
# Ashman's D above which two normal distributions are apart.
APART = 2.0
# Fewer of the rows than that are odd images, no kind of their own.
SHARE = 0.1


def separation(x: NDArray[Any], *, seed: int = 0) -> float:
    """Return how far apart the two kinds are that a group may be of: Ashman's D, above 2 where it is mixed.

    Two means are found among one half of the rows, and the *other* half is projected on the line between
    them; the same with the halves exchanged. A line chosen for its own rows would show two kinds in any cloud
    of many dimensions. Where the rows fall on their line, at mean 0 and variance 1 of each half, is fitted by
    one normal distribution and by two. D [1]_ is the distance of the two means over the root of their mean
    variance. It is 0 where one distribution has the better BIC, where one of the two has under a tenth of the
    rows, or where their sum has a single peak, as a skew group's has; and NaN of fewer than 30 rows, which
    tell nothing.

    Parameters
    ----------
    x : (n, d)
        Rows of the group, prepared.
    seed
        Of the halves and of where the fits start.

    References
    ----------
    .. [1] K. M. Ashman, C. M. Bird, S. E. Zepf, Astronomical Journal 108 (1994) 2348.
    """
    if len(x) < LEAST:
        return math.nan
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))[:MOST]
    halves = x[order[::2]].astype(np.float64), x[order[1::2]].astype(np.float64)
    places = _places(halves, seed)
    if places is None:
        return 0.0
    one, two = (_fitted(places, components, seed) for components in (1, 2))
    if one.bic(places) <= two.bic(places) or two.weights_.min() < SHARE or not _two_peaks(two):
        return 0.0
    means, variances = two.means_.ravel(), two.covariances_.ravel()
    return float(abs(means[0] - means[1]) / np.sqrt(variances.mean()))


def _two_peaks(two: Any) -> bool:
    """Whether the density of two components has a valley between their means."""
    density = two.score_samples(np.linspace(two.means_.min(), two.means_.max(), 200)[:, np.newaxis])
    falls, rises = np.diff(density) < 0, np.diff(density) > 0
    return bool(falls.any() and rises[np.argmax(falls) :].any())


def _places(halves: tuple[F64, F64], seed: int) -> F64 | None:
    """Return where each row lies (n, 1) on the line between the two means of the other half.

    Of each half at mean 0 and variance 1: one odd image can turn and stretch the line of one half alone.
    """
    places: list[F64] = []
    lines: list[F64] = []
    for own, other in (halves, halves[::-1]):
        if not (np.ptp(other, axis=0) > 0).any():
            return None
        a, b = KMeans(2, n_init=5, random_state=seed).fit(other).cluster_centers_
        line = b - a
        lines.append(line if not lines or line @ lines[0] >= 0 else -line)
        place = own @ lines[-1]
        deviation = place.std()
        if not deviation > 1e-9 * np.abs(place).max():
            return None
        places.append((place - place.mean()) / deviation)
    return np.concatenate(places)[:, np.newaxis]


def _fitted(places: F64, components: int, seed: int) -> Any:
    # A floor of variance, so that a few equal rows are no component of infinite density.
    model = GaussianMixture(components, reg_covar=1e-3, n_init=3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(places)
