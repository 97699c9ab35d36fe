"""Each clustering's clusters, with the images that are nearest to their centres."""

from __future__ import annotations

from typing import Any

import numpy as np

from reports.map.columns import Category
from reports.map.content import Page
from reports.map.evidence import Clustering
from reports.map.section import Section

GALLERY_SIZE = 12


def section(page: Page) -> Section | None:
    """Return a gallery for each clustering; a class's share is of the labelled images."""
    label = next((c for c in page.columns if c.key == "label" and isinstance(c, Category)), None)
    galleries = [_gallery(clustering, label) for clustering in page.clusterings]
    return Section("clusters", "Clusters", "Clusters", galleries) if galleries else None


def central_rows(clustering: Clustering) -> dict[int, list[int]]:
    """Return the rows of each cluster that are nearest to its centre, nearest first, 12 at most.

    Without distances the most probable come first, else the first in the file's order.
    """
    key = np.zeros(len(clustering.cluster), np.float32)
    if clustering.distance is not None:
        key = np.nan_to_num(clustering.distance, nan=np.inf)
    elif clustering.probability is not None:
        key = np.nan_to_num(-clustering.probability, nan=np.inf)
    found = {}
    for number in np.unique(clustering.cluster[clustering.cluster >= -1]):
        rows = np.flatnonzero(clustering.cluster == number)
        found[int(number)] = [int(row) for row in rows[np.argsort(key[rows], kind="stable")][:GALLERY_SIZE]]
    return found


def _gallery(clustering: Clustering, label: Category | None) -> dict[str, Any]:
    clusters = []
    for number, members in central_rows(clustering).items():
        inside = clustering.cluster == number
        classes: list[tuple[str, float]] = []
        labelled = 0
        if label is not None:
            codes = label.codes[inside]
            counts = np.bincount(codes[codes >= 0], minlength=len(label.names))
            labelled = int(counts.sum())
            largest = np.argsort(-counts, kind="stable")[:3]
            classes = [(label.names[c], counts[c] / labelled) for c in largest if counts[c]]
        name = clustering.name(number)
        sizes = {"size": int(inside.sum()), "labelled": labelled}
        clusters.append({"name": name, **sizes, "classes": classes, "members": members})
    clusters.sort(key=lambda cluster: (cluster["name"] == "noise", -int(str(cluster["size"]))))
    order = "The largest first; in each, the images nearest to its centre."
    if clustering.distance is None:
        order = "The largest first; in each, the images that most surely belong to it."
        if clustering.probability is None:
            order = "The largest first; in each, the first images of the file."
    return {"title": clustering.title, "clusters": clusters, "order": order}
