"""One clustering of one feature file: prepare, fit, score, explain."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clustering.options import ALL, AUTO, FINE, SETTINGS, ClusterOptions, Settings
from clustering.report import ClusterRun
from embedkit.console import Advance, counted, progress
from embedkit.console.foretelling import Foretold, say_long
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.files.results import Metric, Result, result_provenance
from embedkit.files.store import FeatureFile
from embedkit.preparing.steps import Clip
from embedkit.scoring.confusions import kept
from embedkit.scoring.metrics import estimate
from embedkit.scoring.selected import selected

if TYPE_CHECKING:
    from clustering.choose import KChoice
    from clustering.methods import Clusters
    from clustering.scores import LabelledScores
    from embedkit.preparing.joint import JointPrepared
    from embedkit.preparing.preparation import Prepared

# What -k auto tries; more are rarely told apart by evidence without labels.
MOST_K = 12
N_RESAMPLES = 20
# A cluster below this share of the rows is of outliers; of more than ten, one below a tenth of the mean.
TINY = 0.01
# What is said beside a time that is long.
GIVE_K = "-k N gives it instead."
FASTER = {
    "kmeans": "--n-init takes fewer restarts.",
    "temi": "--epochs takes fewer passes over the rows.",
}


@dataclass(frozen=True)
class _Task:
    """What is clustered how.

    Parameters
    ----------
    file
        Where the features are.
    options
        As asked.
    index, labels : (n,) int64
        Rows that have features, and the label of each, -1 where there is none.
    notes
        Takes what a reader must know.
    """

    file: FeatureFile
    options: ClusterOptions
    index: NDArray[np.int64]
    labels: NDArray[np.int64]
    notes: list[str]

    @property
    def classes(self) -> NDArray[np.int64]:
        """Labels that rows have (c,), rising."""
        return np.unique(self.labels[self.labels >= 0])


def cluster(
    path: str | os.PathLike[str] | FeatureFile,
    options: ClusterOptions | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    save_model: str | os.PathLike[str] | None = None,
    k_choice: KChoice | None = None,
) -> ClusterRun:
    """Cluster a feature file and score the clusters: ``embedkit cluster`` as a function.

    Parameters
    ----------
    path
        A feature file. Rows without a label are clustered too and left out of the scores against labels;
        rows whose image could not be read are left out of everything.
    options
        Method and settings; k-means after a PCA that keeps 95 % of the variance by default.
    output
        Folder for results.jsonl, the assignments and the model; nothing is written without it.
    save_model
        File, or folder, for the model instead.
    k_choice
        What an earlier run chose on this file with this preparation, so that it is not chosen again.

    Raises
    ------
    UsageError
        The number of clusters is needed and not given.
    EmbedkitError
        A file that can't be read, or features that can't be clustered; the message says what to do.
    """
    options = options or ClusterOptions()
    if options.method == ALL:
        raise UsageError("cluster() runs one method; compare() runs all.")
    with selected(path, options) as file:
        try:
            run = _cluster(file, options, k_choice)
            if options.explain:
                from clustering.diagnose import diagnose

                run = diagnose(file, run, seed=options.seed)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        if output is None and save_model is None:
            return run
        from clustering.output import write_run

        return write_run(file, run, options, output, save_model)


def _cluster(file: FeatureFile, options: ClusterOptions, k_choice: KChoice | None) -> ClusterRun:
    from clustering.methods import METHODS
    from clustering.naming.number import fine_k

    notes: list[str] = []
    task = _Task(file, options, *readable_rows(file, notes), notes)
    method, settings = METHODS[options.method], options.settings
    if "k" in SETTINGS[options.method] and settings.k is None:
        settings = replace(settings, k=_k_from_labels(file, task.classes, notes))
    asked = settings
    if settings.k == FINE:
        settings = replace(settings, k=fine_k(len(task.index), notes))

    start = time.perf_counter()
    prepared, x = _prepare(task, settings)
    if settings.k == AUTO:
        k_choice = k_choice or _choose_k(x, task.labels if len(task.classes) else None, options.seed)
        notes += k_choice.sentences()
        settings = replace(settings, k=k_choice.k)
    n_steps = method.n_steps(settings, len(x))
    with progress(options.method, n_steps, unit="step") as advance:
        on_step = _foretold(advance, n_steps, options.method, len(x))
        clusters = method.fit(x, settings, options.seed, on_step)
    seconds = time.perf_counter() - start

    params, outcomes = _told_apart(task, asked, clusters, k_choice)
    if clusters.choice is not None:
        # Other seeds and resamples take the sizes as they were chosen here.
        settings = replace(
            settings,
            min_cluster_size=clusters.choice.min_cluster_size,
            min_samples=clusters.choice.min_samples,
            target_noise=None,
        )

    def fit(rows: NDArray[Any], seed: int) -> Clusters:
        return method.fit(rows, settings, seed, lambda: None)

    _note_fit(task, clusters, prepared)
    metrics, scores = _score(task, x, clusters)
    outcomes |= _outcomes(task, clusters, scores)
    metrics |= clusters.metrics
    _say_more(options, seconds, random=method.random)
    if options.seeds > 1 and not method.random:
        notes.append(f"{options.method} has no randomness: other seeds would change nothing.")
    elif options.seeds > 1:
        metrics |= _other_seeds(task, x, fit, metrics)
        outcomes["seeds"] = options.seeds
    if options.stability:
        stable, found = _stability(x, fit, clusters, options)
        metrics |= stable
        outcomes["stability"] = found
    record = prepared.record()
    result = Result(
        task="cluster",
        dataset=file.dataset_name,
        features=file.features_name,
        method=options.method,
        params={**params, "prep": record["prep"]},
        outcomes={"preparation": record["preparation"], **outcomes},
        split="none",
        seed=options.seed,
        metrics=metrics,
        n=int((task.labels >= 0).sum()) or len(task.index),
        seconds=seconds,
        backend=clusters.backend,
        provenance=result_provenance(file),
    )
    run = ClusterRun(result, task.index, clusters, scores, tuple(notes), prepared, k_choice=k_choice)
    if options.memberships:
        run = replace(run, memberships=clusters.model.memberships(None, clusters))
    return run


def _say_more(options: ClusterOptions, seconds: float, *, random: bool) -> None:
    """Say how long other seeds and resamples take, where one run took so many seconds."""
    n = (options.seeds - 1) * random + N_RESAMPLES * options.stability
    asked = [flag for flag, on in (("--seeds", options.seeds > 1), ("--stability", options.stability)) if on]
    if not n:
        return
    say_long(n * seconds, f"{n} more runs of {options.method}", f"They are for {' and '.join(asked)}.")


def _foretold(advance: Advance, n_steps: int, method: str, n: int) -> Callable[[], object]:
    """Return what counts the steps of a method, and says how long they take where they are alike."""
    if method not in FASTER:
        return advance
    # Before TEMI's first pass come the neighbours.
    uneven = method == "temi"
    return Foretold(advance, n_steps, f"{method} of {n:,} rows", FASTER[method], uneven=uneven)


def _prepare(task: _Task, settings: Settings) -> tuple[Prepared | JointPrepared, NDArray[np.float32]]:
    """Fit the preparation on the rows, and return it with the rows prepared (n, m)."""
    from embedkit.preparing.joint import prepare_files

    prepared, x, said = prepare_files(
        task.file,
        task.options.preparation,
        rows=task.index,
        device=task.options.device or "auto",
        n_clusters=settings.k if isinstance(settings.k, int) else None,
    )
    task.notes.extend(said)
    if task.options.method == "temi":
        from embedkit.preparing.direction import cosine_remark

        remark = cosine_remark(prepared.preparation, x, "TEMI looks for neighbours by cosine")
        task.notes.extend([remark] if remark else [])
    return prepared, x


def _told_apart(
    task: _Task, asked: Settings, clusters: Clusters, k_choice: KChoice | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tell the settings that were asked for, or taken by default, from those that evidence chose."""
    params, outcomes = dict(clusters.settings), dict[str, Any]()
    if asked.k == AUTO and k_choice is not None:
        outcomes |= {"k": params["k"], "k_choice": k_choice.record()}
        params["k"] = AUTO
    elif asked.k == FINE:
        outcomes["k"], params["k"] = params["k"], FINE
    choice = clusters.choice
    if choice is not None:
        outcomes["choice"] = dict(params.pop("choice"))
        outcomes |= {name: params.pop(name) for name in ("min_cluster_size", "min_samples")}
        params["min_cluster_size"] = AUTO
        if asked.min_samples is not None:
            params["min_samples"] = asked.min_samples
        task.notes.append(f"HDBSCAN's sizes were chosen by: {choice.rule}.")
        if len(task.classes):
            tracking = choice.tracking(task.labels)
            task.notes.append(tracking.sentence("setting", "validity"))
            outcomes["choice"] |= tracking.record()
    return params, outcomes


