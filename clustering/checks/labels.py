"""Are the labels those of the rows, and what do the features hold of them?"""

from __future__ import annotations

from typing import Any

import numpy as np

from clustering.checks.findings import Finding
from clustering.checks.sample import CHANCE, STRONG, STRUCTURE, WEAK, Sample, label_agreement, vote
from clustering.matching import I64, match_clusters

N_PERMUTATIONS = 50
# Where the neighbours name the class of so many rows more than the clusters do, the method misses something.
MISSED = 0.1


def check_labels(sample: Sample, *, collapsed: bool, seed: int) -> Finding:
    """Ask whether near rows share their label more often than by chance."""
    if sample.agreement is None:
        return Finding("labels", "not checked", {}, "Fewer than two classes have labelled rows.")
    labels, rows, neighbours = sample.labels, sample.rows, sample.neighbours
    own, near = labels[rows], labels[neighbours]
    accuracy = vote(own, near)
    rng = np.random.default_rng(seed)
    shuffled = np.empty_like(labels)
    null = np.empty(N_PERMUTATIONS)
    for i in range(N_PERMUTATIONS):
        shuffled[rows] = rng.permutation(own)
        null[i] = vote(shuffled[rows], shuffled[neighbours])
    low, high = np.quantile(null, [0.025, 0.975])
    evidence: dict[str, Any] = {
        "knn_accuracy": accuracy,
        "null_accuracy": float(null.mean()),
        "null_range": (float(low), float(high)),
        "neighbor_agreement": sample.agreement,
        "near": sample.near,
        "n": len(rows),
    }
    said = (
        f"a vote of the {neighbours.shape[1]} nearest rows names the class of {accuracy:.3f} of them, and "
        f"{null.mean():.3f} with permuted labels"
    )
    if sample.agreement >= CHANCE:
        return Finding("labels", "fine", evidence, f"Labels belong to their rows: {said}.")
    if collapsed or sample.near > 1 - STRUCTURE:
        why = "collapsed features" if collapsed else "features without structure of their own"
        text = f"Neighbours say nothing of the class ({said}), as with {why} whatever the labels."
        return Finding("labels", "note", evidence, text)
    orders = {f"shifted by {s:+d}": np.roll(labels, s) for s in (-2, -1, 1, 2)} | {"reversed": labels[::-1]}
    found = {order: label_agreement(other, rows, neighbours) for order, other in orders.items()}
    best = max(found, key=lambda order: found[order])
    evidence |= {"other_orders": found}
    if found[best] > WEAK:
        advice = (
            f"With the labels {best} rows their agreement is {found[best]:.2f} instead of "
            f"{sample.agreement:.2f}: the two files are out of step. "
        ).replace("reversed rows", "in reverse order")
    else:
        advice = ""
    text = (
        f"The labels don't seem to be those of the rows: {said}, although the features have structure "
        f"(neighbours are {100 * (1 - sample.near):.0f} % nearer than chance has them). {advice}Check "
        "--label-column and that labels and images stand in one order. If they do, these features hold "
        "nothing of these classes."
    )
    return Finding("labels", "cause", evidence, text)


def check_structure(sample: Sample, labels: I64, clusters: I64, *, healthy: bool) -> Finding:
    """Say how much of the classes the neighbours show, against what the clusters got."""
    nearer = f"neighbours are {100 * max(0.0, 1 - sample.near):.0f} % nearer than among shuffled components"
    agreement = sample.agreement
    if agreement is None:
        kind = "has structure" if sample.near < 1 - STRUCTURE else "has hardly any structure"
        text = f"The file {kind} of its own: {nearer}."
        return Finding("structure", "fine", {"near": sample.near}, text)
    known = labels >= 0
    matching = match_clusters(labels[known], clusters[known])
    accuracy = matching.n_correct / matching.n
    knn = vote(labels[sample.rows], labels[sample.neighbours])
    kind = "weak" if agreement < WEAK else "strong" if agreement >= STRONG else "moderate"
    evidence = {
        "kind": kind,
        "neighbor_agreement": agreement,
        "near": sample.near,
        "knn_accuracy": knn,
        "accuracy": accuracy,
    }
    text = (
        f"What the features hold of the classes is {kind}: the agreement between neighbours, corrected for "
        f"chance, is {agreement:.2f}. The {sample.neighbours.shape[1]} nearest rows name the class of "
        f"{knn:.3f} of the rows, and the clusters of {accuracy:.3f}."
    )
    if healthy and kind == "weak":
        text += " Nothing is wrong with the file: another backbone, layer or crop may hold more."
    elif healthy and knn - accuracy > MISSED:
        text += (
            " Nothing is wrong with the file: this method misses what the neighbours show. Try another "
            "preparation or method (`--method all`)."
        )
    elif healthy:
        text += " Nothing is wrong."
    return Finding("structure", "fine", evidence, text)
