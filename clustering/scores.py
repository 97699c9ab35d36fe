"""What a clustering is worth: against labels, against chance, and by itself.

Every score against labels but the ROC AUC depends only on the table of counts (class x cluster), so that
resamples of the images are draws of tables: multinomial for the bootstrap, of fixed margins for permuted
labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from sklearn.metrics import silhouette_samples
from sklearn.metrics.cluster import expected_mutual_information

from clustering.compactness import compactness
from clustering.counts import Tables
from clustering.matching import I64, Matching, match_clusters
from clustering.resamples import bootstrap_tables, permuted_tables
from embedkit.errors import DataError
from embedkit.files.results import Metric
from embedkit.scoring.class_scores import roc_auc
from embedkit.scoring.metrics import Z95, estimate

F64 = NDArray[np.float64]
N_BOOTSTRAP = 1000
N_PERMUTATIONS = 200
N_SILHOUETTE = 5000
WITH_BOOTSTRAP = (
    "accuracy",
    "balanced_accuracy",
    "many_to_one_accuracy",
    "purity",
    "nmi",
    "homogeneity",
    "completeness",
    "v_measure",
    "ari",
    "ami",
)
NO_SOFT = "no soft assignment: the method has none, or it would be too large"


@dataclass(frozen=True)
class LabelledScores:
    """What labels say of a clustering.

    Parameters
    ----------
    metrics
        ``accuracy`` (noise and unmatched clusters count as wrong), ``balanced_accuracy`` (mean recall over
        the classes present), ``many_to_one_accuracy`` (every cluster stands for its commonest class; noise
        counts as wrong), ``purity`` (the same of the clustered rows alone), ``nmi``, ``homogeneity``,
        ``completeness``, ``v_measure``, ``ari``, ``ami`` (noise as one cluster of its own), ``roc_auc``,
        ``null_accuracy``, ``null_many_to_one_accuracy``, ``majority_accuracy`` and, where rows may be noise,
        ``coverage`` and ``accuracy_without_noise``.
    matching
        Which class each cluster stands for.
    """

    metrics: dict[str, Metric]
    matching: Matching


def labelled_scores(
    labels: I64,
    clusters: I64,
    *,
    n_classes: int | None = None,
    soft: F64 | None = None,
    noise: bool = False,
    seed: int = 0,
) -> LabelledScores:
    """Score clusters against labels, with 95 % intervals and the level of chance.

    Intervals of scores of the table are from 1,000 bootstrap resamples of the images, each matched anew,
    moved by the mean of the resamples onto the score itself (a resample's score is biased upwards, because it
    fits its own noise). That of the ROC AUC is the probes' own:
    see `embedkit.scoring.class_scores.roc_auc`.

    Parameters
    ----------
    labels : (n,) int64
        Class of each row, at least 0: leave unlabelled rows out.
    clusters : (n,) int64
        Cluster of each row, -1 for noise.
    n_classes
        c; by default the largest label plus one.
    soft : (n, k) float64, optional
        How much each row belongs to each of the clusters, in the order of their numbers; for the ROC AUC.
        Its columns are the clusters 0 to k - 1.
    noise
        Whether the method may leave rows out, so that coverage is reported even if it is 1.
    seed
        Of the resamples and permutations.

    Raises
    ------
    DataError
        No rows, or labels that don't fit.
    """
    matching = match_clusters(labels, clusters, n_classes=n_classes)
    table = np.column_stack([matching.counts, matching.noise])
    present = table.sum(axis=1) > 0
    table = table[present]
    n = int(table.sum())
    rng = np.random.default_rng(seed)
    values = _table_scores(Tables.of(table[np.newaxis]))
    draws = _joined(_table_scores(tables) for tables in bootstrap_tables(table, rng, N_BOOTSTRAP))
    # The expected mutual information of one table costs as much as all else, and hardly differs between them.
    expected = float(expected_mutual_information(table[:, table.any(axis=0)], n))
    values["ami"], draws["ami"] = (_ami(scores, expected) for scores in (values, draws))
    metrics = {name: _with_interval(name, values[name][0], draws[name]) for name in WITH_BOOTSTRAP}
    if np.isnan(values["purity"][0]):
        metrics["purity"] = Metric(None, note="every labelled row is noise")
    if noise or matching.noise.any():
        inside = table[:, :-1].sum(axis=(0, 1))
        coverage = draws["inside"] / n
        metrics["coverage"] = _with_interval("coverage", inside / n, coverage)
        if inside:
            hits = draws["accuracy"] / np.where(coverage > 0, coverage, np.nan)
            metrics["accuracy_without_noise"] = _with_interval(
                "accuracy_without_noise", matching.n_correct / inside, hits
            )
        else:
            metrics["accuracy_without_noise"] = Metric(None, note="every labelled row is noise")
    metrics["roc_auc"] = _soft_auc(labels, matching, present, soft)
    metrics |= null_accuracies(table, seed=int(rng.integers(2**31)))
    metrics["majority_accuracy"] = Metric(
        float(table.sum(axis=1).max() / n), note="the largest class, which is what one giant cluster gets"
    )
    return LabelledScores(metrics, matching)


def null_accuracy(table: I64, *, seed: int = 0, n_permutations: int = N_PERMUTATIONS) -> Metric:
    """Matched accuracy of the same clusters on permuted labels; see `null_accuracies`."""
    return null_accuracies(table, seed=seed, n_permutations=n_permutations)["null_accuracy"]


def null_accuracies(table: I64, *, seed: int = 0, n_permutations: int = N_PERMUTATIONS) -> dict[str, Metric]:
    """Accuracies of the same clusters on permuted labels: mean and 95 % range of permutations.

    ``null_accuracy`` is of clusters matched one to one, ``null_many_to_one_accuracy`` of clusters that each
    stand for their commonest class: it rises with k, and so says what over-clustering gets for nothing.

    See `permuted_tables`; each is matched anew.

    Parameters
    ----------
    table : (c, k + 1) int64
        Rows of each class in each cluster; the last column is noise.
    """
    drawn = permuted_tables(table, np.random.default_rng(seed), n_permutations)
    right = _joined(
        {
            "null_accuracy": tables.matched().sum(axis=1).astype(np.float64),
            "null_many_to_one_accuracy": tables.commonest().astype(np.float64),
        }
        for tables in drawn
    )
    note = f"the same clusters on {n_permutations} permutations of the labels, each matched anew"
    shares = {name: rows / table.sum() for name, rows in right.items()}
    return {name: resampled(name, share.mean(), share, note) for name, share in shares.items()}


def internal_scores(x: NDArray[np.floating], clusters: I64, *, seed: int = 0) -> dict[str, Metric]:
    """Score clusters by their shape alone, noise left out.

    ``silhouette`` (-1 to 1, mean over a seeded sample of at most 5,000 rows, with the interval of that
    mean), ``calinski_harabasz`` (higher is better) and ``davies_bouldin_loss`` (lower is better), all in the
    space of `x` (n, d). Values are comparable only between clusterings of the same `x`.
    """
    inside = np.flatnonzero(clusters >= 0)
    k = len(np.unique(clusters[inside]))
    names = ("silhouette", "calinski_harabasz", "davies_bouldin_loss")
    if k < 2 or k >= len(inside):
        reason = f"not defined for {k} clusters of {len(inside)} rows"
        return {name: Metric(None, note=reason) for name in names}
    sample = inside
    if len(inside) > N_SILHOUETTE:
        sample = np.sort(np.random.default_rng(seed).choice(inside, N_SILHOUETTE, replace=False))
    scores: dict[str, Metric] = {}
    m, k_sample = len(sample), len(np.unique(clusters[sample]))
    if 2 <= k_sample < m:
        values = silhouette_samples(x[sample], clusters[sample]).astype(np.float64)
        half = Z95 * float(values.std(ddof=1)) / np.sqrt(m)
        mean = float(values.mean())
        rows = "all rows" if m == len(clusters) else f"{m} of {len(clusters)} rows"
        scores["silhouette"] = estimate("silhouette", mean, mean - half, mean + half, f"on {rows}")
    else:
        scores["silhouette"] = Metric(None, note=f"the sample of {m} rows holds {k_sample} clusters")
    if len(inside) < len(x):  # else no copy of all rows
        x, clusters = x[inside], clusters[inside]
    calinski, davies = compactness(x, clusters)
    scores["calinski_harabasz"], scores["davies_bouldin_loss"] = Metric(calinski), Metric(davies)
    return scores


def _soft_auc(labels: I64, matching: Matching, present: NDArray[np.bool_], soft: F64 | None) -> Metric:
    if soft is None:
        return Metric(None, note=NO_SOFT)
    if len(soft) != len(labels) or (len(matching.clusters) and soft.shape[1] <= matching.clusters[-1]):
        raise DataError(
            f"soft assignments of shape {soft.shape} don't fit {len(labels)} rows and the clusters."
        )
    scores = np.zeros((len(labels), len(present)))
    for cluster, label in matching.mapping.items():
        scores[:, label] = soft[:, cluster]
    metric = roc_auc(labels, scores)
    n_without = int(present.sum()) - len(matching.mapping)
    if n_without and metric.value is not None:
        have = "has no cluster and counts" if n_without == 1 else "have no cluster and count"
        note = f"{n_without} of the {int(present.sum())} classes {have} 0.5"
        return Metric(metric.value, metric.low, metric.high, note)
    return metric


def _table_scores(tables: Tables) -> dict[str, F64]:
    """Scores (b,) of tables (b, c, k + 1) of which the last column is noise."""
    counts = tables.counts
    n = counts.sum(axis=1).astype(np.float64)
    rows, columns = tables.by_class(counts), tables.by_cluster(counts)
    right = tables.matched().astype(np.float64)
    recall = right / np.where(rows > 0, rows, np.nan)
    commonest, inside = tables.commonest().astype(np.float64), columns[:, :-1].sum(axis=1).astype(np.float64)

    def terms(counts: I64) -> F64:
        p = counts / n[:, np.newaxis]
        return np.asarray(xlogy(p, p))

    of_classes, of_clusters = -terms(rows).sum(axis=1), -terms(columns).sum(axis=1)
    # Over all cells: the last bit of a sum depends on the zeros between what is added.
    mutual = np.maximum(of_classes + of_clusters + tables.spread(terms(counts)).sum(axis=1), 0)
    mean_entropy = (of_classes + of_clusters) / 2

    def pairs(counts: I64) -> F64:
        return np.asarray((counts * (counts - 1.0) / 2).sum(axis=1))

    together, by_class, by_cluster, total = pairs(counts), pairs(rows), pairs(columns), n * (n - 1) / 2
    expected = by_class * by_cluster / np.where(total > 0, total, 1)
    return {
        "accuracy": right.sum(axis=1) / n,
        "balanced_accuracy": np.nanmean(recall, axis=1),
        "many_to_one_accuracy": commonest / n,
        "purity": np.where(inside > 0, commonest / np.where(inside > 0, inside, 1), np.nan),
        "nmi": _ratio(mutual, mean_entropy),
        "homogeneity": _ratio(mutual, of_classes),
        "completeness": _ratio(mutual, of_clusters),
        # Their harmonic mean, which is the same number as the NMI over the arithmetic mean of entropies.
        "v_measure": _ratio(mutual, mean_entropy),
        "ari": _ratio(together - expected, (by_class + by_cluster) / 2 - expected),
        "inside": inside,
        "mutual": mutual,
        "mean_entropy": mean_entropy,
    }


def _joined(blocks: Iterable[dict[str, F64]]) -> dict[str, F64]:
    """Join the scores of several blocks of tables."""
    found = list(blocks)
    return {name: np.concatenate([block[name] for block in found]) for name in found[0]}


def _ami(scores: dict[str, F64], expected: float) -> F64:
    return _ratio(scores["mutual"] - expected, scores["mean_entropy"] - expected)


def _ratio(numerator: F64, denominator: F64) -> F64:
    """Quotient that is 1 where both partitions are trivial and equal, as scikit-learn has it."""
    tiny = np.abs(denominator) < 1e-12
    return np.where(tiny, 1.0, numerator / np.where(tiny, 1, denominator))


def resampled(name: str, value: float, draws: F64, note: str | None = None) -> Metric:
    """Return a metric whose interval is from 2.5 to 97.5 % of its draws (b,)."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return estimate(name, value, low, high, note)


def _with_interval(name: str, value: float, draws: F64) -> Metric:
    draws = draws[np.isfinite(draws)]
    if not len(draws):
        return Metric(float(value))
    low, high = np.quantile(draws, [0.025, 0.975]) - draws.mean() + value
    return estimate(name, value, low, high)