def _note_fit(task: _Task, clusters: Clusters, prepared: Prepared | JointPrepared) -> None:
    """Say where it was computed, whether anything was found, and whether a few odd rows are a cluster."""
    if clusters.backend.endswith("faiss-gpu"):
        task.notes.append("k-means runs on the GPU; --device cpu keeps it off.")
    if (clusters.labels < 0).all():
        task.notes.append(
            "Every row is noise. Smaller --min-cluster-size and --min-samples make less of it, and so do "
            "fewer dimensions, as with --prep pca10."
        )
    sizes, n = clusters.sizes, len(clusters.labels)
    tiny = np.flatnonzero(sizes < TINY * np.minimum(n, n * 10 / max(1, len(sizes))))
    if len(tiny) and not clusters.noise and len(sizes) > 1:
        held = ", ".join(f"{c} ({sizes[c]:,} rows)" for c in tiny[:5]) + ", ..." * (len(tiny) > 5)
        steps = prepared.preparation.steps
        words = "+".join([prepared.name] * bool(steps) + ["clip50"])
        task.notes.append(
            f"Outliers hold a cluster to themselves: {held}, under {TINY:.0%} of the rows."
            + f" --prep {words} draws them in." * (not any(isinstance(step, Clip) for step in steps))
        )


def _score(
    task: _Task, x: NDArray[np.float32], clusters: Clusters
) -> tuple[dict[str, Metric], LabelledScores | None]:
    """Score clusters of the prepared rows (n, m) against the labels, if there are any, and without."""
    from clustering.naming.accuracy import named_accuracies
    from clustering.scores import internal_scores, labelled_scores

    labelled, found = task.labels >= 0, None
    if labelled.any():
        found = labelled_scores(
            np.searchsorted(task.classes, task.labels[labelled]),
            clusters.labels[labelled],
            n_classes=len(task.classes),
            soft=None if clusters.soft is None else clusters.soft[labelled],
            noise=clusters.noise,
            seed=task.options.seed,
        )
    metrics = {} if found is None else dict(found.metrics)
    if found is not None:
        own = task.labels[labelled], clusters.labels[labelled], clusters.distance[labelled]
        metrics |= named_accuracies(*own, seed=task.options.seed)
    if clusters.noise:
        metrics.setdefault("coverage", Metric(float((clusters.labels >= 0).mean()), note="of all rows"))
    return metrics | internal_scores(x, clusters.labels, seed=task.options.seed), found


