from itertools import permutations

import numpy as np
import pytest

from clustering.matching import match_clusters, match_many_to_one
from embedkit.errors import DataError


@pytest.mark.parametrize("k", [2, 4, 6])
@pytest.mark.parametrize("seed", range(5))
def test_no_other_one_to_one_matching_is_better(k, seed):
    rng = np.random.default_rng(seed)
    c = 4
    labels, clusters = rng.integers(c, size=60), rng.integers(-1, k, size=60)
    best = 0
    for order in permutations(range(max(c, k)), min(c, k)):
        pairs = zip(range(c), order, strict=False) if c <= k else zip(order, range(k), strict=False)
        best = max(best, sum(int(((labels == a) & (clusters == b)).sum()) for a, b in pairs))
    matching = match_clusters(labels, clusters)
    assert matching.n_correct == best == int((matching.predict(clusters) == labels).sum())
    assert len(set(matching.mapping.values())) == len(matching.mapping)
    assert matching.n == 60


@pytest.mark.parametrize("seed", range(3))
def test_renaming_classes_and_clusters_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(5, size=200)
    clusters = np.where(rng.random(200) < 0.6, labels, rng.integers(5, size=200))
    renamed = match_clusters(rng.permutation(5)[labels], 7 * rng.permutation(5)[clusters])
    assert renamed.n_correct == match_clusters(labels, clusters).n_correct


def test_more_clusters_than_classes_leave_some_without():
    matching = match_clusters(np.array([0, 0, 0, 1, 1]), np.array([4, 4, 9, 7, 7]))
    assert matching.mapping == {4: 0, 7: 1}
    assert matching.classes.tolist() == [0, 1, -1]
    assert matching.confusion.tolist() == [[2, 0, 1], [0, 2, 0]]
    assert matching.predict(np.array([9, 7, 5, -1])).tolist() == [-1, 1, -1, -1]


def test_fewer_clusters_than_classes_leave_classes_without():
    matching = match_clusters(np.array([0, 1, 1, 2]), np.array([0, 0, 0, 0]))
    assert matching.mapping == {0: 1}
    assert matching.confusion.tolist() == [[0, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0]]


def test_noise_is_never_matched():
    matching = match_clusters(np.array([0, 0, 0, 1]), np.array([-1, -1, -1, 0]))
    assert matching.mapping == {0: 1}
    assert matching.noise.tolist() == [3, 0]
    assert matching.confusion.tolist() == [[0, 0, 3], [0, 1, 0]]
    everything = match_clusters(np.array([0, 1]), np.array([-1, -1]))
    assert (everything.mapping, everything.n_correct, everything.n) == ({}, 0, 2)


def test_an_absent_class_is_matched_with_nothing():
    matching = match_clusters(np.array([0, 0, 2]), np.array([0, 1, 2]), n_classes=4)
    assert set(matching.mapping.values()) == {0, 2}
    assert matching.confusion.shape == (4, 5)


def test_many_clusters_may_stand_for_one_class():
    counts = np.array([[3, 5, 0, 0], [1, 2, 4, 0]])
    assert match_many_to_one(counts).tolist() == [0, 0, 1, -1]
    assert match_many_to_one(np.zeros((2, 0), int)).tolist() == []
    assert match_many_to_one(np.zeros((0, 2), int)).tolist() == [-1, -1]


def test_refuses_rows_that_do_not_fit():
    with pytest.raises(DataError, match="label -1 is outside the 2 classes. Leave unlabelled rows out"):
        match_clusters(np.array([-1, 1]), np.array([0, 0]))
    with pytest.raises(DataError, match=r"labels of shape \(2,\) don't fit clusters of shape \(3,\)"):
        match_clusters(np.array([0, 1]), np.array([0, 0, 1]))
    with pytest.raises(DataError, match="no labelled rows"):
        match_clusters(np.array([], int), np.array([], int))
