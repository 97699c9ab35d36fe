"""Neighbours by inverted lists: most of the true ones, and how many is told as it is."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from embedkit.computing.inverted_lists import nearby
from embedkit.errors import UsageError


def advance(n):
    """Say nothing."""


QUIET = {"advance": advance}


def test_recall_is_that_of_scikit_learns_neighbours():
    random = np.random.default_rng(0)
    x = random.normal(size=(6000, 8)).astype(np.float32)
    # Whatever finds half of them will do: so some are missed.
    found = nearby(x, 10, least=0.5, **QUIET)
    distance, index = (
        NearestNeighbors(n_neighbors=10, algorithm="brute").fit(x.astype(np.float64)).kneighbors()
    )
    hits = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(index, found.index, strict=True)])
    assert 0.5 < hits < 0.999
    assert found.recall.share == pytest.approx(hits, abs=0.02)
    assert found.recall.n_rows == 1000
    assert found.recall.n_looked_into < found.recall.n_lists
    assert (found.index != np.arange(6000)[:, None]).all()
    truth = np.linalg.norm(x[:, None].astype(np.float64) - x[found.index], axis=2)
    assert found.distance == pytest.approx(truth, abs=1e-5)
    assert (np.diff(found.distance, axis=1) >= 0).all()
    assert (found.distance >= distance - 1e-5).all()


def test_all_are_found_where_all_are_asked_for_copies_and_huge_numbers_too():
    random = np.random.default_rng(1)
    x = (1e8 + 1e7 * random.normal(size=(1200, 4))).astype(np.float32)
    x[100:180] = x[100]
    found = nearby(x, 6, least=1.0, **QUIET)
    distance, _ = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(x.astype(np.float64)).kneighbors()
    assert found.recall.share == 1
    assert found.distance == pytest.approx(distance, rel=1e-4, abs=10)
    same = nearby(np.ones((300, 3), np.float32), 4, **QUIET)
    assert not same.distance.any()
    assert (same.index != np.arange(300)[:, None]).all()


def test_the_same_seed_finds_the_same_and_k_must_fit():
    x = np.random.default_rng(2).normal(size=(500, 4)).astype(np.float32)
    assert np.array_equal(nearby(x, 3, **QUIET).index, nearby(x, 3, **QUIET).index)
    with pytest.raises(UsageError, match="from 1 to 499"):
        nearby(x, 500, **QUIET)
