"""What a clustering of one feature file gives: the result, the clusters, and what a reader must know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files import showing
from embedkit.files.results import Result, metric_cells

if TYPE_CHECKING:
    from clustering.checks.findings import Diagnosis
    from clustering.choose import KChoice
    from clustering.choose_hdbscan import DensityChoice
    from clustering.methods import Assigned
    from clustering.scores import LabelledScores
    from embedkit.preparing.joint import JointPrepared
    from embedkit.preparing.preparation import Prepared


@dataclass(frozen=True, repr=False)
class ClusterRun(showing.Shown):
    """One clustering of one feature file.

    Parameters
    ----------
    result
        The line of results.jsonl.
    index : (n,) int64
        Row in the feature file of each clustered row.
    clusters
        What the method found.
    scores
        Against the labels; None where the file has none.
    notes
        What was chosen or left out, in words.
    prepared
        The fitted preparation.
    diagnosis
        Why it scores as it does, if that was asked.
    k_choice
        How the number of clusters was chosen, if that was asked.
    memberships : (n, k) float64, optional
        How much each row belongs to each cluster, if that was asked.
    assignments_path, model_path
        The table of assignments and the fitted model, if they were written.
    """

    result: Result
    index: NDArray[np.int64]
    clusters: Assigned
    scores: LabelledScores | None
    notes: tuple[str, ...]
    prepared: Prepared | JointPrepared
    diagnosis: Diagnosis | None = None
    k_choice: KChoice | None = None
    memberships: NDArray[np.float64] | None = None
    assignments_path: Path | None = None
    model_path: Path | None = None

    @property
    def results(self) -> tuple[Result, ...]:
        """The line of results.jsonl."""
        return (self.result,)

    @property
    def density_choice(self) -> DensityChoice | None:
        """How HDBSCAN's sizes were chosen, if that was asked."""
        return getattr(self.clusters, "choice", None)

    def to_pandas(self) -> Any:
        """Return the metrics as a pandas DataFrame, a row each."""
        return self.result.to_pandas()

    def _shown(self) -> showing.Parts:
        result = self.result
        title = (
            f"{result.method} of {result.features} on {result.dataset}: {len(self.clusters.sizes)} clusters"
        )
        title += f" of {len(self.index):,} rows"
        return title, metric_cells(result.metrics), self.notes
