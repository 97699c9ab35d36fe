"""How well evidence that needs no labels tracked the labels, where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_mutual_info_score

from clustering.matching import I64

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Tracking:
    """How well evidence without labels tracked the agreement with labels.

    Parameters
    ----------
    scores : (m,) float64
        Adjusted mutual information with the labels at each setting. (Unlike accuracy it does not favour
        as many clusters as classes by construction.)
    correlation
        Spearman's rank correlation of each evidence with it; NaN where one of them is constant.
    cost
        Score of the best setting less that of the one chosen.
    """

    scores: F64
    correlation: Mapping[str, float]
    cost: float

    def record(self) -> dict[str, Any]:
        """Return what a result keeps."""
        return {
            "labelled_ami": self.scores.tolist(),
            "correlation_with_labelled_ami": dict(self.correlation),
            "cost": self.cost,
        }

    def sentence(self, what: str, evidence: str) -> str:
        """Say how well it went: `what` was chosen, mostly by `evidence`."""
        rho = self.correlation[evidence]
        name = evidence.replace("_", " ")
        ranks = "" if np.isnan(rho) else f" The rank correlation of its {name} with that score is {rho:.2f}."
        return (
            f"Against the labels, which chose nothing: the {what} picked scores {self.cost:.3f} less "
            f"(adjusted mutual information) than the best one tried.{ranks}"
        )


def agreement(labels: I64, clusters: I64) -> float:
    """Adjusted mutual information of the rows that have a label; NaN where none has."""
    known = labels >= 0
    return float(adjusted_mutual_info_score(labels[known], clusters[known])) if known.any() else np.nan


def track(
    scores: F64, evidence: Mapping[str, F64], chosen: int, counted: NDArray[np.bool_] | None = None
) -> Tracking:
    """Compare curves of evidence (m,) with the labelled `scores` (m,) of the same settings.

    `chosen` is the place of the setting that was taken; only settings that are `counted` (m,) take part in
    the correlations.
    """

    def correlation(values: F64) -> float:
        own, others = (values, scores) if counted is None else (values[counted], scores[counted])
        if len(own) < 2 or np.ptp(own) <= 0 or not np.ptp(others) > 0:
            return np.nan
        return float(spearmanr(own, others).statistic)

    found = {name: correlation(values) for name, values in evidence.items()}
    return Tracking(scores, found, float(scores.max() - scores[chosen]))
