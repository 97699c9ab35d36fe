"""How many rows are named right where a group is called after the images nearest to its centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clustering.matching import I64
from clustering.resamples import CELLS
from clustering.scores import F64, N_BOOTSTRAP, N_PERMUTATIONS, resampled
from embedkit.files.results import Metric

# Images of a group that are looked at.
CENTRAL = 9
# Images of a group from which a resample takes its most central: half of so many are more than it needs.
NEAR = 2 * CENTRAL


def by_closeness(clusters: I64, distance: F64) -> tuple[I64, I64]:
    """Return the rows of all groups (m,), group by group and the nearest to the centre first, and the place
    of each among those of its group (m,). Noise is left out; rows at one distance stay in their order.
    """
    rows = np.flatnonzero(clusters >= 0)
    rows = rows[np.lexsort((distance[rows], clusters[rows]))]
    groups = clusters[rows]
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    sizes = np.diff(np.append(starts, len(rows)))
    return rows, np.arange(len(rows)) - np.repeat(starts, sizes)


def named_accuracies(labels: I64, clusters: I64, distance: F64, *, seed: int = 0) -> dict[str, Metric]:
    """Score groups that are each called after their nine most central images, and say what chance gets.

    A group's name is the commonest class of its nine rows nearest to the centre; of classes that are as
    common, that of the nearest row. A row is right if its group has the name of its class; noise is wrong.
    ``named_accuracy`` has a 95 % interval from 1,000 bootstrap resamples of the rows, in each of which the
    groups are named anew, moved onto the value. ``null_named_accuracy`` is that of permuted labels: mean and
    95 % range.

    Parameters
    ----------
    labels : (n,) int64
        Class of each row, at least 0: leave rows without a label out.
    clusters : (n,) int64
        Group of each row, -1 for none.
    distance : (n,) float64
        To the centre of the own group.
    seed
        Of the resamples and permutations.
    """
    rows, place = by_closeness(clusters, distance)
    if not len(rows):
        reason = "every labelled row is noise"
        return {name: Metric(None, note=reason) for name in ("named_accuracy", "null_named_accuracy")}
    rng = np.random.default_rng(seed)
    n, groups = len(labels), np.unique(clusters[rows], return_inverse=True)[1]
    slots = np.full((groups[-1] + 1, CENTRAL), -1)
    central = place < CENTRAL
    slots[groups[central], place[central]] = labels[rows[central]]
    names = commonest(slots)
    right = names[groups] == labels[rows]
    value, others = right.sum() / n, n - int(central.sum())
    note = f"each group called after its {CENTRAL} most central images"
    if others:
        note += f"; {right[~central].sum() / others:.3f} of the {others:,} rows that were not looked at"
    draws = _resampled(labels[rows], groups, place, n, rng)
    permuted = _permuted(labels, np.bincount(groups), rng)
    null_note = f"the same groups on {N_PERMUTATIONS} permutations of the labels, each named anew"
    return {
        "named_accuracy": resampled("named_accuracy", value, draws - draws.mean() + value, note),
        "null_named_accuracy": resampled("null_named_accuracy", permuted.mean(), permuted, null_note),
    }


def commonest(slots: I64) -> I64:
    """Return the commonest class (k,) in each row of `slots` (k, m), the first at a tie; -1 is no class."""
    votes = np.where(slots >= 0, (slots[:, :, np.newaxis] == slots[:, np.newaxis, :]).sum(axis=2), -1)
    found: I64 = slots[np.arange(len(slots)), votes.argmax(axis=1)]
    return found


@dataclass(frozen=True)
class _Items:
    """What a resample draws from: rows near to a centre one by one, the others counted by class and group.

    Others of a class that none of the near rows of their group has are never right, and left out.
    `classes`, `groups`, `counts` and `near` are (z,); of a group the nearest rows come first, counts last.
    """

    classes: I64
    groups: I64
    counts: I64
    near: NDArray[np.bool_]

    @classmethod
    def of(cls, classes: I64, groups: I64, place: I64) -> _Items:
        near = place < NEAR
        n_classes = int(classes.max()) + 1
        keys = groups * n_classes + classes
        cells, counts = np.unique(keys[~near], return_counts=True)
        some = np.isin(cells, keys[near])
        cells, counts = cells[some], counts[some]
        every = np.concatenate([groups[near], cells // n_classes])
        order = np.argsort(every, kind="stable")
        return cls(
            np.concatenate([classes[near], cells % n_classes])[order],
            every[order],
            np.concatenate([np.ones(near.sum(), np.int64), counts])[order],
            np.concatenate([np.ones(near.sum(), bool), np.zeros(len(cells), bool)])[order],
        )

    def right(self, counts: I64) -> I64:
        """Return how many rows are named right (b,) where each item is drawn so often: `counts` (b, z)."""
        starts = np.flatnonzero(np.diff(self.groups, prepend=-1))
        before = np.cumsum(counts, axis=1) - counts
        before -= before[:, starts][:, self.groups]
        looked_at = np.clip(CENTRAL - before, 0, counts) * self.near
        # Items of one group and class lie together, in the order of the groups.
        order = np.lexsort((self.classes, self.groups))
        groups, classes = self.groups[order], self.classes[order]
        keys = np.flatnonzero((np.diff(groups, prepend=-1) != 0) | (np.diff(classes, prepend=-1) != 0))
        votes = np.add.reduceat(looked_at[:, order], keys, axis=1)
        rows = np.add.reduceat(counts[:, order], keys, axis=1)
        # At a tie the class that comes first.
        place = np.where(looked_at[:, order] > 0, order, len(order))
        merit = votes * (len(order) + 1) - np.minimum.reduceat(place, keys, axis=1)
        of_key = groups[keys]
        best = np.maximum.reduceat(merit, np.flatnonzero(np.diff(of_key, prepend=-1)), axis=1)
        named = (merit == best[:, of_key]) & (votes > 0)
        return np.asarray((rows * named).sum(axis=1))


def _resampled(classes: I64, groups: I64, place: I64, n: int, rng: np.random.Generator) -> F64:
    """Return the named accuracy of resamples (b,) of n rows, of which these are in groups."""
    items = _Items.of(classes, groups, place)
    shares = np.append(items.counts, n - items.counts.sum()) / n
    found, block = [], max(1, CELLS // len(shares))
    for start in range(0, N_BOOTSTRAP, block):
        drawn = rng.multinomial(n, shares, size=min(block, N_BOOTSTRAP - start))
        found.append(items.right(drawn[:, :-1]) / n)
    return np.concatenate(found)


def _permuted(labels: I64, sizes: I64, rng: np.random.Generator) -> F64:
    """Return the named accuracy (b,) of groups of these sizes (k,) on permuted labels.

    A permutation deals the labels out, first to the central rows, then to the others. Of the latter only the
    counts matter, of all groups of one name together, so it costs by classes where there are more rows.
    """
    counts, looked_at = np.bincount(labels), np.minimum(sizes, CENTRAL)
    taken = np.arange(CENTRAL) < looked_at[:, np.newaxis]
    slots = np.full((len(sizes), CENTRAL), -1)
    found = np.empty(N_PERMUTATIONS)
    for b in range(N_PERMUTATIONS):
        dealt = rng.multivariate_hypergeometric(counts, looked_at.sum(), method="marginals")
        slots[taken] = rng.permutation(np.repeat(np.arange(len(counts)), dealt))
        names = commonest(slots)
        rest = np.bincount(names, weights=sizes - looked_at, minlength=len(counts)).astype(np.int64)
        right = int((slots == names[:, np.newaxis])[taken].sum())
        found[b] = (right + _dealt_right(counts - dealt, rest, rng)) / len(labels)
    return found


def _dealt_right(left: I64, rest: I64, rng: np.random.Generator) -> int:
    """Deal rows of each class (c,) to as many places of each name (c,), and return how many fit."""
    named = np.flatnonzero(rest)
    # A row that is permuted costs about a tenth of a class that is drawn.
    if 10 * len(named) * len(left) > left.sum():
        dealt = rng.permutation(np.repeat(np.arange(len(left)), left))[: rest.sum()]
        return int((dealt == np.repeat(np.arange(len(rest)), rest)).sum())
    right = 0
    for name in named:
        dealt = rng.multivariate_hypergeometric(left, rest[name], method="marginals")
        right, left = right + int(dealt[name]), left - dealt
    return right
