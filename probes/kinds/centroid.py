"""Nearest class mean: the least that labels can be used for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.preparing.matrix import features
from embedkit.scoring.probabilities import softmax
from probes.kinds.interface import Classifier, State, Validation, one_of
from probes.kinds.selection import check_varies, check_width, choose, class_index
from probes.neighbours.search import normalise

METRICS = ("cosine", "euclidean")
TEMPERATURE = 0.07


class NearestCentroidProbe(Classifier):
    """Classify by the nearest class mean; the metric is chosen on validation rows.

    Parameters
    ----------
    metric
        ``cosine`` (rows and means scaled to length 1), ``euclidean``, or both to choose from; ties go to the
        first.
    select
        What the validation rows choose by.
    refit
        Take the means of training and validation rows together once the metric is chosen.

    Attributes
    ----------
    classes_ : (c,) array
        Sorted class labels.
    centroids_ : (c, d) float64
        Class means, of length 1 for cosine.
    metric_ : str
        The metric that was chosen.
    scale_ : float
        Probabilities are a softmax of cosine similarity over 0.07, or of minus the squared distance over
        twice the rows' mean squared distance from their class mean in one dimension (Gaussian classes of one
        spherical covariance).
    """

    def __init__(
        self, *, metric: str | Sequence[str] = METRICS, select: str = "accuracy", refit: bool = False
    ) -> None:
        self.metric = metric
        self.select = select
        self.refit = refit

    def fit(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        *,
        validation: Validation | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> NearestCentroidProbe:
        """Average the (n, d) features of each class; choose the metric on `validation`."""
        metrics = (self.metric,) if isinstance(self.metric, str) else tuple(dict.fromkeys(self.metric))
        for metric in metrics:
            one_of(metric, METRICS, "--metric")
        x = features(x)
        check_varies(x)
        self.validation_scores_: dict[str, float] = {}
        self.validation_output_: NDArray[np.float64] | None = None
        best = 0
        if validation is not None:
            given = {}
            for metric in metrics:
                self._average(x, y, metric)
                given[metric] = self.predict_proba(validation[0])
            best, scores = choose(given, validation, self.classes_, self.select)
            self.validation_scores_ = dict(zip(metrics, scores, strict=True)) if len(metrics) > 1 else {}
            self.validation_output_ = given[metrics[best]]
        elif len(metrics) > 1:
            raise DataError("two metrics and no validation rows to choose by. Give metric='cosine'.")
        if self.refit and validation is not None:
            x = np.concatenate([x, features(validation[0])])
            y = np.concatenate([np.asarray(y), np.asarray(validation[1])])
        self._average(x, y, metrics[best])
        self.chosen_, self.backend_ = {"metric": self.metric_}, "numpy-cpu"
        self.notes_: list[str] = []
        self.details_ = {"scale": self.scale_}
        advance()
        return self

    def predict_proba(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, c) probabilities."""
        x = features(x)
        check_width(x, self.centroids_.shape[1])
        rows = (normalise(x) if self.metric_ == "cosine" else x).astype(np.float64)
        z = rows @ self.centroids_.T
        if self.metric_ == "euclidean":
            z -= 0.5 * (self.centroids_**2).sum(axis=1)  # the row's own length is the same for every class
        z /= self.scale_
        return softmax(z)

    def state(self) -> State:
        """Return everything that `predict` needs, as plain arrays."""
        return {
            "classes": self.classes_,
            "centroids": self.centroids_,
            "scale": np.array(self.scale_),
            "metric": np.array(METRICS.index(self.metric_)),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make a fitted probe of what `state` gave."""
        probe = cls()
        probe.classes_, probe.centroids_ = state["classes"], state["centroids"]
        probe.scale_, probe.metric_ = float(state["scale"]), METRICS[int(state["metric"])]
        return probe

    def _average(self, x: NDArray[np.float32], y: NDArray[Any], metric: str) -> None:
        self.classes_, label = class_index(y, len(x))
        rows = (normalise(x) if metric == "cosine" else x).astype(np.float64)
        sums = np.zeros((len(self.classes_), x.shape[1]))
        np.add.at(sums, label, rows)
        means = sums / np.bincount(label)[:, None]
        self.metric_ = metric
        if metric == "cosine":
            self.centroids_ = normalise(means).astype(np.float64)
            self.scale_ = TEMPERATURE
        else:
            self.centroids_ = means
            within = float(((rows - means[label]) ** 2).mean())
            # With one row a class there is no spread within: then the spread between the means.
            self.scale_ = within if within > 0 else float(means.var(axis=0).mean())
