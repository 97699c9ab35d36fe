"""`embedkit cluster`: feature file in, one Result line and a table of assignments out."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note, print_json, print_table, progress
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.results import RESULTS_FILE, Metric, Result, append_result, result_provenance
from embedkit.store import FeatureFile

if TYPE_CHECKING:
    from rich.table import Table

    from clustering.explain import Diagnosis
    from clustering.methods import Assigned, Clusters
    from clustering.scores import LabelledScores
    from embedkit.preparation import Prepared

OUTPUT = "runs"
# Options of the command that only some methods have; `clustering.methods` says which. Kept here as well so
# that `--help` imports no faiss.
METHOD_NAMES = ("kmeans", "hdbscan", "agglomerative", "gmm", "umap+kmeans", "umap+hdbscan", "temi")
FLAGS = {
    "k": "-k",
    "n_init": "--n-init",
    "spherical": "--spherical",
    "device": "--device",
    "min_cluster_size": "--min-cluster-size",
    "min_samples": "--min-samples",
    "target_noise": "--target-noise",
    "linkage": "--linkage",
    "covariance": "--covariance",
    "n_components": "--n-components",
    "n_neighbors": "--n-neighbors",
    "n_heads": "--n-heads",
    "beta": "--beta",
    "epochs": "--epochs",
}
ALL = "all"
AUTO = "auto"
# What -k auto tries; more are rarely told apart by evidence without labels.
MOST_K = 12
PREP = "pca95"
N_RESAMPLES = 20


@dataclass(frozen=True)
class ClusterOptions:
    """How to cluster; what is None takes the default of its method.

    Parameters
    ----------
    method
        One of `METHOD_NAMES`, or ``all`` for `compare`.
    prep
        What is done to the features first; see `embedkit.preparation.Preparation.parse`.
    seed
        Of the restarts, and of resamples and permutations in the scores.
    k
        Number of clusters, for methods that are given it; by default that of the classes present. ``auto``
        picks it from 2 to 12 without labels, see `clustering.choose.choose_k`.
    target_noise
        Share of rows that HDBSCAN should leave out; its sizes are chosen for it.
    n_init, spherical, min_cluster_size, min_samples, linkage, covariance, n_components, n_neighbors
        See `clustering.methods.Settings`.
    n_heads, beta, epochs
        See `clustering.methods.Settings`.
    device
        Where preparation and method compute: ``auto``, ``cpu`` or ``cuda``.
    seeds
        Runs with so many seeds in a row, `seed` the first of them: mean and standard deviation of the scores
        join the metrics, everything else is of the first.
    stability
        Look every cluster up in 20 bootstrap resamples; see `clustering.stability.cluster_stability`.
    explain
        Say why the clustering scores as it does; see `clustering.explain.explain`.

    Raises
    ------
    UsageError
        An unknown method, a number out of range, or an option of another method.
    """

    method: str = "kmeans"
    prep: str = PREP
    seed: int = 0
    k: int | str | None = None
    n_init: int | None = None
    spherical: bool | None = None
    device: str | None = None
    min_cluster_size: int | None = None
    min_samples: int | None = None
    target_noise: float | None = None
    linkage: str | None = None
    covariance: str | None = None
    n_components: int | None = None
    n_neighbors: int | None = None
    n_heads: int | None = None
    beta: float | None = None
    epochs: int | None = None
    seeds: int = 1
    stability: bool = False
    explain: bool = False

    def __post_init__(self) -> None:
        from clustering.methods import METHODS
        from embedkit.preparation import Preparation

        if self.method not in (*METHODS, ALL):
            raise UsageError(f"--method {self.method}: unknown. Give one of {', '.join(METHODS)}, or {ALL}.")
        own = FLAGS if self.method == ALL else METHODS[self.method].settings
        for name, flag in FLAGS.items():
            if getattr(self, name) is not None and name not in own:
                owners = [other for other, method in METHODS.items() if name in method.settings]
                raise UsageError(
                    f"{flag} is for --method {' or '.join(owners)}, not {self.method}. Leave it out."
                )
        for name, least in (
            ("k", 1),
            ("n_init", 1),
            ("min_cluster_size", 2),
            ("min_samples", 1),
            ("n_components", 1),
            ("n_neighbors", 2),
            ("n_heads", 1),
            ("epochs", 1),
        ):
            value = getattr(self, name)
            if isinstance(value, str):
                if value != AUTO:
                    raise UsageError(
                        f"{FLAGS[name]} {value}: give an integer of at least {least}, or {AUTO}."
                    )
            elif value is not None and value < least:
                raise UsageError(f"{FLAGS[name]} {value}: give an integer of at least {least}.")
        if self.target_noise is not None:
            if not 0 <= self.target_noise < 1:
                raise UsageError(
                    f"--target-noise {self.target_noise}: give a share from 0 to less than 1, as in 0.2."
                )
            if self.min_cluster_size is not None or self.min_samples is not None:
                raise UsageError(
                    "--target-noise chooses --min-cluster-size and --min-samples. Leave those two out."
                )
        Preparation.parse(self.prep)
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: give an integer of at least 0.")
        if self.seeds < 1:
            raise UsageError(f"--seeds {self.seeds}: give an integer of at least 1.")
        if self.beta is not None and not 0 < self.beta <= 1:
            raise UsageError(f"--beta {self.beta}: give a number above 0 and at most 1.")

    def of(self, method: str) -> ClusterOptions:
        """Return the options for one method: those that it hasn't are left out."""
        from clustering.methods import METHODS

        left_out: dict[str, Any] = dict.fromkeys(set(FLAGS) - set(METHODS[method].settings))
        return replace(self, method=method, **left_out)


