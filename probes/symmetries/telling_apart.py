"""Can a linear probe tell two halves of a set of images apart that differ by a transformation?"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from embedkit.files.results import Metric
from embedkit.scoring.class_scores import roc_auc
from embedkit.scoring.splits import folds
from probes.kinds.linear import LinearProbe
from probes.kinds.logistic import ConvergenceWarning

FOLDS = 5
# Decades; the area under the curve hardly knows finer steps apart.
C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


def halves(n: int, count: int, *, seed: int) -> NDArray[np.bool_]:
    """Draw which half (n, count) of the images each of `count` transformations is done to."""
    draws = [np.random.default_rng([seed, column]).permutation(n) for column in range(count)]
    return np.column_stack(draws) < n // 2


def told_apart(x: NDArray[np.float32], transformed: NDArray[np.bool_], *, seed: int) -> Metric:
    """Return how well a linear probe tells rows apart that it was not fitted on.

    Parameters
    ----------
    x : (n, d)
        Features, a row an image, so that no image is on both sides of a fold.
    transformed : (n,)
        Which half an image is in.
    seed
        Of the folds.

    Returns
    -------
    Metric
        Area under the ROC curve, the mean over five folds, with DeLong's interval: about the rows, given the
        fitted probes. Of halves with nothing to tell, it covers 0.5 in some 88 of 100.
    """
    y = transformed.astype(np.int64)
    scores = np.zeros((len(y), 2))
    parts = folds(y, FOLDS, seed=seed)
    for part in parts:
        probe = LinearProbe(c_grid=C_GRID, select="log_loss", refit=True)
        with warnings.catch_warnings():
            # Halves that are far apart leave the smallest penalty without a settled fit, and its order with.
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(x[part.train], y[part.train], validation=(x[part.validation], y[part.validation]))
        scores[part.test] = probe.predict_proba(x[part.test])
    masks = [np.isin(np.arange(len(y)), part.test) for part in parts]
    return roc_auc(y, scores, folds=masks)
