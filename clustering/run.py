"""`embedkit cluster`: feature file in, one Result line and a table of assignments out."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note, print_json, print_table, progress
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.results import RESULTS_FILE, Metric, Result, append_result, result_provenance
from embedkit.store import FeatureFile

if TYPE_CHECKING:
    from rich.table import Table

    from clustering.methods import Clusters
    from clustering.scores import LabelledScores

OUTPUT = "runs"
# Options of the command that only some methods have; `clustering.methods` says which. Kept here as well so
# that `--help` imports no faiss.
METHOD_NAMES = ("kmeans", "hdbscan")
FLAGS = {
    "k": "-k",
    "n_init": "--n-init",
    "spherical": "--spherical",
    "device": "--device",
    "min_cluster_size": "--min-cluster-size",
    "min_samples": "--min-samples",
}


@dataclass(frozen=True)
class ClusterOptions:
    """How to cluster; what is None takes the default of its method.

    Parameters
    ----------
    method
        ``kmeans`` or ``hdbscan``.
    pca
        Reduce the features first: a float keeps that fraction of the variance, an integer that many
        components, None clusters the features as they are.
    seed
        Of the restarts, and of resamples and permutations in the scores.
    k
        ``kmeans``: number of clusters; by default that of the classes present.
    n_init, spherical, device
        ``kmeans``: see `clustering.kmeans.KMeans`.
    min_cluster_size, min_samples
        ``hdbscan``: see `clustering.density.HDBSCAN`.

    Raises
    ------
    UsageError
        An unknown method, a number out of range, or an option of another method.
    """

    method: str = "kmeans"
    pca: float | int | None = 0.95
    seed: int = 0
    k: int | None = None
    n_init: int | None = None
    spherical: bool | None = None
    device: str | None = None
    min_cluster_size: int | None = None
    min_samples: int | None = None

    def __post_init__(self) -> None:
        from clustering.methods import METHODS

        if self.method not in METHODS:
            raise UsageError(f"--method {self.method}: unknown. Give one of {', '.join(METHODS)}.")
        for name, flag in FLAGS.items():
            if getattr(self, name) is not None and name not in METHODS[self.method].settings:
                owners = [other for other, method in METHODS.items() if name in method.settings]
                raise UsageError(
                    f"{flag} is for --method {' or '.join(owners)}, not {self.method}. Leave it out."
                )
        for name, least in (("k", 1), ("n_init", 1), ("min_cluster_size", 2), ("min_samples", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{FLAGS[name]} {value}: give an integer of at least {least}.")
        if self.pca is not None and not (
            self.pca >= 1
            if isinstance(self.pca, int) and not isinstance(self.pca, bool)
            else 0 < self.pca < 1
        ):
            raise UsageError(
                f"--pca {self.pca}: give a fraction of the variance between 0 and 1, a number of components, "
                "or none."
            )
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: give an integer of at least 0.")


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
    assignments_path
        The table of assignments, if it was written.
    """

    result: Result
    index: NDArray[np.int64]
    clusters: Clusters
    scores: LabelledScores | None
    notes: tuple[str, ...]
    assignments_path: Path | None = None