@dataclass(frozen=True)
class ClusterRun:
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
    assignments_path, model_path
        The table of assignments and the fitted model, if they were written.
    """

    result: Result
    index: NDArray[np.int64]
    clusters: Assigned
    scores: LabelledScores | None
    notes: tuple[str, ...]
    prepared: Prepared
    diagnosis: Diagnosis | None = None
    assignments_path: Path | None = None
    model_path: Path | None = None


def cluster(
    path: str | os.PathLike[str],
    options: ClusterOptions | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    save_model: str | os.PathLike[str] | None = None,
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
    with FeatureFile(path) as file:
        try:
            run = _cluster(file, options)
            if options.explain:
                run = _explained(file, run, options)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        if output is None and save_model is None:
            return run
        return _write(file, run, options, output, save_model)


@dataclass(frozen=True)
class Comparison:
    """Every method on one file.

    Parameters
    ----------
    runs
        The best first: by matched accuracy, or by silhouette where there are no labels.
    failures
        Method to the reason why it could not run.
    """

    runs: tuple[ClusterRun, ...]
    failures: Mapping[str, str]


def compare(
    path: str | os.PathLike[str],
    options: ClusterOptions | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
    on_run: Callable[[str, ClusterRun | EmbedkitError], Any] | None = None,
) -> Comparison:
    """Run every method on a feature file; one that cannot run does not stop the others.

    Parameters
    ----------
    path
        A feature file.
    options
        For all methods; each takes those that it has.
    output
        Folder for results.jsonl, with one line a method, assignments and models.
    on_run
        Called with each method and its run, or what stopped it.

    Raises
    ------
    EmbedkitError
        A file that can't be read, or none of the methods could run.
    """
    options = options or ClusterOptions(ALL)
    with FeatureFile(path):
        pass  # a missing or broken file is one error, not one a method
    runs: list[ClusterRun] = []
    failures: dict[str, str] = {}
    for name in METHOD_NAMES:
        try:
            run = cluster(path, options.of(name), output=output)
        except EmbedkitError as error:
            failures[name] = str(error).removeprefix(f"{path}: ")
            if on_run is not None:
                on_run(name, error)
            continue
        runs.append(run)
        if on_run is not None:
            on_run(name, run)
    if not runs:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
        raise EmbedkitError(f"{path}: no method could run. {reasons}")

    def score(run: ClusterRun) -> float:
        value = run.result.metrics[score_name(run)].value
        return -np.inf if value is None else value

    return Comparison(tuple(sorted(runs, key=score, reverse=True)), failures)


def score_name(run: ClusterRun) -> str:
    """Name of the metric that a run is ranked by."""
    return "accuracy" if "accuracy" in run.result.metrics else "silhouette"


def beats_chance(run: ClusterRun) -> bool | None:
    """Whether the matched accuracy lies above the 95 % range of permuted labels; None without labels."""
    metrics = run.result.metrics
    if "accuracy" not in metrics or (high := metrics["null_accuracy"].high) is None:
        return None
    return (metrics["accuracy"].value or 0) > high


def _cluster(file: FeatureFile, options: ClusterOptions) -> ClusterRun:
    from clustering.methods import METHODS, Settings
    from clustering.scores import internal_scores, labelled_scores
    from embedkit.preparation import Preparation, prepare, view_whiten_hint

    notes: list[str] = []
    index, labels = _rows(file, notes)
    classes = np.unique(labels[labels >= 0])
    method = METHODS[options.method]
    names = {field.name for field in fields(Settings)}
    asked = {name: value for name, value in asdict(options).items() if name in names}
    settings = Settings(**asked | {"k": None if options.k == AUTO else options.k})
    if "k" in method.settings and options.k is None:
        settings = replace(settings, k=_k_from_labels(file, classes, notes))

    start = time.perf_counter()
    preparation = Preparation.parse(options.prep)
    prepared = prepare(file, preparation, rows=index, device=options.device or "auto")
    x = prepared.transform_file(file, index)
    notes += [sentence for sentence in (prepared.describe(), view_whiten_hint(file, preparation)) if sentence]
    outcomes: dict[str, Any] = {}
    if "k" in method.settings and options.k == AUTO:
        choice = _choose_k(x, None if not len(classes) else labels, options, notes)
        outcomes["k_choice"] = choice
        settings = replace(settings, k=choice["k"])
    with progress(options.method, method.n_steps(settings, len(x)), unit="step") as advance:
        clusters = method.fit(x, settings, options.seed, advance)
    seconds = time.perf_counter() - start

    def fit(rows: NDArray[Any], seed: int) -> Clusters:
        return method.fit(rows, settings, seed, lambda: None)

    if clusters.backend.endswith("faiss-gpu"):
        notes.append("k-means runs on the GPU; --device cpu keeps it off.")
    if (clusters.labels < 0).all():
        notes.append(
            "Every row is noise. Smaller --min-cluster-size and --min-samples make less of it, and so do "
            "fewer dimensions, as with --prep pca10."
        )

    labelled = labels >= 0

    def score(clusters: Clusters) -> tuple[dict[str, Metric], LabelledScores | None]:
        found = None
        if labelled.any():
            found = labelled_scores(
                np.searchsorted(classes, labels[labelled]),
                clusters.labels[labelled],
                n_classes=len(classes),
                soft=clusters.soft[labelled],
                noise=clusters.noise,
                seed=options.seed,
            )
        metrics = {} if found is None else dict(found.metrics)
        if clusters.noise:
            metrics.setdefault("coverage", Metric(float((clusters.labels >= 0).mean()), note="of all rows"))
        return metrics | internal_scores(x, clusters.labels, seed=options.seed), found

    metrics, scores = score(clusters)
    outcomes["cluster_sizes"] = clusters.sizes.tolist()
    if "choice" in clusters.settings:
        notes.append(f"HDBSCAN's sizes were chosen by: {clusters.settings['choice']['rule']}.")
    if scores is not None:
        class_names = [file.rows.class_names[c] for c in classes]
        outcomes |= _confusion(scores, class_names)
        if not labelled.all():
            notes.append(
                f"{int((~labelled).sum()):,} rows have no label: clustered, but left out of the scores "
                "against labels."
            )
    else:
        notes.append("No labels stored, so only scores that need none.")
    metrics |= clusters.metrics
    if options.seeds > 1 and not method.random:
        notes.append(f"{options.method} has no randomness: other seeds would change nothing.")
    elif options.seeds > 1:
        runs = [metrics]
        with progress("other seeds", options.seeds - 1, unit="seed") as advance:
            for seed in range(options.seed + 1, options.seed + options.seeds):
                runs.append(score(fit(x, seed))[0])
                advance()
        metrics |= _over_seeds(runs)
        outcomes["seeds"] = options.seeds
    if options.stability:
        stable, found = _stability(x, fit, clusters, options)
        metrics |= stable
        outcomes["stability"] = found
    left_out = {"failed": file.n - len(index), "unlabelled": int((~labelled).sum())}
    result = Result(
        task="cluster",
        dataset=file.dataset_name,
        features=file.features_name,
        method=options.method,
        params={**clusters.settings, **prepared.record(), "left_out": left_out, **outcomes},
        split="none",
        seed=options.seed,
        metrics=metrics,
        n=int(labelled.sum()) if labelled.any() else len(index),
        seconds=seconds,
        backend=clusters.backend,
        provenance=result_provenance(file),
    )
    return ClusterRun(result, index, clusters, scores, tuple(notes), prepared)


def _rows(file: FeatureFile, notes: list[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the file that have features, and the label of each, -1 where there is none."""
    index = np.flatnonzero(file.ok)
    if not len(index):
        raise DataError(
            f"none of its {file.n:,} rows has features. `embedkit verify {file.path}` lists the reasons."
        )
    if file.n > len(index):
        notes.append(f"Left out {file.n - len(index):,} rows whose image could not be read.")
    return index, np.full(len(index), -1) if file.rows.labels is None else file.rows.labels[index]


