"""The farthest rows are exact however many rows there are."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from reports.neighbours.farthest import farthest


@pytest.fixture(scope="module")
def clouds():
    random = np.random.default_rng(0)
    middles = 4 * random.normal(size=(12, 16))
    x = middles[random.integers(0, 12, 3000)] + random.normal(size=(3000, 16))
    x[::150] = 6 * random.normal(size=(20, 16))  # like no other
    x[10] = x[11] = x[12]
    return x.astype(np.float32)


def test_most_rows_are_never_asked_and_the_answer_is_scikit_learns(clouds):
    found = farthest(clouds, 5, 20, all_pairs=100)
    near = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(clouds.astype(np.float64))
    distance, index = near.kneighbors(clouds.astype(np.float64))
    order = np.argsort(-distance[:, 5], kind="stable")[:20]
    assert found.index.tolist() == order.tolist()
    assert found.distance == pytest.approx(distance[order, 5], abs=1e-6)
    assert found.nearest.tolist() == index[order, 1].tolist()
    assert found.n_asked < 1000


def test_all_pairs_and_bounds_agree_with_rows_of_zeros_and_copies(clouds):
    x = clouds[:700].copy()
    x[[0, 99]] = 0
    x[200:260] = x[200]
    for k, m in ((1, 30), (15, 700)):
        fast, slow = farthest(x, k, m, all_pairs=10), farthest(x, k, m)
        assert fast.index.tolist() == slow.index.tolist()
        assert np.array_equal(fast.distance, slow.distance)
        assert np.array_equal(fast.nearest, slow.nearest)
    assert farthest(np.zeros((30, 4), np.float32), 3, 2, all_pairs=10).distance.tolist() == [1, 1]
