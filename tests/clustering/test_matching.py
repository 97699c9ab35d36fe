from itertools import permutations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from clustering.assignment import assigned
from clustering.counts import Tables
from clustering.matching import LARGE, match_clusters
from clustering.scores import labelled_scores
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


def test_refuses_rows_that_do_not_fit():
    with pytest.raises(DataError, match="label -1 is outside the 2 classes. Leave unlabelled rows out"):
        match_clusters(np.array([-1, 1]), np.array([0, 0]))
    with pytest.raises(DataError, match=r"labels of shape \(2,\) don't fit clusters of shape \(3,\)"):
        match_clusters(np.array([0, 1]), np.array([0, 0, 1]))
    with pytest.raises(DataError, match="no labelled rows"):
        match_clusters(np.array([], int), np.array([], int))


def _peer(counts):
    """SciPy's own assignment, without the pairs that share no row."""
    rows, columns = linear_sum_assignment(counts, maximize=True)
    found, shared = np.full(counts.shape[1], -1), counts[rows, columns] > 0
    found[columns[shared]] = rows[shared]
    return found.tolist()


def _same_as_peer(tables):
    cells = Tables.of(tables)
    found = assigned(*cells.places, cells.counts, shape=cells.shape)
    assert found.tolist() == [_peer(table) for table in tables]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 5), (6, 9), (9, 6), (40, 30), (30, 40)])
def test_sparse_tables_are_assigned_as_scipy_assigns_them(shape):
    """Pair for pair, with ties everywhere: small counts, many zeros, empty rows and columns."""
    rng = np.random.default_rng(sum(shape))
    for density in (0.0, 0.1, 0.5, 1.0):
        tables = rng.integers(1, 4, size=(40, *shape)) * (rng.random((40, *shape)) < density)
        _same_as_peer(tables)
        tables[:, range(min(shape)), range(min(shape))] += rng.integers(0, 6, size=min(shape))
        _same_as_peer(tables)


def test_a_large_table_is_matched_as_a_small_one(monkeypatch):
    rng = np.random.default_rng(1)
    labels = rng.integers(300, size=2000)
    clusters = np.where(rng.random(2000) < 0.4, labels, rng.integers(-1, 280, size=2000))
    large = match_clusters(labels, clusters)
    assert large.counts.size > LARGE
    assert large.classes.tolist() == _peer(large.counts)
    scores = labelled_scores(labels, clusters).metrics
    monkeypatch.setattr("clustering.counts.LARGE", 1 << 30)
    assert labelled_scores(labels, clusters).metrics == scores