def _outcomes(task: _Task, clusters: Clusters, scores: LabelledScores | None) -> dict[str, Any]:
    """Return sizes, rows left out and, with labels, what the clusters stand for."""
    n_unlabelled = int((task.labels < 0).sum())
    outcomes: dict[str, Any] = {
        "left_out": {"failed": task.file.n - len(task.index), "unlabelled": n_unlabelled},
        "cluster_sizes": clusters.sizes.tolist(),
    }
    if scores is None:
        task.notes.append(
            "No labels stored, so only scores that need none. If you have some, give --labels FILE.csv."
        )
        return outcomes
    if n_unlabelled:
        task.notes.append(
            f"{n_unlabelled:,} rows have no label: clustered, but left out of the scores against labels."
        )
    return outcomes | _confusion(scores, [task.file.rows.class_names[c] for c in task.classes])


def _other_seeds(
    task: _Task,
    x: NDArray[np.float32],
    fit: Callable[[NDArray[Any], int], Clusters],
    first: Mapping[str, Metric],
) -> dict[str, Metric]:
    """Cluster with the seeds after the first, and return the spread of the scores."""
    runs, options = [first], task.options
    with progress("other seeds", options.seeds - 1, unit="seed") as advance:
        for seed in range(options.seed + 1, options.seed + options.seeds):
            runs.append(_score(task, x, fit(x, seed))[0])
            advance()
    return _over_seeds(runs)