def _choose_k(
    x: NDArray[np.float32], labels: NDArray[np.int64] | None, options: ClusterOptions, notes: list[str]
) -> dict[str, Any]:
    """Pick k without labels; what a result keeps of it, with how it tracked labels where there are any."""
    from clustering.choose import choose_k

    ks = range(2, min(MOST_K, len(x) - 1) + 1)
    with progress("choosing k", len(ks), unit="k") as advance:
        choice = choose_k(x, ks, labels=labels, on_step=advance, seed=options.seed)
    notes.append(f"k = {choice.k}: {choice.rule}.")
    for cliff in choice.cliffs:
        notes.append(
            f"A cliff: {cliff.evidence} falls by {100 * cliff.share:.0f} % of its range from k = {cliff.k} "
            f"to {cliff.next_k}."
        )
    kept: dict[str, Any] = {
        "k": choice.k,
        "rule": choice.rule,
        "ks": choice.ks.tolist(),
        "mean_rank": choice.mean_rank.tolist(),
        "cliffs": [asdict(cliff) for cliff in choice.cliffs],
        **{name: curve.tolist() for name, curve in choice.evidence.items()},
    }
    if choice.tracking is not None:
        kept["labelled_ami"] = choice.tracking.scores.tolist()
        kept["correlation_with_labelled_ami"] = dict(choice.tracking.correlation)
        kept["cost"] = choice.tracking.cost
        notes.append(
            f"Against the labels, which chose nothing: the k picked scores {choice.tracking.cost:.3f} less "
            "(adjusted mutual information) than the best one tried."
        )
    return kept


