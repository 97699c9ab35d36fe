"""Scores of shape over blocks of rows are scikit-learn's of all at once."""

import numpy as np
import pytest
from sklearn import metrics as sk

from clustering import compactness as module
from clustering.compactness import compactness


@pytest.mark.parametrize("block", [7, 1 << 16])
def test_they_are_scikit_learns(block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    random = np.random.default_rng(0)
    x = (random.normal(size=(300, 5)) + 100).astype(np.float32)
    clusters = random.integers(0, 6, 300) * 3
    clusters[0] = 50  # alone
    calinski, davies = compactness(x, clusters)
    wide = x.astype(np.float64)
    assert calinski == pytest.approx(sk.calinski_harabasz_score(wide, clusters), rel=1e-9)
    assert davies == pytest.approx(sk.davies_bouldin_score(wide, clusters), rel=1e-9)


def test_copies_and_clusters_in_one_place():
    x = np.repeat(np.eye(3), 4, axis=0)
    clusters = np.repeat([0, 1, 2], 4)
    assert compactness(x, clusters) == (1.0, 0.0)
    same = np.array([0, 1, 0, 1, 0, 1, 0, 1, 2, 2, 2, 2])
    expected = sk.calinski_harabasz_score(x, same), sk.davies_bouldin_score(x, same)
    assert compactness(x, same) == pytest.approx(expected)
