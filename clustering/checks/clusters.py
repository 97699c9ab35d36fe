"""Are the clusters of sensible sizes, and as many as there are classes?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clustering.checks.findings import Finding
from clustering.matching import I64, Matching, match_clusters

# One cluster dominates with this share of the clustered rows, if no class is nearly so large.
DOMINANT, MARGIN = 0.8, 0.1
MOSTLY_NOISE = 0.5
# So large a part of the rows may not pay for a wrong number of clusters.
LOST = 0.1


def check_sizes(labels: I64, clusters: I64) -> Finding:
    """Look for one dominant cluster, or mostly noise."""
    n = len(clusters)
    inside = clusters[clusters >= 0]
    sizes = np.sort(np.unique(inside, return_counts=True)[1])[::-1]
    noise = 1 - len(inside) / n
    k = len(sizes)
    known = labels[labels >= 0]
    largest_class = float(np.bincount(known).max() / len(known)) if len(known) else None
    share = float(sizes[0] / len(inside)) if k else 0.0
    evidence = {
        "n_clusters": k,
        "largest_share": share,
        "largest_class_share": largest_class,
        "smallest": int(sizes[-1]) if k else 0,
        "noise_share": noise,
    }
    if k == 0:
        text = "Every row is noise. Smaller --min-cluster-size and --min-samples make less of it."
        return Finding("sizes", "cause", evidence, text)
    if k == 1 or (share >= DOMINANT and share > (largest_class or 0) + MARGIN):
        against = (
            "" if largest_class is None else f", while the largest class has {100 * largest_class:.0f} %"
        )
        rest = len(inside) - int(sizes[0])
        others = (
            f"The other {k - 1} share {rest:,} rows, the smallest has {sizes[-1]:,}: often outliers."
            if rest
            else "There is no other."
        )
        text = (
            f"One cluster holds {100 * share:.1f} % of the clustered rows{against}. {others} Look at the "
            "images of the small clusters and leave out what is none, scale rows to one length "
            "(`--prep l2+pca95`), or take another method."
        )
        return Finding("sizes", "cause", evidence, text)
    if noise >= MOSTLY_NOISE:
        text = (
            f"{100 * noise:.0f} % of the rows are noise, and count as wrong. Smaller --min-samples, or "
            "`--target-noise 0.2`, make less of it."
        )
        return Finding("sizes", "cause", evidence, text)
    text = f"No cluster dominates: the largest of {k} holds {100 * share:.0f} % of the clustered rows."
    return Finding("sizes", "fine", evidence, text)


def check_matching(labels: I64, clusters: I64, names: Sequence[str]) -> Finding:
    """Compare the number of clusters with that of the classes that have rows."""
    known = labels >= 0
    if not known.any():
        return Finding("matching", "not checked", {}, "No labels to match clusters with.")
    matching = match_clusters(labels[known], clusters[known], n_classes=len(names))
    present = np.bincount(labels[known], minlength=len(names)) > 0
    k, c = len(np.unique(clusters[clusters >= 0])), int(present.sum())
    absent = [names[int(i)] for i in np.flatnonzero(~present)]
    n = matching.n
    spare = _rows_without_class(matching) / n
    without = np.setdiff1d(np.flatnonzero(present), matching.classes)
    unmatched = [names[int(i)] for i in without]
    lost = float(np.isin(labels[known], without).mean())
    evidence = {
        "n_clusters": k,
        "n_classes": len(names),
        "n_classes_present": c,
        "absent_classes": absent,
        "classes_without_cluster": unmatched,
        "rows_in_clusters_without_class": spare,
        "rows_of_classes_without_cluster": lost,
        "accuracy": matching.n_correct / n,
        "accuracy_many_to_one": float(matching.counts.max(axis=0, initial=0).sum() / n),
    }
    missing = (
        f"{len(absent)} of the {len(names)} classes ({', '.join(absent)}) "
        f"{'has' if len(absent) == 1 else 'have'} no rows. "
        if absent
        else ""
    )
    if k > c and spare >= LOST:
        text = (
            f"{missing}{k} clusters stand against {c} classes with rows, so that {k - c} of them can stand "
            f"for none: {100 * spare:.0f} % of the rows lie there and count as wrong, whatever they are. "
            f"One to one {evidence['accuracy']:.3f} are right, {evidence['accuracy_many_to_one']:.3f} "
            f"if several clusters may stand for one class. Give -k {c}, or report the many-to-one score by "
            "its name."
        )
        return Finding("matching", "cause", evidence, text)
    if k < c and lost >= LOST and k > 0:
        text = (
            f"{missing}{k} clusters stand against {c} classes with rows: {', '.join(unmatched)} cannot have "
            f"one, and their {100 * lost:.0f} % of the rows count as wrong. Give -k {c}."
        )
        return Finding("matching", "cause", evidence, text)
    if absent or k != c:
        text = f"{missing}{k} clusters are matched with {c} classes, which costs few rows here."
        return Finding("matching", "note", evidence, text)
    return Finding("matching", "fine", evidence, f"As many clusters as classes with rows: {k}.")


def _rows_without_class(matching: Matching) -> int:
    return int(matching.counts[:, matching.classes < 0].sum())