def _over_seeds(runs: Sequence[Mapping[str, Metric]]) -> dict[str, Metric]:
    """Mean and standard deviation over seeds of the scores that a clustering is judged by."""
    from clustering.scores import spread_over_seeds

    spread = spread_over_seeds(runs)
    found: dict[str, Metric] = {}
    for name in ("accuracy", "balanced_accuracy", "nmi", "ari", "silhouette"):
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
    metric = Metric(
        found.ari, *found.ari_range, f"agreement with the clusters of {found.n_resamples} bootstrap resamples"
    )
    per_cluster = {"similarity": found.similarity.tolist(), "verdicts": list(found.verdicts)}
    return {"stability_ari": metric}, {**per_cluster, "n_failed": found.n_failed}


def _explained(file: FeatureFile, run: ClusterRun, options: ClusterOptions) -> ClusterRun:
    from clustering.explain import explain

    diagnosis = explain(
        file.read(run.index),
        None if file.rows.labels is None else file.rows.labels[run.index],
        run.clusters.labels,
        class_names=file.rows.class_names or None,
        seed=options.seed,
    )
    found = [asdict(finding) for finding in diagnosis.findings]
    result = replace(run.result, params={**run.result.params, "diagnosis": found})
    return replace(run, result=result, diagnosis=diagnosis)


