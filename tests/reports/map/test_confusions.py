"""A matrix that a browser can draw, with every row's total kept."""

import numpy as np

from reports.map.evidence import Confusion
from reports.map.sections.confusions import largest_classes


def test_a_thousand_classes_are_their_sixty_largest():
    counts = np.random.default_rng(0).integers(3, size=(1000, 1001))
    counts[::10] += 5
    names = tuple(f"c{i}" for i in range(1000))
    found = largest_classes(Confusion("knn", counts, names, (*names, "(none)")))
    assert found.counts.shape == (60, 61)
    index = [int(name[1:]) for name in found.row_names]
    assert set(index) <= set(range(0, 1000, 10))
    assert found.counts.sum(axis=1).tolist() == counts[index].sum(axis=1).tolist()
    assert np.array_equal(found.counts[:, :-1], counts[np.ix_(index, index)])
    assert "60 largest of 1,000" in found.title


def test_few_classes_stay_as_they_are():
    matrix = Confusion("knn", np.eye(3, dtype=int), ("a", "b", "c"), ("a", "b", "c"))
    assert largest_classes(matrix) is matrix
