"""What a clustering leaves on the disk: assignments, tree, model, and the result that names them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from clustering.density.condensed import CondensedTree, condensed_tree
from clustering.density.hdbscan import HDBSCAN
from clustering.methods import Assigned, Clusters
from clustering.model_file import SavedModel
from clustering.model_file import save_model as write_model
from clustering.options import ClusterOptions
from clustering.report import ClusterRun
from embedkit.files.group_tables import TREE
from embedkit.files.identity import identity
from embedkit.files.lengths import named_after
from embedkit.files.regular import resolved
from embedkit.files.results import RESULTS_FILE, append_result
from embedkit.files.selected_file import rows_and_options
from embedkit.files.store import FeatureFile
from embedkit.files.tables import ASSIGNMENTS, write_table


def write_run(
    file: FeatureFile,
    run: ClusterRun,
    options: ClusterOptions,
    output: str | os.PathLike[str] | None,
    save_model: str | os.PathLike[str] | None,
) -> ClusterRun:
    """Write the model and the assignments, then the result that names them."""
    # A name for each combination of features and settings: another k never overwrites what a line refers to.
    told = [file.sha256, run.result.params, *rows_and_options(file, options)]
    settings = json.dumps(told, sort_keys=True, default=str)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    tail = f"cluster-{options.method}-seed{options.seed}-{digest}"
    stem = named_after(file.path, f"{tail}.model.h5").removesuffix(".model.h5")
    target = Path(save_model or output or ".")
    if save_model is None or target.is_dir() or str(save_model).endswith("/"):
        target = target / f"{stem}.model.h5"
    matching = run.result.outcomes.get("matching", {})
    clusters = cast("Clusters", run.clusters)
    saved = SavedModel(
        method=options.method,
        model=clusters.model,
        prepared=run.prepared,
        settings=clusters.settings,
        classes={int(cluster): name for cluster, name in matching.items()},
        fitted_on=identity(file),
        seed=options.seed,
    )
    if output is None:
        write_model(target, saved)
        return replace(run, model_path=target)
    output = Path(output)
    path = output / f"{stem}.csv"
    estimator = clusters.model.estimator
    tree = condensed_tree(estimator) if isinstance(estimator, HDBSCAN) else None
    ids = file.rows.ids[run.index]
    write_assignments(path, ids, clusters, memberships=run.memberships, tree=tree)
    beside = {"assignments": path.name}
    if tree is not None:
        beside["tree"] = write_tree(output / f"{stem}-tree.csv", tree).name
    write_model(target, saved)
    # A model elsewhere is named by its whole path, one beside the assignments as they are.
    model = target.name if target.parent == output else str(resolved(target))
    result = replace(run.result, provenance={**run.result.provenance, **beside, "model": model})
    result = append_result(output / RESULTS_FILE, result)
    return replace(run, result=result, assignments_path=path, model_path=target)


def write_assignments(
    path: Path,
    ids: NDArray[np.str_],
    clusters: Assigned,
    classes: Mapping[int, str] | None = None,
    *,
    memberships: NDArray[np.float64] | None = None,
    tree: CondensedTree | None = None,
) -> None:
    """Write the table of `ASSIGNMENTS`, whole or not at all; with `classes` what each cluster stands for."""
    columns: dict[str, Any] = {"id": ids, "cluster": clusters.labels, "distance": clusters.distance}
    if clusters.probability is not None:
        columns["probability"] = clusters.probability
    if classes:
        columns["class"] = [classes.get(int(cluster), "") for cluster in clusters.labels]
    if tree is not None:
        columns |= {"node": tree.node, "density": tree.density}
    if memberships is not None:
        columns |= {f"membership:{cluster}": column for cluster, column in enumerate(memberships.T)}
    write_table(path, ASSIGNMENTS, columns)


def write_tree(path: Path, tree: CondensedTree) -> Path:
    """Write the table of `TREE`, whole or not at all."""
    names = ("parent", "birth", "death", "stability", "cluster")
    columns = {name: getattr(tree, name) for name in names}
    columns |= {"node": np.arange(len(tree.parent)), "rows": tree.size}
    return write_table(path, TREE, columns)