def _k_from_labels(file: FeatureFile, classes: NDArray[np.int64], notes: list[str]) -> int:
    if not len(classes):
        raise UsageError(
            f"{file.path}: no labels stored, so the number of clusters is not known. Give it, as in -k 10, "
            "or let --method hdbscan find it."
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
        "confusion": confusion.tolist(),
        "confusion_columns": columns,
        "matching": {str(c): class_names[label] for c, label in scores.matching.mapping.items()},
    }


def _write(
    file: FeatureFile,
    run: ClusterRun,
    options: ClusterOptions,
    output: str | os.PathLike[str] | None,
    save_model: str | os.PathLike[str] | None,
) -> ClusterRun:
    """Write the model and the assignments, then the result that names them."""
    from clustering.model_file import SavedModel, identity
    from clustering.model_file import save_model as write_model

    # A name for each combination of features and settings: another k never overwrites what a line refers to.
    settings = json.dumps([file.sha256, run.result.params, asdict(options)], sort_keys=True, default=str)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    stem = f"{file.path.stem}-cluster-{options.method}-seed{options.seed}-{digest}"
    target = Path(save_model or output or ".")
    if save_model is None or target.is_dir() or str(save_model).endswith("/"):
        target = target / f"{stem}.model.h5"
    matching = run.result.params.get("matching", {})
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
    write_assignments(path, file.rows.ids[run.index], clusters)
    write_model(target, saved)
    # A model elsewhere is named by its whole path, one beside the assignments as they are.
    model = target.name if target.parent == output else str(target.resolve())
    result = replace(
        run.result, provenance={**run.result.provenance, "assignments": path.name, "model": model}
    )
    append_result(output / RESULTS_FILE, result)
    return replace(run, result=result, assignments_path=path, model_path=target)


def write_assignments(
    path: Path, ids: NDArray[np.str_], clusters: Assigned, classes: Mapping[int, str] | None = None
) -> None:
    """Write the table id, cluster, distance and, where known, probability and class; whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    columns = ["id", "cluster", "distance"]
    columns += ["probability"] * (clusters.probability is not None) + ["class"] * bool(classes)
    try:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            for i, name in enumerate(ids):
                distance, cluster = clusters.distance[i], int(clusters.labels[i])
                line = [name, cluster, "" if np.isnan(distance) else f"{distance:.6g}"]
                if clusters.probability is not None:
                    line.append(f"{clusters.probability[i]:.6g}")
                if classes:
                    line.append(classes.get(cluster, ""))
                writer.writerow(line)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit cluster``."""
    parser.add_argument("features", help="a feature file from `embedkit extract`")
    parser.add_argument(
        "--method",
        choices=(*METHOD_NAMES, ALL),
        default=None,
        help="which method (default: kmeans), or all of them, compared",
    )
    parser.add_argument(
        "--prep",
        metavar="STEPS",
        help=f"prepare first (default: {PREP}): none, pca95, pca64, whiten30, l2, view-whiten, joined with +",
    )
    parser.add_argument(
        "--pca",
        type=_pca,
        metavar="0.95|64|none",
        help="short for --prep: PCA to a fraction of the variance, or to a number of components",
    )
    parser.add_argument("--seed", type=int, help="of restarts, resamples and permutations (default: 0)")
    parser.add_argument(
        "-k", type=_k, help="clusters, or auto; not for hdbscan (default: the number of classes present)"
    )
    parser.add_argument("--n-init", type=int, metavar="N", help="kmeans, gmm: restarts (default: 10, 3)")
    parser.add_argument(
        "--spherical", action="store_const", const=True, help="kmeans: cluster by direction (cosine)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        help="where it computes (default: auto, a GPU if the method can use one)",
    )
    parser.add_argument(
        "--min-cluster-size",
        type=int,
        metavar="N",
        help="hdbscan: fewest rows of a cluster (default: 1 %% of the rows, at least 5)",
    )
    parser.add_argument(
        "--min-samples",
        type=int,
        metavar="N",
        help="hdbscan: neighbours of a core point; more make more noise (default: the min cluster size)",
    )
    parser.add_argument(
        "--target-noise",
        type=float,
        metavar="SHARE",
        help="hdbscan: choose both of these so that about this share of the rows is noise, as in 0.2",
    )
    parser.add_argument(
        "--linkage",
        choices=("ward", "average", "complete", "single"),
        help="agglomerative: what is merged next (default: ward)",
    )
    parser.add_argument(
        "--covariance",
        choices=("full", "tied", "diag", "spherical"),
        help="gmm: shape of the components (default: full)",
    )
    parser.add_argument("--n-components", type=int, metavar="N", help="umap: dimensions (default: 5)")
    parser.add_argument("--n-neighbors", type=int, metavar="N", help="umap: neighbours (default: 15)")
    parser.add_argument("--n-heads", type=int, metavar="N", help="temi: heads trained (default: 16)")
    parser.add_argument(
        "--beta", type=float, help="temi: less makes cluster sizes more even, 0 to 1 (default: 0.6)"
    )
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="temi: passes over the rows (default: 100, few rows more)"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="spread over N seeds, --seed the first (default: 1)"
    )
    parser.add_argument(
        "--stability", action="store_true", help="how often each cluster comes back in bootstrap resamples"
    )
    parser.add_argument("--explain", action="store_true", help="say why the clustering scores as it does")
    parser.add_argument(
        "--save-model", metavar="FILE|DIR", help="where the model goes (default: beside the assignments)"
    )
    parser.add_argument(
        "--apply",
        metavar="MODEL",
        help="assign the rows to the clusters of a saved model instead; nothing is fitted",
    )
    parser.add_argument("-o", "--output", default=OUTPUT, help="folder for results.jsonl and assignments")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    return _run


