"""Each clustering's clusters: the images that are nearest to their centres, and on request all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files.results import Result
from reports.map.columns import Category
from reports.map.content import Page
from reports.map.evidence import UNASSIGNED, Clustering
from reports.map.packing import pack_rows
from reports.map.section import Section
from reports.map.sections.traits import Border, borders, traits

GALLERY_SIZE = 12


def section(page: Page) -> Section | None:
    """Return a gallery for each clustering; a class's share is of the labelled images."""
    galleries = [_gallery(clustering, page) for clustering in page.clusterings]
    return Section("clusters", "Clusters", "Clusters", galleries) if galleries else None


def all_rows(clustering: Clustering) -> dict[int, NDArray[np.int64]]:
    """Return the rows of each cluster, those nearest to its centre first; noise is cluster -1.

    Without distances the most probable come first, else the first in the file's order.
    """
    key = np.zeros(len(clustering.cluster), np.float32)
    if clustering.distance is not None:
        key = np.nan_to_num(clustering.distance, nan=np.inf)
    elif clustering.probability is not None:
        key = np.nan_to_num(-clustering.probability, nan=np.inf)
    order = np.lexsort((np.arange(len(key)), key, clustering.cluster))
    order = order[clustering.cluster[order] > UNASSIGNED]
    numbers, starts = np.unique(clustering.cluster[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:]), strict=True)) if len(order) else {}


def central_rows(clustering: Clustering) -> dict[int, list[int]]:
    """Return the first 12 at most of `all_rows`."""
    return {number: rows[:GALLERY_SIZE].tolist() for number, rows in all_rows(clustering).items()}


def _gallery(clustering: Clustering, page: Page) -> dict[str, Any]:
    label = next((c for c in page.columns if c.key == "label" and isinstance(c, Category)), None)
    apart = traits(clustering.cluster, page.columns)
    # Beside in the features that were clustered, which may be those of another file.
    near = next((one.neighbours for one in page.linked if one.name == clustering.of), page.neighbours)
    ends = borders(clustering.cluster, near.index, GALLERY_SIZE)
    clusters: list[dict[str, Any]] = []
    everything = all_rows(clustering)
    for number in everything:
        inside = clustering.cluster == number
        classes: list[tuple[str, float]] = []
        labelled = 0
        if label is not None:
            codes = label.codes[inside]
            counts = np.bincount(codes[codes >= 0], minlength=len(label.names))
            labelled = int(counts.sum())
            largest = np.argsort(-counts, kind="stable")[:3]
            classes = [(label.names[c], counts[c] / labelled) for c in largest if counts[c]]
        end = ends.get(number, Border([], []))
        clusters.append(
            {
                "name": clustering.name(number),
                "size": int(inside.sum()),
                "labelled": labelled,
                "classes": classes,
                "rows": everything[number],
                "stability": _stability(clustering.result, number),
                "apart": [one.words for one in apart.get(number, ())],
                "beside": [(_plain(other), share) for other, share in end.beside],
                "border": end.rows,
            }
        )
    clusters.sort(key=lambda cluster: (cluster["name"] == "noise", -cluster["size"]))
    by, first = "nearest to its centre first", "the images nearest to its centre"
    if clustering.distance is None:
        by, first = "the surest first", "the images that most surely belong to it"
        if clustering.probability is None:
            by, first = "in the order of the file", "the first images of the file"
    order = f"The largest first; in each, {first}."
    if any(apart.values()):
        order += (
            " What sets one apart is held against all other images; chance alone would name anything on one "
            "of a hundred such pages."
        )
    rows = np.concatenate([cluster.pop("rows") for cluster in clusters])
    return {
        "title": clustering.title,
        "clusters": clusters,
        "order": order,
        # Of one cluster after the other, each as long as its size says.
        "rows": pack_rows(rows, len(clustering.cluster)),
        "shown": GALLERY_SIZE,
        "by": by,
    }


def _stability(result: Result, number: int) -> str:
    """Say how alike a cluster was found again in resamples; nothing where that was not asked."""
    found = result.outcomes.get("stability")
    similarity = found.get("similarity") if isinstance(found, Mapping) else None
    if not isinstance(similarity, (list, tuple)) or not 0 <= number < len(similarity):
        return ""
    value = similarity[number]
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        return ""
    return f"found again in resamples: Jaccard {value:.2f}"


def _plain(number: int) -> str:
    return "noise" if number == -1 else f"cluster {number}"
