"""Groups that are of two kinds, cut in two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clustering.kmeans.kmeans import KMeans
from clustering.matching import I64
from clustering.methods import Model
from clustering.model_file import SavedModel
from embedkit.errors import EmbedkitError, UsageError, listed

MIXED = "mixed"


def asked_groups(words: Sequence[str], n_groups: int, mixed: I64) -> list[int]:
    """Return the numbers of the groups to cut, rising; ``mixed`` stands for all that are of two kinds.

    Raises
    ------
    UsageError
        A word that is no number of a group.
    """
    wanted: set[int] = set()
    for word in words:
        if word == MIXED:
            wanted |= set(mixed.tolist())
        elif word.isdecimal() and int(word) < n_groups:
            wanted.add(int(word))
        else:
            raise UsageError(
                f"--cut {word}: no such group. Give {MIXED}, or numbers from 0 to {n_groups - 1}, as in 3,7."
            )
    return sorted(wanted)


def cut(saved: SavedModel, x: NDArray[Any], clusters: I64, groups: Sequence[int], *, seed: int) -> SavedModel:
    """Return the clustering with each of some groups in two, by k-means among its rows.

    The larger half keeps the group's number, the smaller one is counted on from the last group. Rows go to
    the nearest centre as before, so that a few on a border may change to a half that came nearer to them.

    Parameters
    ----------
    saved
        A clustering whose rows go to the nearest centre.
    x : (n, d)
        Rows, prepared.
    clusters : (n,) int64
        Their groups.
    groups
        Which to cut.
    seed
        Of where the halves start from.

    Raises
    ------
    EmbedkitError
        Another method, or a group without two different rows.
    """
    estimator = saved.model.estimator
    if not isinstance(estimator, KMeans) or saved.model.reducer is not None:
        raise EmbedkitError(
            f"--cut cuts groups of k-means, whose rows go to the nearest centre, and this is {saved.method}. "
            "Cluster with --method kmeans, or with a larger -k."
        )
    centers = estimator.cluster_centers_.astype(np.float64)
    added = []
    for group in groups:
        rows = x[clusters == group]
        if len(rows) < 2 or not (np.ptp(rows, axis=0) > 0).any():
            raise EmbedkitError(
                f"--cut {group}: {len(rows):,} image{'s' * (len(rows) != 1)} of this file in it, and no two "
                "that differ. Leave it out."
            )
        halves = KMeans(2, spherical=estimator.spherical, random_state=seed).fit(rows)
        centers[group] = halves.cluster_centers_[0]
        added.append(halves.cluster_centers_[1])
    centers = np.concatenate([centers, np.array(added).reshape(len(added), -1)])
    frame = estimator.state()
    inside = (centers - frame["shift"]) / frame["scale"]
    finer = KMeans.from_state(frame | {"centers": np.ascontiguousarray(inside, dtype=np.float32)})
    before = [int(n) for n in saved.settings.get("cut", ())]
    settings: dict[str, Any] = {**saved.settings, "k": len(centers), "cut": [*before, *map(int, groups)]}
    # What was matched to classes was the whole group.
    classes = {cluster: name for cluster, name in saved.classes.items() if cluster not in groups}
    return replace(saved, model=Model(finer, centers), settings=settings, classes=classes)


def said(groups: Sequence[int], n_before: int) -> str:
    """Return a sentence on which groups were cut, and the numbers of what came of them."""
    if not groups:
        return "No group is of two kinds by its distances, so none is cut."
    pairs = [f"{group} into {group} and {n_before + i}" for i, group in enumerate(groups)]
    return f"Cut in two: group{'s' * (len(groups) > 1)} {listed(pairs, most=10)}."