def _k(text: str) -> int | str:
    if text == AUTO:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give an integer of at least 1, or {AUTO}") from None


def _pca(text: str) -> str:
    """Return the `--prep` that a `--pca` is short for."""
    if text.lower() == "none":
        return "none"
    message = (
        f"{text!r}: give a fraction of the variance between 0 and 1 such as 0.95, a number of components "
        "such as 64, or none"
    )
    try:
        value: float | int = int(text) if re.fullmatch(r"\d+", text) else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(message) from None
    if not (value >= 1 if isinstance(value, int) else 0 < value < 1):
        raise argparse.ArgumentTypeError(message)
    return f"pca:{value}"


def _run(args: argparse.Namespace) -> None:
    names = {field.name for field in fields(ClusterOptions)} - {"method", "prep", "seed"}
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    given |= {name: getattr(args, name) for name in ("method", "seed") if getattr(args, name) is not None}
    if args.pca is not None and args.prep is not None:
        raise UsageError("--pca is short for a --prep. Give one of them.")
    if (prep := args.prep or args.pca) is not None:
        given["prep"] = prep
    if args.apply is not None:
        _run_apply(args, given)
        return
    options = ClusterOptions(**given)
    if options.method == ALL:
        _run_all(args, options)
        return
    run = cluster(args.features, options, output=args.output, save_model=args.save_model)
    _show(run, as_json=args.json)
    note(
        f"Result in {Path(args.output) / RESULTS_FILE}, assignments in {run.assignments_path}, the model in "
        f"{run.model_path}."
    )


def _run_all(args: argparse.Namespace, options: ClusterOptions) -> None:
    if args.save_model is not None:
        raise UsageError(
            "--save-model is for one method; --method all keeps every model beside its assignments."
        )

    def say(name: str, run: ClusterRun | EmbedkitError) -> None:
        if isinstance(run, EmbedkitError):
            note(f"{name}: {run}")
        else:
            note(f"{name}: {run.result.seconds:.1f} s.")

    compared = compare(args.features, options, output=args.output, on_run=say)
    for line in dict.fromkeys(line for run in compared.runs for line in run.notes):
        note(line)
    if args.json:
        results = [json.loads(run.result.to_json()) for run in compared.runs]
        for document, run in zip(results, compared.runs, strict=True):
            document["beats_chance"] = beats_chance(run)
        print_json({"results": results, "failures": compared.failures})
    else:
        print_table(_comparison_table(compared))
        for run in compared.runs:
            if run.diagnosis is not None:
                print(f"\n{run.result.method}\n{run.diagnosis.text}")
    note(f"Results in {Path(args.output) / RESULTS_FILE}, assignments and models beside it.")