def cluster(
    path: str | os.PathLike[str],
    options: ClusterOptions | None = None,
    *,
    output: str | os.PathLike[str] | None = None,
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
        Folder for results.jsonl and the assignments; nothing is written without it.

    Raises
    ------
    UsageError
        The number of clusters is needed and not given.
    EmbedkitError
        A file that can't be read, or features that can't be clustered; the message says what to do.
    """
    options = options or ClusterOptions()
    with FeatureFile(path) as file:
        try:
            run = _cluster(file, options)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        return run if output is None else _write(file, run, options, Path(output))


def _cluster(file: FeatureFile, options: ClusterOptions) -> ClusterRun:
    from clustering.methods import METHODS, Settings
    from clustering.scores import internal_scores, labelled_scores
    from embedkit.pca import PCA

    notes: list[str] = []
    index = np.flatnonzero(file.ok)
    n_failed = file.n - len(index)
    if not len(index):
        raise DataError(
            f"none of its {file.n:,} rows has features. `embedkit verify {file.path}` lists the reasons."
        )
    if n_failed:
        notes.append(f"Left out {n_failed:,} rows whose image could not be read.")
    labels = np.full(len(index), -1) if file.rows.labels is None else file.rows.labels[index]
    classes = np.unique(labels[labels >= 0])
    method = METHODS[options.method]
    names = {field.name for field in fields(Settings)}
    settings = Settings(**{name: value for name, value in asdict(options).items() if name in names})
    if "k" in method.settings and settings.k is None:
        settings = replace(settings, k=_k_from_labels(file, classes, notes))

    x = _read(file, index)
    start = time.perf_counter()
    prepared: NDArray[np.float32] = x
    preparation: dict[str, Any] = {"pca": options.pca}
    if options.pca is not None:
        pca = PCA(options.pca, device=options.device or "auto").fit(x)
        prepared = pca.transform(x)
        kept = float(pca.explained_variance_ratio_.sum())
        preparation |= {"n_components": pca.n_components_}
        notes.append(
            f"PCA: {pca.n_components_} of {file.d} dimensions keep {100 * kept:.1f} % of the variance."
            + (" On the GPU." if pca.backend_ == "torch-cuda" else "")
        )
    with progress(options.method, method.n_steps(settings), unit="restart") as advance:
        clusters = method.fit(prepared, settings, options.seed, advance)
    seconds = time.perf_counter() - start
    if clusters.backend == "faiss-gpu":
        notes.append("k-means runs on the GPU; --device cpu keeps it off.")

    if (clusters.labels < 0).all():
        notes.append(
            "Every row is noise. Smaller --min-cluster-size and --min-samples make less of it, and so do "
            "fewer dimensions, as with --pca 10."
        )

    labelled = labels >= 0
    metrics: dict[str, Metric] = {}
    scores: LabelledScores | None = None
    outcomes: dict[str, Any] = {"cluster_sizes": clusters.sizes.tolist()}
    if labelled.any():
        scores = labelled_scores(
            np.searchsorted(classes, labels[labelled]),
            clusters.labels[labelled],
            n_classes=len(classes),
            soft=clusters.soft[labelled],
            noise=clusters.noise,
            seed=options.seed,
        )
        metrics |= scores.metrics
        class_names = [file.rows.class_names[c] for c in classes]
        outcomes |= _confusion(scores, class_names)
        if not labelled.all():
            notes.append(
                f"{int((~labelled).sum()):,} rows have no label: clustered, but left out of the scores "
                "against labels."
            )
    else:
        notes.append("No labels stored, so only scores that need none.")
    if clusters.noise:
        metrics.setdefault("coverage", Metric(float((clusters.labels >= 0).mean()), note="of all rows"))
    metrics |= internal_scores(prepared, clusters.labels, seed=options.seed)
    metrics |= clusters.metrics
    left_out = {"failed": n_failed, "unlabelled": int((~labelled).sum())}
    result = Result(
        task="cluster",
        dataset=file.dataset_name,
        features=file.features_name,
        method=options.method,
        params={**clusters.settings, **preparation, "left_out": left_out, **outcomes},
        split="none",
        seed=options.seed,
        metrics=metrics,
        n=int(labelled.sum()) if labelled.any() else len(index),
        seconds=seconds,
        backend=clusters.backend,
        provenance=result_provenance(file),
    )
    return ClusterRun(result, index, clusters, scores, tuple(notes))


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


def _read(file: FeatureFile, index: NDArray[np.int64]) -> NDArray[np.float32]:
    x = np.empty((len(index), file.d), dtype=np.float32)
    bad: list[int] = []
    done = 0
    with progress("reading features", file.n, unit="rows") as advance:
        for where, block in file.blocks():
            kept = block[file.ok[where]]
            x[done : done + len(kept)] = kept
            bad += (done + np.flatnonzero(~np.isfinite(kept).all(axis=1))).tolist()
            done += len(kept)
            advance(where.stop - where.start)
    if bad:
        overflow = " (float16 overflows above 65,504)" if np.isinf(x[bad]).any() else ""
        raise DataError(
            f"{len(bad):,} of {len(index):,} rows hold NaN or infinity{overflow}, the first of them "
            f"{str(file.rows.ids[index[bad[0]]])!r}. Extract again with --precision fp32."
        )
    return x


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


def _write(file: FeatureFile, run: ClusterRun, options: ClusterOptions, output: Path) -> ClusterRun:
    """Write the assignments, then the result that names them."""
    # A name for each combination of features and settings: another k never overwrites what a line refers to.
    settings = json.dumps([file.sha256, run.result.params, asdict(options)], sort_keys=True, default=str)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    path = output / f"{file.path.stem}-cluster-{options.method}-seed{options.seed}-{digest}.csv"
    ids, clusters = file.rows.ids[run.index], run.clusters
    output.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            with_probability = clusters.probability is not None
            writer.writerow(["id", "cluster", "distance", *["probability"] * with_probability])
            for i, name in enumerate(ids):
                distance = clusters.distance[i]
                line = [name, clusters.labels[i], "" if np.isnan(distance) else f"{distance:.6g}"]
                if clusters.probability is not None:
                    line.append(f"{clusters.probability[i]:.6g}")
                writer.writerow(line)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    result = replace(run.result, provenance={**run.result.provenance, "assignments": path.name})
    append_result(output / RESULTS_FILE, result)
    return replace(run, result=result, assignments_path=path)


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit cluster``."""
    parser.add_argument("features", help="a feature file from `embedkit extract`")
    parser.add_argument("--method", choices=METHOD_NAMES, default="kmeans", help="which method")
    parser.add_argument(
        "--pca",
        type=_pca,
        default=0.95,
        metavar="0.95|64|none",
        help="reduce first: a fraction of the variance, a number of components, or none",
    )
    parser.add_argument("--seed", type=int, default=0, help="of restarts, resamples and permutations")
    parser.add_argument("-k", type=int, help="kmeans: clusters (default: the number of classes present)")
    parser.add_argument("--n-init", type=int, metavar="N", help="kmeans: restarts (default: 10)")
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
    parser.add_argument("-o", "--output", default=OUTPUT, help="folder for results.jsonl and assignments")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    return _run


def _pca(text: str) -> float | int | None:
    if text.lower() == "none":
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give a fraction of the variance such as 0.95, a number of components such as 64, "
            "or none"
        ) from None


