"""What one call of `embedkit cluster` does: one method, all of them, or a saved clustering applied."""

from __future__ import annotations

import os
from collections.abc import Sequence

from clustering import run
from clustering.apply import apply
from clustering.compare import Comparison, compare
from clustering.kmeans.sharing import shared_by
from clustering.options import ALL, ClusterOptions, ClusterPlaces
from clustering.report import ClusterRun
from embedkit.computing.processes import share_work, under_torchrun
from embedkit.console import note
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.guard import guarded
from embedkit.files.joint_file import joined
from embedkit.files.store import FeatureFile
from embedkit.scoring.selected import selected


@guarded()
def cluster(
    features: str | os.PathLike[str] | FeatureFile | Sequence[str | os.PathLike[str] | FeatureFile],
    options: ClusterOptions,
    places: ClusterPlaces,
) -> ClusterRun | Comparison:
    """Cluster a feature file and score the clusters.

    Parameters
    ----------
    features
        A feature file of n rows, or its path; or several of the same images, which are prepared each by
        itself and clustered together. Rows without a label are clustered too and left out of the
        scores against labels; rows whose image could not be read are left out of everything.
    options
        Method and settings; k-means after a PCA that keeps 95 % of the variance by default.
    places
        What is written where, and the saved model that is applied, if any.

    Returns
    -------
    ClusterRun or Comparison
        The latter with ``method="all"``.

    Raises
    ------
    UsageError
        Options that don't go together, or a number of clusters that is needed and not given.
    EmbedkitError
        A file that can't be read, or features that can't be clustered; the message says what to do.
    """
    places.check(options)
    with joined(features, with_labels=options.labels is None) as file:
        return _cluster(file, options, places)


def _cluster(
    features: FeatureFile, options: ClusterOptions, places: ClusterPlaces
) -> ClusterRun | Comparison:
    if places.apply is not None:
        with selected(features, options) as file:
            return apply(places.apply, file, output=places.output, options=options)
    if options.method == ALL and not under_torchrun():
        return compare(features, options, output=places.output, on_run=_say)
    if not under_torchrun():
        return run.cluster(features, options, output=places.output, save_model=places.save_model)
    if options.method != "kmeans":
        raise UsageError(
            f"--method {options.method} is for one process: under torchrun, k-means alone shares its work."
        )
    with share_work(None) as ranks, shared_by(ranks.rank, ranks.world):
        own = places if ranks.leads else ClusterPlaces(output=None)  # the others write nothing
        return run.cluster(features, options, output=own.output, save_model=own.save_model)


def _say(name: str, found: ClusterRun | EmbedkitError) -> None:
    note(f"{name}: {found}" if isinstance(found, EmbedkitError) else f"{name}: {found.result.seconds:.1f} s.")
