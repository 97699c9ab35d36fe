"""Each clustering's clusters, with the images that are nearest to their centres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embedkit.files.results import Result
from embedkit.scoring.class_scores import wilson
from reports.map.columns import Category
from reports.map.content import Page
from reports.map.evidence import Clustering
from reports.map.section import Section
from reports.map.sections.traits import Border, borders, traits

GALLERY_SIZE = 12


def section(page: Page) -> Section | None:
    """Return a gallery for each clustering; a class's share is of the labelled images."""
    galleries = [_gallery(clustering, page) for clustering in page.clusterings]
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


def _gallery(clustering: Clustering, page: Page) -> dict[str, Any]:
    label = next((c for c in page.columns if c.key == "label" and isinstance(c, Category)), None)
    apart = traits(clustering.cluster, page.columns)
    # Beside in the features that were clustered, which may be those of another file.
    near = next((one.neighbours for one in page.linked if one.name == clustering.of), page.neighbours)
    ends = borders(clustering.cluster, near.index, GALLERY_SIZE)
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
        end = ends.get(number, Border([], []))
        clusters.append(
            {
                "name": _title(clustering, number, classes, labelled),
                "size": int(inside.sum()),
                "labelled": labelled,
                "classes": classes,
                "members": members,
                "stability": _stability(clustering.result, number),
                "apart": [one.words for one in apart.get(number, ())],
                "beside": [(_plain(other), share) for other, share in end.beside],
                "border": end.rows,
            }
        )
    clusters.sort(key=lambda cluster: (cluster["name"] == "noise", -int(str(cluster["size"]))))
    order = "The largest first; in each, the images nearest to its centre."
    if clustering.distance is None:
        order = "The largest first; in each, the images that most surely belong to it."
        if clustering.probability is None:
            order = "The largest first; in each, the first images of the file."
    if any(apart.values()):
        order += (
            " What sets one apart is held against all other images; chance alone would name anything on one "
            "of a hundred such pages."
        )
    return {"title": clustering.title, "clusters": clusters, "order": order}


def _title(clustering: Clustering, number: int, classes: Sequence[tuple[str, float]], labelled: int) -> str:
    """Name a cluster by the class that it was matched to where most of it surely is, else by its number.

    Surely: the lower end of the 95 % interval of the class's share among the labelled images is above a half.
    """
    matched = clustering.matched(number)
    share = dict(classes).get(matched, 0.0)
    low = wilson(share, labelled).low
    return clustering.name(number) if matched and low is not None and low > 0.5 else _plain(number)


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