def readable_rows(file: FeatureFile, notes: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the file that have features, and the label of each, -1 where there is none."""
    notes.extend(file.remarks)
    index = np.flatnonzero(file.ok)
    if not len(index):
        raise DataError(
            f"none of its {file.n:,} rows has features. `embedkit verify {file.path}` lists the reasons."
        )
    if file.n > len(index):
        notes.append(f"Left out {counted(file.n - len(index), 'row')} whose image could not be read.")
    return index, np.full(len(index), -1) if file.rows.labels is None else file.rows.labels[index]


def _choose_k(x: NDArray[np.float32], labels: NDArray[np.int64] | None, seed: int) -> KChoice:
    from clustering.choose import choose_k

    if len(x) < 3:
        raise DataError(f"{len(x)} rows are too few to choose k. Give it, as in -k {len(x)}.")
    ks = range(2, min(MOST_K, len(x) - 1) + 1)
    with progress("choosing k", len(ks), unit="k") as advance:
        # A number of clusters takes about as long as it is large.
        passed = iter(ks)
        timed = Foretold(lambda _: advance(), sum(ks), f"choosing k from {ks[0]} to {ks[-1]}", GIVE_K)
        return choose_k(x, ks, labels=labels, on_step=lambda: timed(next(passed)), seed=seed)


def _over_seeds(runs: Sequence[Mapping[str, Metric]]) -> dict[str, Metric]:
    """Mean and standard deviation over seeds of the scores that a clustering is judged by."""
    from embedkit.scoring.spread import spread_over

    spread = spread_over(runs)
    found: dict[str, Metric] = {}
    for name in ("accuracy", "balanced_accuracy", "named_accuracy", "nmi", "ari", "silhouette"):
        if name in spread:
            of = spread[name]
            note_ = f"over {of.n} seeds, {of.lowest:.3f} to {of.highest:.3f}"
            found[f"{name}_seed_mean"] = Metric(of.mean, note=note_)
            found[f"{name}_seed_std"] = Metric(None if np.isnan(of.std) else of.std)
    return found


def _stability(
    x: NDArray[np.float32],
    fit: Callable[[NDArray[Any], int], Clusters],
    clusters: Clusters,
    options: ClusterOptions,
) -> tuple[dict[str, Metric], dict[str, Any]]:
    from clustering.stability import cluster_stability

    if (clusters.labels < 0).all():
        return {"stability_ari": Metric(None, note="every row is noise")}, {}
    with progress("stability", N_RESAMPLES, unit="resample") as advance:
        found = cluster_stability(
            x,
            lambda rows, seed: fit(rows, seed).labels,
            clusters=clusters.labels,
            n_resamples=N_RESAMPLES,
            on_resample=advance,
            seed=options.seed,
        )
    note_ = f"agreement with the clusters of {found.n_resamples} bootstrap resamples"
    metric = estimate("stability_ari", found.ari, *found.ari_range, note_)
    per_cluster = {"similarity": found.similarity.tolist(), "verdicts": list(found.verdicts)}
    return {"stability_ari": metric}, {**per_cluster, "n_failed": found.n_failed}


def _k_from_labels(file: FeatureFile, classes: NDArray[np.int64], notes: list[str]) -> int:
    if not len(classes):
        raise UsageError(
            f"{file.path}: no labels stored, so the number of clusters is not known. Give it, as in -k 10, "
            "or labels with --labels FILE.csv, have it chosen with -k auto, or let --method hdbscan find it."
        )
    if len(classes) == 1:
        raise UsageError(
            f"{file.path}: only one class is present ({file.rows.class_names[classes[0]]}), so one cluster "
            "would hold everything. Give the number of clusters, as in -k 10."
        )
    absent = [name for i, name in enumerate(file.rows.class_names) if i not in classes]
    less = f"; {', '.join(absent)} {'has' if len(absent) == 1 else 'have'} no images" if absent else ""
    notes.append(f"k = {len(classes)}, the number of classes present{less}. Another with -k.")
    return len(classes)


def _confusion(scores: LabelledScores, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the matched confusion matrix with a last column for rows of no class, if there are any."""
    confusion = scores.matching.confusion
    columns = list(class_names)
    if confusion[:, -1].any():
        columns.append("(none)")
    else:
        confusion = confusion[:, :-1]
    return {
        "class_names": list(class_names),
        **kept(confusion),
        "confusion_columns": columns,
        "matching": {str(c): class_names[label] for c, label in scores.matching.mapping.items()},
    }
