"""Why a clustering scores as it does: checks on its own features, labels and images, told in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from clustering.checks.clusters import check_matching, check_sizes
from clustering.checks.features import check_features
from clustering.checks.findings import Diagnosis, Finding
from clustering.checks.image_statistics import ImageStatistics
from clustering.checks.labels import check_labels, check_structure
from clustering.checks.nuisance import check_nuisance
from clustering.checks.sample import take_sample
from clustering.matching import I64
from embedkit.errors import DataError
from embedkit.preparing.matrix import check_finite


def explain(
    x: ArrayLike,
    labels: I64 | None,
    clusters: I64,
    *,
    class_names: Sequence[str] | None = None,
    image_statistics: ImageStatistics | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Say why clusters agree with labels as little, or as much, as they do.

    Six checks: ``features`` (collapsed or constant), ``labels`` (not those of the rows), ``sizes`` (one
    dominant cluster, or noise), ``matching`` (k against the classes that have rows), ``nuisance`` (clusters
    follow brightness, background, size or orientation) and ``structure`` (how much of the classes the
    features hold at all). All but ``sizes`` and ``matching`` look at a sample of at most 5,000 rows.

    Parameters
    ----------
    x : (n, d)
        Features as they were extracted, before any preparation.
    labels : (n,) int64, optional
        Class of each row, -1 where it has none.
    clusters : (n,) int64
        Cluster of each row, -1 for noise.
    class_names
        Names of all classes, those without rows included.
    image_statistics
        Of the n images as the backbone saw them (cropped), NaN where one was not measured; see
        `clustering.checks.image_statistics`. The check of ``nuisance`` needs them.
    seed
        Of the sample and of permutations.

    Raises
    ------
    DataError
        NaN, fewer than three rows, or arrays that don't fit each other.
    """
    points = np.asarray(x)
    clusters = np.asarray(clusters)
    if points.ndim != 2 or len(points) < 3:
        raise DataError(f"features of shape {points.shape}; a diagnosis needs at least 3 rows of (n, d).")
    check_finite(points)
    n = len(points)
    labels = np.full(n, -1) if labels is None else np.asarray(labels)
    of_images = n if image_statistics is None else len(image_statistics)
    if not (labels.shape == clusters.shape == (n,) and of_images == n):
        raise DataError(
            f"{n} rows of features, {len(labels)} labels, {len(clusters)} clusters and statistics of "
            f"{of_images} images don't fit."
        )
    names = tuple(class_names or (f"class {i}" for i in range(int(labels.max()) + 1)))
    if labels.max() >= len(names):
        raise DataError(f"label {labels.max()} is outside the {len(names)} classes.")
    sample = take_sample(points, labels, np.random.default_rng(seed))

    nuisance = check_nuisance(sample, labels, clusters, image_statistics)
    features = check_features(sample, nuisance)
    collapsed = features.verdict == "cause"
    alignment = check_labels(sample, collapsed=collapsed, seed=seed)
    if collapsed or alignment.verdict == "cause":
        nuisance = _follows_from(nuisance, "the features" if collapsed else "the labels")
    sizes = check_sizes(labels, clusters)
    matching = check_matching(labels, clusters, names)
    if collapsed:
        sizes, matching = (_follows_from(finding, "the features") for finding in (sizes, matching))
    elif sizes.verdict == "cause":
        matching = _follows_from(matching, "the sizes")
    findings = [alignment, features, sizes, matching, nuisance]
    healthy = not any(finding.verdict == "cause" for finding in findings)
    findings.append(check_structure(sample, labels, clusters, healthy=healthy))
    rank = {"cause": 0, "note": 1, "fine": 2, "not checked": 3}
    return Diagnosis(tuple(sorted(findings, key=lambda finding: rank[finding.verdict])))


def _follows_from(finding: Finding, cause: str) -> Finding:
    """Take a cause back where a deeper one explains it."""
    if finding.verdict != "cause":
        return finding
    text = f"{finding.sentence} With {cause} as they are this says little by itself."
    return Finding(finding.name, "note", finding.evidence, text)
