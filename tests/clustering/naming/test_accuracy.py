"""Named accuracy against a loop over groups, its resamples against rows drawn one by one, and chance."""

from collections import Counter

import numpy as np
import pytest

from clustering.naming.accuracy import _Items, by_closeness, commonest, named_accuracies


def by_hand(labels, clusters, distance):
    """Look at each group's nine most central images, call it after the commonest, and count who is right."""
    right = 0
    for group in set(clusters[clusters >= 0].tolist()):
        members = sorted(np.flatnonzero(clusters == group), key=lambda row: (distance[row], row))
        votes = Counter(labels[row] for row in members[:9])
        most = max(votes.values())
        name = next(labels[row] for row in members[:9] if votes[labels[row]] == most)
        right += sum(labels[row] == name for row in members)
    return right / len(labels)


def planted(n=400, k=7, c=4, seed=0):
    rng = np.random.default_rng(seed)
    clusters = rng.integers(-1, k, n)
    labels = np.where(rng.random(n) < 0.6, clusters % c, rng.integers(0, c, n))
    return labels, clusters, np.where(clusters >= 0, rng.random(n).round(2), np.nan)


@pytest.mark.parametrize(("n", "k", "c"), [(400, 7, 4), (60, 20, 3), (5000, 3, 2), (12, 1, 5), (9, 4, 1)])
def test_the_value_is_that_of_a_person_who_counts(n, k, c):
    for seed in range(5):
        labels, clusters, distance = planted(n, k, c, seed)
        found = named_accuracies(labels, clusters, distance, seed=seed)["named_accuracy"]
        assert found.value == by_hand(labels, clusters, distance)
        assert found.low <= found.value <= found.high


def test_numbers_of_groups_and_classes_may_have_gaps():
    labels, clusters, distance = planted()
    moved = np.where(clusters >= 0, clusters * 3 + 2, -1)
    one, other = (named_accuracies(*a) for a in ((labels, clusters, distance), (labels * 5, moved, distance)))
    assert one["named_accuracy"] == other["named_accuracy"]


def test_a_resample_is_what_its_rows_would_give():
    labels, clusters, distance = planted(n=900, k=5)
    distance = np.where(clusters >= 0, np.random.default_rng(1).random(900), np.nan)  # no ties
    rows, place = by_closeness(clusters, distance)
    items = _Items.of(labels[rows], clusters[rows], place)
    # Of the items that are single rows: which row each is.
    near = rows[place < 18]
    counts = items.counts[np.newaxis].repeat(40, axis=0)
    rng = np.random.default_rng(2)
    counts[:, items.near] = rng.integers(0, 4, (40, int(items.near.sum())))
    for drawn, right in zip(counts, items.right(counts), strict=True):
        rest = np.setdiff1d(np.flatnonzero(clusters >= 0), near)
        taken = np.concatenate([np.repeat(near, drawn[items.near]), rest])
        assert right == round(by_hand(labels[taken], clusters[taken], distance[taken]) * len(taken))


@pytest.mark.parametrize(("n", "k", "c"), [(3000, 6, 4), (200, 30, 20)])
def test_chance_is_that_of_shuffled_labels(n, k, c):
    labels, clusters, distance = planted(n=n, k=k, c=c)
    found = named_accuracies(labels, clusters, distance)
    rng = np.random.default_rng(3)
    shuffled = [by_hand(rng.permutation(labels), clusters, distance) for _ in range(100)]
    chance = found["null_named_accuracy"]
    assert abs(chance.value - np.mean(shuffled)) < 4 * np.std(shuffled) / 10
    assert np.mean([chance.low <= one <= chance.high for one in shuffled]) > 0.85
    assert found["named_accuracy"].value > chance.high


def test_of_noise_alone_there_is_none():
    found = named_accuracies(np.array([0, 1]), np.array([-1, -1]), np.full(2, np.nan))
    assert found["named_accuracy"].value is None


def test_the_commonest_and_at_a_tie_the_first():
    slots = np.array([[2, 1, 1, -1], [3, 0, 0, 3], [-1, -1, -1, -1], [5, -1, -1, -1]])
    assert commonest(slots).tolist() == [1, 3, -1, 5]