def _comparison_table(compared: Comparison) -> Table:
    from rich.table import Table
    from rich.text import Text

    first = compared.runs[0].result
    n = len(compared.runs[0].index)
    title = f"{first.features} on {first.dataset}: {n:,} rows, {first.params['prep']}"
    table = Table(title=Text(title, style="bold"), title_justify="left", show_edge=False)
    score = score_name(compared.runs[0])
    columns = ["method", _title(score), "95 % interval"]
    shown = ["balanced_accuracy", "nmi"] if score == "accuracy" else []
    columns += ["permuted labels"] if score == "accuracy" else []
    columns += [_title(name) for name in shown]
    for name in columns:
        table.add_column(name, justify="left" if name == "method" else "right")
    for name in ("clusters", "in clusters", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("")
    for run in compared.runs:
        metrics = run.result.metrics
        cells = [run.result.method, *_metric_cells(metrics[score])]
        if score == "accuracy":
            chance = metrics["null_accuracy"]
            cells.append(_metric_cells(chance)[1])
        cells += [_metric_cells(metrics[name])[0] for name in shown]
        labels = run.clusters.labels
        cells += [f"{len(run.clusters.sizes)}", f"{100 * (labels >= 0).mean():.0f} %"]
        cells.append(f"{run.result.seconds:.1f}")
        remarks = ["no better than permuted labels"] * (beats_chance(run) is False)
        if (mean := metrics.get(f"{score}_seed_mean")) is not None:
            deviation = metrics[f"{score}_seed_std"].value
            remarks.append(f"{mean.value:.3f} +- {deviation:.3f} over {run.result.params['seeds']} seeds")
        table.add_row(*cells, Text("; ".join(remarks)))
    for name, reason in compared.failures.items():
        blanks = [""] * (len(table.columns) - 2)
        table.add_row(name, *blanks, Text(f"did not run: {reason}"))
    return table


def _run_apply(args: argparse.Namespace, given: dict[str, Any]) -> None:
    from clustering.apply import apply

    flags = {"method": "--method", "prep": "--prep"} | FLAGS
    flags |= {"seeds": "--seeds", "stability": "--stability", "explain": "--explain"}
    unused = [flags[name] for name in given if name in flags and given[name] not in (False, 1)]
    unused += ["--save-model"] * (args.save_model is not None)
    if unused:
        raise UsageError(f"--apply takes everything from the model. Leave out {', '.join(unused)}.")
    run = apply(args.apply, args.features, output=args.output, seed=given.get("seed", 0))
    _show(run, as_json=args.json)
    note(f"Result in {Path(args.output) / RESULTS_FILE}, assignments in {run.assignments_path}.")


def _show(run: ClusterRun, *, as_json: bool) -> None:
    for line in run.notes:
        note(line)
    if as_json:
        document = json.loads(run.result.to_json())
        document["notes"] = list(run.notes)
        print_json(document)
    else:
        _print(run)


_TITLES = {
    "accuracy": "matched accuracy",
    "accuracy_without_noise": "  noise left out",
    "balanced_accuracy": "balanced accuracy",
    "nmi": "NMI",
    "ari": "ARI",
    "ami": "AMI",
    "roc_auc": "ROC AUC",
    "null_many_to_one_accuracy": "chance: many-to-one",
    "null_accuracy": "chance: permuted labels",
    "majority_accuracy": "chance: largest class",
    "calinski_harabasz": "Calinski-Harabasz",
    "davies_bouldin_loss": "Davies-Bouldin",
    "many_to_one_accuracy": "many-to-one accuracy",
    "v_measure": "V-measure",
    "stability_ari": "stability (ARI)",
    "bic_loss": "BIC (lower is better)",
}


def _title(name: str) -> str:
    for ending, words in (("_seed_mean", ", mean over seeds"), ("_seed_std", ", standard deviation")):
        if name.endswith(ending):
            return _title(name.removesuffix(ending)) + words
    return _TITLES.get(name, name)


_ORDER = ("accuracy", "accuracy_without_noise", "coverage", "null_accuracy", "majority_accuracy")


def _print(run: ClusterRun) -> None:
    from rich.table import Table
    from rich.text import Text

    result = run.result
    sizes = run.clusters.sizes
    title = f"{result.method} of {result.features} on {result.dataset}"
    title += f": {len(run.index):,} rows, {len(sizes)} clusters"
    table = Table(title=Text(title, style="bold"), title_justify="left", show_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    table.add_column("")
    names = [name for name in _ORDER if name in result.metrics]
    for name in [*names, *(name for name in result.metrics if name not in names)]:
        metric = result.metrics[name]
        table.add_row(Text(_title(name)), *_metric_cells(metric), Text(metric.note or ""))
    print_table(table)
    print()
    if "k_choice" in result.params:
        print_table(_choice_table(result.params["k_choice"]))
        print()
    if "confusion" in result.params:
        print_table(_confusion_table(run))
        print()
    print_table(_size_table(run))
    if run.diagnosis is not None:
        print()
        print(run.diagnosis.text)


def _choice_table(choice: Mapping[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    title = Text("Evidence for each k, higher is better but for the rank", style="bold")
    table = Table(title=title, title_justify="left", show_edge=False)
    names = ["silhouette", "bic_gain", "stability", "mean_rank"]
    names += ["labelled_ami"] * ("labelled_ami" in choice)
    for name in ("k", *names):
        table.add_column(name.replace("_", " "), justify="right")
    for i, k in enumerate(choice["ks"]):
        style = "bold" if k == choice["k"] else ""
        table.add_row(str(k), *(f"{choice[name][i]:.3f}" for name in names), style=style)
    return table


def _confusion_table(run: ClusterRun) -> Table:
    from rich.table import Table
    from rich.text import Text

    params = run.result.params
    table = Table(
        title=Text("Rows of each class by the class of their cluster", style="bold"),
        title_justify="left",
        show_edge=False,
    )
    table.add_column("true class")
    for name in params["confusion_columns"]:
        table.add_column(Text(name), justify="right")
    table.add_column("recall", justify="right")
    for i, (name, counts) in enumerate(zip(params["class_names"], params["confusion"], strict=True)):
        cells = [Text(f"{count:,}", style="bold" if i == j else "") for j, count in enumerate(counts)]
        table.add_row(Text(name), *cells, f"{counts[i] / sum(counts):.3f}" if sum(counts) else "-")
    return table


# More clusters than this are summed up: nobody reads a hundred lines of sizes.
_MOST_SIZES = 20


def _size_table(run: ClusterRun) -> Table:
    from rich.table import Table
    from rich.text import Text

    sizes, n = run.clusters.sizes, len(run.index)
    table = Table(title=Text("Clusters", style="bold"), title_justify="left", show_edge=False)
    for name in ("cluster", "rows", "share"):
        table.add_column(name, justify="right")
    matching = run.result.params.get("matching")
    if matching is not None:
        table.add_column("stands for")

    stability = run.result.params.get("stability")
    if stability:
        table.add_column("comes back")

    def add(name: str, size: int, meaning: str = "", stable: str = "") -> None:
        cells = [name, f"{size:,}", f"{100 * size / n:.1f} %"]
        table.add_row(
            *cells, *([Text(meaning)] if matching is not None else []), *([stable] if stability else [])
        )

    order = np.argsort(-sizes, kind="stable")
    for c in order[:_MOST_SIZES]:
        stable = ""
        if stability:
            stable = f"{stability['similarity'][c]:.2f} {stability['verdicts'][c]}"
        add(str(c), int(sizes[c]), (matching or {}).get(str(c), "no class"), stable)
    if len(order) > _MOST_SIZES:
        add(f"{len(order) - _MOST_SIZES} more", int(sizes[order[_MOST_SIZES:]].sum()))
    if (run.clusters.labels < 0).any():
        add("noise", int((run.clusters.labels < 0).sum()))
    return table


def _metric_cells(metric: Metric) -> tuple[str, str]:
    if metric.value is None:
        return "-", ""
    digits = 3 if abs(metric.value) < 100 else 0
    if metric.low is None or metric.high is None:
        return f"{metric.value:,.{digits}f}", ""
    return f"{metric.value:,.{digits}f}", f"{metric.low:.3f} to {metric.high:.3f}"
