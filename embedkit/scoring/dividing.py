"""How labelled rows are shared out: by class, by group, in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError


def by_name(labels: NDArray[np.int64], class_names: Sequence[str]) -> NDArray[np.int64]:
    """Number the classes in the order of their names, so that no draw depends on how they are listed."""
    if len(class_names) <= int(labels.max(initial=-1)):  # without names, or more classes than names
        return labels
    place = np.argsort(np.argsort(np.array(class_names, dtype=np.str_), kind="stable"))
    return np.where(labels >= 0, place[labels], labels) if len(place) else labels


def divide(
    labels: NDArray[np.int64], shares: NDArray[np.float64], random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Divide each class by `shares`: largest remainders, and at least one row a part."""
    parts: list[list[NDArray[np.int64]]] = [[] for _ in shares]
    for label in np.unique(labels[labels >= 0]):
        rows = random.permutation(np.flatnonzero(labels == label))
        exact = len(rows) * shares
        n = np.maximum(np.floor(exact).astype(int), 1)
        while n.sum() < len(rows):
            n[np.argmax(exact - n)] += 1
        while n.sum() > len(rows):
            n[np.argmax(np.where(n > 1, n - exact, -np.inf))] -= 1
        for part, some in zip(parts, np.split(rows, np.cumsum(n)[:-1]), strict=True):
            part.append(some)
    return [np.sort(np.concatenate(part)) for part in parts]


def deal(labels: NDArray[np.int64], k: int, random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Deal the rows, sorted by class and shuffled within, to k folds in turn: even in size and in class."""
    labelled = random.permutation(np.flatnonzero(labels >= 0))
    order = labelled[np.argsort(labels[labelled], kind="stable")]
    return [np.sort(order[fold::k]) for fold in range(k)]


def divide_groups(
    groups: NDArray[np.str_],
    labels: NDArray[np.int64],
    shares: NDArray[np.float64],
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Give each group, large ones first, to the part that lacks most of what it holds."""
    rows = np.flatnonzero(labels >= 0)
    names, group = np.unique(groups[rows], return_inverse=True)
    if len(names) and names[0] == "":
        alone = np.flatnonzero(group == 0)
        group[alone] = len(names) + np.arange(len(alone))
        group = np.unique(group, return_inverse=True)[1]
    n_groups = int(group.max()) + 1
    if n_groups < len(shares):
        raise DataError(
            f"{n_groups} groups can't fill {len(shares)} parts when groups stay together. Use smaller "
            "groups, fewer folds, or --split stratified, which ignores them."
        )
    classes, label = np.unique(labels[rows], return_inverse=True)
    held = np.zeros((n_groups, len(classes)))
    np.add.at(held, (group, label), 1)
    total = held.sum(axis=0)
    lacking = shares[:, None] * total
    shuffled = random.permutation(n_groups)
    part_of = np.empty(n_groups, dtype=int)
    for g in shuffled[np.argsort(-held.sum(axis=1)[shuffled], kind="stable")]:
        # Each class weighs the same, so a rare one is spread before a common one fills up.
        part = int(np.argmax(((lacking / total) * (held[g] > 0) / shares[:, None]).sum(axis=1)))
        part_of[g] = part
        lacking[part] -= held[g]
    return [rows[part_of[group] == part] for part in range(len(shares))]


def carve(
    labels: NDArray[np.int64],
    groups: NDArray[np.str_] | None,
    fraction: float,
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Cut a fraction of the labelled rows from the rest: (rest, fraction), by class or by group."""
    shares = np.array([1 - fraction, fraction])
    return divide(labels, shares, random) if groups is None else divide_groups(groups, labels, shares, random)
