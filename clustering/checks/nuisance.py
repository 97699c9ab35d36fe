"""Do clusters follow what the images look like rather than what they show?"""

from __future__ import annotations

from typing import Any

import numpy as np

from clustering.checks.findings import Finding
from clustering.checks.image_statistics import ImageStatistics
from clustering.checks.sample import F64, N_LEADING, Sample
from clustering.matching import I64, match_clusters

# Clusters follow a statistic of the images that explains this part of what the classes leave open.
FOLLOWS = 0.15
# Clusters this pure may follow what they like: they divide classes, and don't mix them.
PURE = 0.8

ADVICE = {
    "brightness": "Whiten by what views of one image differ in: `--prep view-whiten`, on features extracted "
    "with `--views galaxy:12`.",
    "background": "Crop closer to the object (`--center-crop`), or whiten by views: `--prep view-whiten`, on "
    "features extracted with `--views galaxy:12`.",
    "size": "Crop in proportion to the object, or whiten by views: `--prep view-whiten`, on features "
    "extracted with `--views galaxy:12`.",
    "orientation": "Whiten by what views of one image differ in: `--prep view-whiten`, on features extracted "
    "with `--views galaxy:12`; their mean alone helps.",
}


def check_nuisance(sample: Sample, labels: I64, clusters: I64, statistics: ImageStatistics | None) -> Finding:
    """Compare what clusters and classes explain of brightness, background, size and orientation."""
    if statistics is None:
        text = "Whether clusters follow brightness, size or orientation needs the images."
        return Finding("nuisance", "not checked", {}, text)
    rows = sample.rows[clusters[sample.rows] >= 0]
    if len(np.unique(clusters[rows])) < 2:
        return Finding("nuisance", "not checked", {}, "Fewer than two clusters.")
    with_labels = sample.agreement is not None
    values = sample.values[:N_LEADING]
    scores = sample.scores[:, :N_LEADING]
    of_sample, of_rows = statistics.take(sample.rows).columns, statistics.take(rows).columns
    in_components: dict[str, list[float]] = {}
    evidence: dict[str, Any] = {"n": len(rows), "component_variance": values.tolist()}
    follows: dict[str, dict[str, float]] = {}
    cells = labels[rows] * (int(clusters.max()) + 1) + clusters[rows]
    for name, column in of_rows.items():
        in_components[name] = [_r_squared(score, of_sample[name]) for score in scores.T]
        by_cluster = eta_squared(column, clusters[rows])
        follows[name] = {"eta2_clusters": by_cluster, "beyond_classes": by_cluster}
        if with_labels:
            by_class = eta_squared(column, labels[rows])
            beyond = (eta_squared(column, cells) - by_class) / (1 - by_class) if by_class < 1 else 0.0
            follows[name] |= {"eta2_classes": by_class, "beyond_classes": max(0.0, beyond)}
    evidence["component_r2"] = in_components
    evidence["first_component"] = {name: r2[0] for name, r2 in in_components.items()}
    evidence["follows"] = follows
    # Of two that are all explained, the one that clusters explain more of over all images.
    ranked = {name: (round(one["beyond_classes"], 6), one["eta2_clusters"]) for name, one in follows.items()}
    worst = max(ranked, key=lambda name: ranked[name])
    strongest = {name: int(np.argmax(r2)) for name, r2 in in_components.items()}
    i = strongest[worst]
    share = float(values[i] / sample.values.sum()) if sample.values.sum() > 0 else 0.0
    found = follows[worst]
    component = (
        f"It explains {100 * in_components[worst][i]:.0f} % of component {i + 1}, which holds "
        f"{100 * share:.0f} % of the variance."
    )
    also = [n for n in follows if n != worst and follows[n]["beyond_classes"] >= FOLLOWS]
    more = f" They follow {' and '.join(also)} too." if also else ""
    evidence["worst"] = worst
    if found["beyond_classes"] < FOLLOWS:
        text = (
            f"Clusters don't follow brightness, background, size or orientation beyond what the classes do: "
            f"most of all the {worst}, of which they explain {100 * found['beyond_classes']:.0f} % more."
            if with_labels
            else f"Clusters follow neither brightness, background, size nor orientation: most of all the "
            f"{worst}, with eta^2 {found['eta2_clusters']:.2f}."
        )
        return Finding("nuisance", "fine", evidence, text)
    if not with_labels:
        text = (
            f"Clusters follow the images' {worst}: they explain {100 * found['eta2_clusters']:.0f} % of its "
            f"variance.{more} {component} Without labels it cannot be told whether that is wanted. If not: "
            f"{ADVICE[worst]}"
        )
        return Finding("nuisance", "note", evidence, text)
    purity = _purity(labels[rows], clusters[rows])
    evidence["purity"] = purity
    text = (
        f"Clusters follow the images' {worst} rather than the class: they explain "
        f"{100 * found['eta2_clusters']:.0f} % of its variance and the classes "
        f"{100 * found['eta2_classes']:.0f} %.{more} {component} {ADVICE[worst]}"
    )
    if found["eta2_clusters"] < found["eta2_classes"]:
        text = (
            f"Within the classes, clusters follow the images' {worst}: they explain "
            f"{100 * found['beyond_classes']:.0f} % of what the classes leave open of it. Over all images "
            f"the classes explain more ({100 * found['eta2_classes']:.0f} %) than the clusters "
            f"({100 * found['eta2_clusters']:.0f} %)."
        )
        return Finding("nuisance", "note", evidence, text)
    if purity >= PURE:
        text = (
            f"Clusters divide the classes by {worst} (they explain {100 * found['eta2_clusters']:.0f} % of "
            f"its variance, the classes {100 * found['eta2_classes']:.0f} %), but {100 * purity:.0f} % of "
            "the rows are of the class that is commonest in their cluster."
        )
        return Finding("nuisance", "note", evidence, text)
    return Finding("nuisance", "cause", evidence, text)


def eta_squared(values: F64, groups: I64) -> float:
    """Return the part of the variance of `values` (n, q) that lies between groups, corrected for chance.

    Kelley's epsilon squared: 0 on average for groups that have nothing to do with the values, 1 where every
    group has one value. Columns add up in their own units. Rows with NaN are left out.
    """
    known = np.isfinite(values).all(axis=1)
    values, groups = values[known], groups[known]
    _, index = np.unique(groups, return_inverse=True)
    n, k = len(values), int(index.max(initial=-1)) + 1
    if n <= k or k < 2:
        return 0.0
    centred = values - values.mean(axis=0)
    total = float(np.square(centred).sum())
    if total <= 0:
        return 0.0
    sums = np.stack([np.bincount(index, weights=column) for column in centred.T], axis=1)
    between = float((np.square(sums).sum(axis=1) / np.bincount(index)).sum())
    return max(0.0, 1 - (1 - between / total) * (n - 1) / (n - k))


def _r_squared(y: F64, columns: F64) -> float:
    """Part of the variance of `y` (n,) that a linear function of `columns` (n, q) explains."""
    known = np.isfinite(columns).all(axis=1)
    y, columns = y[known], columns[known]
    if len(y) < 3 or y.var() <= 0:
        return 0.0
    design = np.column_stack([np.ones(len(y)), columns])
    fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(max(0.0, 1 - np.square(y - fitted).sum() / np.square(y - y.mean()).sum()))


def _purity(labels: I64, clusters: I64) -> float:
    counts = match_clusters(labels, clusters).counts
    return float(counts.max(axis=0).sum() / counts.sum())
