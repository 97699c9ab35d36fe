"""Trustworthiness and continuity, against scikit-learn."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from reports.map import fidelity as module
from reports.map.fidelity import fidelity


def worlds(n=90):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 6)).astype(np.float32)
    return x, (x[:, :2] + 0.3 * rng.normal(size=(n, 2))).astype(np.float32)


@pytest.mark.parametrize("n", [7, 31, 90])
def test_both_are_scikit_learns(n):
    x, xy = worlds(n)
    found = fidelity(x, xy)
    k = found.k
    assert k == min(15, (n - 1) // 2)
    assert found.trustworthiness.mean() == pytest.approx(trustworthiness(x, xy, n_neighbors=k), abs=1e-6)
    assert found.continuity.mean() == pytest.approx(trustworthiness(xy, x, n_neighbors=k), abs=1e-6)


def test_a_point_that_was_put_among_strangers_is_the_least_trustworthy():
    x, _ = worlds()
    xy = x[:, :2].copy()
    rows = np.zeros((90, 6), np.float32)
    rows[:, :2] = xy
    far = int(np.argmax(np.abs(xy).sum(axis=1)))
    xy[far] = xy.mean(axis=0)
    found = fidelity(rows, xy)
    assert int(np.argmin(found.trustworthiness)) == far
    assert int(np.argmin(found.continuity)) == far


def test_a_map_that_keeps_everything_is_perfect():
    _, xy = worlds()
    found = fidelity(xy, xy * 3 + 1)
    assert (found.trustworthiness == 1).all()
    assert (found.continuity == 1).all()
    assert [column.key for column in found.columns()] == ["trustworthiness", "continuity"]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_few_rows_have_no_neighbourhoods(n):
    x, xy = worlds(n)
    assert fidelity(x, xy) is None


def test_many_rows_are_sampled_and_said(monkeypatch):
    x, xy = worlds()
    whole = fidelity(x, xy)
    monkeypatch.setattr(module, "MOST_ROWS", 60)
    monkeypatch.setattr(module, "SAMPLE", 40)
    found = fidelity(x, xy)
    assert found.columns() == []
    assert "of 40 images drawn at random" in found.describe()
    rows = np.sort(np.random.default_rng(0).choice(90, 40, replace=False))
    np.testing.assert_allclose(found.trustworthiness, whole.trustworthiness[rows])