def _run(args: argparse.Namespace) -> None:
    options = ClusterOptions(**{field.name: getattr(args, field.name) for field in fields(ClusterOptions)})
    run = cluster(args.features, options, output=args.output)
    for line in run.notes:
        note(line)
    if args.json:
        document = json.loads(run.result.to_json())
        document["notes"] = list(run.notes)
        print_json(document)
    else:
        _print(run)
    note(f"Result in {Path(args.output) / RESULTS_FILE}, assignments in {run.assignments_path}.")


_TITLES = {
    "accuracy": "matched accuracy",
    "accuracy_without_noise": "  noise left out",
    "balanced_accuracy": "balanced accuracy",
    "nmi": "NMI",
    "ari": "ARI",
    "ami": "AMI",
    "roc_auc": "ROC AUC",
    "null_accuracy": "chance: permuted labels",
    "majority_accuracy": "chance: largest class",
    "calinski_harabasz": "Calinski-Harabasz",
    "davies_bouldin_loss": "Davies-Bouldin",
}
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
        table.add_row(Text(_TITLES.get(name, name)), *_metric_cells(metric), Text(metric.note or ""))
    print_table(table)
    print()
    if run.scores is not None:
        print_table(_confusion_table(run))
        print()
    print_table(_size_table(run))


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
        table.add_row(Text(name), *cells, f"{counts[i] / sum(counts):.3f}")
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

    def add(name: str, size: int, meaning: str = "") -> None:
        table.add_row(
            name, f"{size:,}", f"{100 * size / n:.1f} %", *([Text(meaning)] if matching is not None else [])
        )

    order = np.argsort(-sizes, kind="stable")
    for c in order[:_MOST_SIZES]:
        add(str(c), int(sizes[c]), (matching or {}).get(str(c), "no class"))
    if len(order) > _MOST_SIZES:
        add(f"{len(order) - _MOST_SIZES} more", int(sizes[order[_MOST_SIZES:]].sum()))
    if run.clusters.noise:
        add("noise", int((run.clusters.labels < 0).sum()))
    return table


def _metric_cells(metric: Metric) -> tuple[str, str]:
    if metric.value is None:
        return "-", ""
    digits = 3 if abs(metric.value) < 100 else 0
    if metric.low is None or metric.high is None:
        return f"{metric.value:,.{digits}f}", ""
    return f"{metric.value:,.{digits}f}", f"{metric.low:.3f} to {metric.high:.3f}"
