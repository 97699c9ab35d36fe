"""A saved clustering put to use: new images go to its clusters, nothing is fitted."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clustering.counts import Tables
from clustering.methods import Assigned
from clustering.model_file import FORMAT, SavedModel, load_model
from clustering.options import ClusterOptions
from clustering.output import write_assignments
from clustering.report import ClusterRun
from clustering.resamples import bootstrap_tables
from clustering.run import readable_rows
from clustering.scores import (
    N_BOOTSTRAP,
    N_PERMUTATIONS,
    NO_SOFT,
    internal_scores,
    labelled_scores,
    resampled,
)
from embedkit.errors import DataError, EmbedkitError
from embedkit.files.feature_set import opened
from embedkit.files.identity import check_alike
from embedkit.files.lengths import named_after
from embedkit.files.regular import resolved
from embedkit.files.results import RESULTS_FILE, Metric, Result, append_result, result_provenance
from embedkit.files.store import FeatureFile, file_sha256
from embedkit.scoring.class_scores import roc_auc
from embedkit.scoring.confusions import kept

# Agreement of the partitions, which no matching enters.
UNMATCHED = ("nmi", "ari", "ami", "coverage")


def apply(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str] | FeatureFile,
    *,
    output: str | os.PathLike[str] | None = None,
    options: ClusterOptions | None = None,
) -> ClusterRun:
    """Assign the rows of a feature file to the clusters of a saved model, without fitting anything.

    Where the file has labels, accuracy, balanced accuracy and ROC AUC take each cluster for the class that
    it stood for **in the file the model was fitted on**: nothing is matched anew, so there is no optimism in
    them. Classes are compared by name. The level of chance is that of permuted labels under the same mapping.

    Parameters
    ----------
    model
        A file that ``embedkit cluster`` wrote.
    path
        A feature file made as the fitted one was.
    output
        Folder for results.jsonl and the assignments; nothing is written without it.
    options
        The seed of resamples and permutations, and whether memberships are wanted.

    Raises
    ------
    EmbedkitError
        A file that can't be read, or features that were made otherwise: the message names the difference.
    """
    saved = load_model(model)
    with opened(path) as file:
        try:
            run = _apply(saved, file, Path(model), options or ClusterOptions())
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        if output is None:
            return run
        provenance: dict[str, Any] = dict(run.result.provenance)
        which = "" if file.selection is None else file.dataset_name
        asked = f"{file.sha256} {provenance['model_sha256']}{which}"
        digest = hashlib.sha256(asked.encode()).hexdigest()[:8]
        tail = f"apply-{saved.method}-seed{saved.seed}-{digest}.csv"
        target = Path(output) / named_after(file.path, tail)
        write_assignments(
            target, file.rows.ids[run.index], run.clusters, saved.classes, memberships=run.memberships
        )
        result = Result(**{**vars(run.result), "provenance": {**provenance, "assignments": target.name}})
        result = append_result(Path(output) / RESULTS_FILE, result)
        return ClusterRun(**{**vars(run), "result": result, "assignments_path": target})


def _apply(saved: SavedModel, file: FeatureFile, model: Path, options: ClusterOptions) -> ClusterRun:
    seed = options.seed
    notes = [f"{saved.method}, fitted on {saved.fitted_on['dataset']}: nothing is fitted or matched here."]
    notes += check_alike(saved.fitted_on, file, model="model", again="cluster them anew")
    index, labels = readable_rows(file, notes)
    start = time.perf_counter()
    with FORMAT.using(model):
        x = saved.prepared.transform_file(file, index)
        assigned = saved.model.assign(x)
    seconds = time.perf_counter() - start

    labelled = np.flatnonzero(labels >= 0)
    metrics: dict[str, Metric] = {}
    outcomes: dict[str, Any] = {"cluster_sizes": assigned.sizes.tolist()}
    if len(labelled) and saved.classes:
        part = Assigned(
            assigned.labels[labelled],
            assigned.distance[labelled],
            None,
            None if assigned.soft is None else assigned.soft[labelled],
            assigned.n_clusters,
        )
        names = np.array(file.rows.class_names)[labels[labelled]]
        metrics, found = mapped_scores(names, part, saved.classes, seed=seed)
        outcomes |= found
        strange = sorted(set(names) - set(saved.classes.values()))
        if strange:
            notes.append(f"No cluster stands for {', '.join(strange)}: all of their rows count as wrong.")
    elif len(labelled):
        notes.append(
            "No cluster of the model stands for a class (fitted without labels, or all noise): no accuracy."
        )
    else:
        notes.append("No labels stored, so only scores that need none.")
    if (assigned.labels < 0).any():
        coverage = Metric(float((assigned.labels >= 0).mean()), note="of all rows")
        metrics.setdefault("coverage", coverage)
    metrics |= internal_scores(x, assigned.labels, seed=seed)
    digest, record = file_sha256(model), saved.prepared.record()
    result = Result(
        task="cluster",
        dataset=file.dataset_name,
        features=file.features_name,
        method=saved.method,
        params={
            **{name: value for name, value in saved.settings.items() if name != "choice"},
            "prep": record["prep"],
            "fitted_on": dict(saved.fitted_on),
        },
        outcomes={
            "preparation": record["preparation"],
            "left_out": {"failed": file.n - len(index), "unlabelled": len(index) - len(labelled)},
            **outcomes,
        },
        split=f"fitted on {saved.fitted_on['dataset']}",
        seed=saved.seed,
        metrics=metrics,
        n=len(labelled) if len(labelled) and saved.classes else len(index),
        seconds=seconds,
        backend=getattr(saved.model.estimator, "backend_", "numpy"),
        provenance={**result_provenance(file), "model": str(resolved(model)), "model_sha256": digest},
    )
    memberships = saved.model.memberships(x, assigned) if options.memberships else None
    return ClusterRun(result, index, assigned, None, tuple(notes), saved.prepared, memberships=memberships)


def mapped_scores(
    names: NDArray[np.str_], assigned: Assigned, classes: dict[int, str] | Any, *, seed: int = 0
) -> tuple[dict[str, Metric], dict[str, Any]]:
    """Score clusters whose classes are given, not matched: metrics, and what a result keeps besides.

    Parameters
    ----------
    names : (n,) str
        True class of each row.
    assigned
        Where the rows went.
    classes
        Class of each cluster that stands for one.
    seed
        Of resamples and permutations.
    """
    present, truth = np.unique(names, return_inverse=True)
    n, c = len(truth), len(present)
    place = {str(name): i for i, name in enumerate(present)}
    # Column c is noise, clusters that stand for no class, and classes that no row here has.
    column = np.full(assigned.n_clusters + 1, c)
    for cluster, name in classes.items():
        column[cluster] = place.get(name, c)
    predicted = column[assigned.labels]
    table = np.bincount(truth * (c + 1) + predicted, minlength=c * (c + 1)).reshape(c, c + 1)
    rng = np.random.default_rng(seed)

    def accuracy(tables: Tables) -> NDArray[np.float64]:
        return np.asarray(tables.agreeing().sum(axis=1) / n)

    def balanced(tables: Tables) -> NDArray[np.float64]:
        of_class = tables.by_class(tables.counts)
        recall = np.where(of_class > 0, tables.agreeing() / np.maximum(of_class, 1), np.nan)
        return np.asarray(np.nanmean(recall, axis=1))

    metrics = {}
    scores = {"accuracy": accuracy, "balanced_accuracy": balanced}
    draws: dict[str, list[NDArray[np.float64]]] = {key: [] for key in scores}
    for tables in bootstrap_tables(table, rng, N_BOOTSTRAP):
        for key, score in scores.items():
            draws[key].append(score(tables))
    for key, score in scores.items():
        drawn = np.concatenate(draws[key])
        metrics[key] = resampled(key, score(Tables.of(table[np.newaxis]))[0], drawn, "classes as fitted")
    free = labelled_scores(truth, assigned.labels, n_classes=c, seed=seed).metrics
    metrics |= {name: free[name] for name in UNMATCHED if name in free}
    inside = assigned.labels >= 0
    if not inside.all() and inside.any():
        metrics["accuracy_without_noise"] = Metric(float((predicted == truth)[inside].mean()))
    metrics["roc_auc"] = Metric(None, note=NO_SOFT)
    if assigned.soft is not None:
        soft = np.zeros((n, c))
        for cluster, name in classes.items():
            if name in place:
                soft[:, place[name]] = assigned.soft[:, cluster]
        metrics["roc_auc"] = roc_auc(truth, soft)
    permuted = np.array([(rng.permutation(truth) == predicted).mean() for _ in range(N_PERMUTATIONS)])
    note = f"the same classes on {N_PERMUTATIONS} permutations of the labels"
    metrics["null_accuracy"] = resampled("null_accuracy", permuted.mean(), permuted, note)
    metrics["majority_accuracy"] = free["majority_accuracy"]
    some = table[:, c].any()
    outcomes = {
        "class_names": present.tolist(),
        **kept(table[:, : c + bool(some)]),
        "confusion_columns": [*present.tolist(), *["(none)"] * bool(some)],
        "matching": {str(cluster): name for cluster, name in classes.items()},
    }
    return metrics, outcomes
