"""Lists to go through: outliers, near duplicates, labels that the neighbours disagree with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.map.columns import Category
from reports.map.evidence import Clustering
from reports.map.neighbours import Neighbours

LONGEST = 120
_ENDING = {2: "nd", 3: "rd"}  # of the few neighbours that there may be


@dataclass(frozen=True)
class Rank:
    """One list.

    Parameters
    ----------
    title, words
        What it lists, and by what.
    rows
        Row numbers, or pairs of them, the foremost first; `LONGEST` at most.
    values
        What each is listed for, in words.
    pairs
        Whether they are pairs.
    """

    title: str
    words: str
    rows: list[int] | list[list[int]]
    values: list[str]
    pairs: bool = False


def ranks(near: Neighbours, label: Category | None, clusterings: Sequence[Clustering]) -> list[Rank]:
    """Return every list that there is something to say in."""
    if not near.k:
        return []
    found = [outliers(near), duplicates(near)]
    if label is not None:
        found.append(disagreements(near, label))
    found += [_unsure(one) for one in clusterings if one.probability is not None]
    return [rank for rank in found if rank.rows]


def outliers(near: Neighbours) -> Rank:
    """List the rows whose k-th neighbour is the farthest."""
    away = near.distance[:, -1]
    order = np.argsort(-away, kind="stable")[:LONGEST]
    typical = float(np.median(away)) or 1.0
    values = [f"{away[i] / typical:.2g} times the median" for i in order]
    kth = "nearest" if near.k == 1 else f"{near.k}{_ENDING.get(near.k, 'th')} nearest"
    words = f"Farthest from their own neighbours: the distance to the {kth}, over its median."
    return Rank("Outliers", words, order.tolist(), values)


def duplicates(near: Neighbours) -> Rank:
    """List the pairs that are the nearest to one another, each once."""
    n, k = near.index.shape
    first = np.repeat(np.arange(n), k)
    pairs = np.sort(np.column_stack([first, near.index.ravel()]), axis=1)
    _, once = np.unique(pairs, axis=0, return_index=True)
    order = once[np.argsort(near.distance.ravel()[once], kind="stable")][:LONGEST]
    typical = float(np.median(near.distance[:, 0])) or 1.0
    share = near.distance.ravel()[order] / typical
    values = [
        "same features" if part == 0 else f"{part:.2g} of the median distance to the nearest"
        for part in share
    ]
    words = "The pairs nearest to one another, and the difference of their pictures. Copies, maybe."
    return Rank("Near duplicates", words, pairs[order].tolist(), values, pairs=True)


def disagreements(near: Neighbours, label: Category) -> Rank:
    """List the rows whose neighbours mostly bear one other label, the most agreed on first.

    By the share of the labelled neighbours with that other label, less the share with the row's own.
    """
    codes = label.codes
    n, c = len(codes), len(label.names)
    votes = np.zeros((n, c), np.int64)
    theirs = codes[near.index]
    rows, ranks_ = np.nonzero(theirs >= 0)
    np.add.at(votes, (rows, theirs[rows, ranks_]), 1)
    n_known = votes.sum(axis=1)
    known = (codes >= 0) & (n_known > 0)
    own = np.where(known, votes[np.arange(n), np.maximum(codes, 0)], 0)
    others = votes.copy()
    others[np.arange(n), np.maximum(codes, 0)] = -1
    other = others.argmax(axis=1)
    most = np.maximum(others.max(axis=1), 0)
    score = np.where(known, (most - own) / np.maximum(n_known, 1), -np.inf)
    order = np.argsort(-score, kind="stable")
    order = order[score[order] > 0][:LONGEST]
    values = [
        f"{label.names[codes[i]]}: {most[i]} of {n_known[i]} neighbours are {label.names[other[i]]}"
        for i in order
    ]
    words = "Labels that the nearest images disagree with: wrong labels, or hard images."
    return Rank("Labels in doubt", words, order.tolist(), values)


def _unsure(clustering: Clustering) -> Rank:
    probability: NDArray[np.float32] | None = clustering.probability
    if probability is None:
        return Rank("", "", [], [])
    order = np.argsort(np.where(np.isfinite(probability), probability, np.inf), kind="stable")
    order = order[np.isfinite(probability[order])][:LONGEST]
    values = [f"{clustering.name(int(clustering.cluster[i]))}, {probability[i]:.3f}" for i in order]
    words = "The least probable members of their clusters first, by the method's own score."
    return Rank(f"Unsure of their cluster: {clustering.title}", words, order.tolist(), values)
