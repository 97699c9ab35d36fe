"""The diagnosis of one run: its features as extracted, its labels, and a sample of its images."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace

import numpy as np
from numpy.typing import NDArray

from clustering.checks.explain import explain
from clustering.checks.image_statistics import ImageStatistics, image_statistics
from clustering.report import ClusterRun
from embedkit.console import progress
from embedkit.datasets.source_images import SourceImages
from embedkit.errors import EmbedkitError
from embedkit.files.store import FeatureFile
from embedkit.files.usable_rows import read_usable

# So many images are decoded; at 5 to 9 ms each.
N_IMAGES = 2000


def diagnose(file: FeatureFile, run: ClusterRun, *, seed: int = 0) -> ClusterRun:
    """Add to a run why it scores as it does, by its features, labels and, where they are, images."""
    labels = None if file.rows.labels is None else file.rows.labels[run.index]
    statistics, note = _measure_images(file, run.index, labels, seed)
    diagnosis = explain(
        read_usable(file, run.index),
        labels,
        run.clusters.labels,
        class_names=file.rows.class_names or None,
        image_statistics=statistics,
        seed=seed,
    )
    found = [asdict(finding) for finding in diagnosis.findings]
    result = replace(run.result, outcomes={**run.result.outcomes, "diagnosis": found})
    return replace(run, result=result, diagnosis=diagnosis, notes=(*run.notes, note))


def _measure_images(
    file: FeatureFile, index: NDArray[np.int64], labels: NDArray[np.int64] | None, seed: int
) -> tuple[ImageStatistics | None, str]:
    """Measure a sample of the images behind the rows at `index`, and say of how many; None without images."""
    try:
        images = SourceImages.of(file)
    except (EmbedkitError, OSError) as error:
        return None, f"Brightness, background, size and orientation of the images are not checked: {error}"
    rows = np.arange(len(index)) if labels is None or (labels < 0).all() else np.flatnonzero(labels >= 0)
    if len(rows) > N_IMAGES:
        rows = np.sort(np.random.default_rng(seed).choice(rows, N_IMAGES, replace=False))
    table = np.full((len(index), 5), np.nan)
    n_measured = 0
    with progress("measuring images", len(rows), unit="image") as advance:
        for row in rows:
            with contextlib.suppress(EmbedkitError):
                one = image_statistics([images.pixels(int(index[row]))])
                table[row] = [one.brightness[0], one.background[0], one.size[0], *one.orientation[0]]
                n_measured += 1
            advance()
    if n_measured == 0:
        return None, f"None of the images of {images.dataset.name} can be read, so they are not checked."
    statistics = ImageStatistics(table[:, 0], table[:, 1], table[:, 2], table[:, 3:])
    return statistics, f"Measured {n_measured:,} of {len(index):,} images for the diagnosis."
