"""How alike two clusterings are: against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from reports.map.sections.alluvial import agreement


@pytest.mark.parametrize("shape", [(3, 5), (1, 4), (40, 40), (2, 2)])
def test_agreement_is_scikit_learns(shape):
    rng = np.random.default_rng(sum(shape))
    a, b = rng.integers(-1, shape[0], 200), rng.integers(0, shape[1], 200)
    b[:120] = a[:120]
    found = agreement(a, b)
    assert found.ari == pytest.approx(adjusted_rand_score(a, b))
    assert found.nmi == pytest.approx(normalized_mutual_info_score(a, b))
    assert found.n == 200


def test_rows_that_one_of_the_two_does_not_know_are_left_out():
    a, b = np.array([0, 0, 1, 1, -2]), np.array([0, 0, 1, 1, 0])
    assert agreement(a, b) == agreement(b, a) == agreement(a[:4], b[:4])
    assert agreement(a, b).ari == agreement(a, b).nmi == 1
    assert agreement(a, np.full(5, -2)).n == 0
    assert agreement(np.zeros(4, int), np.zeros(4, int)).ari == 1
