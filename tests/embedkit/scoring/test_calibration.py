import numpy as np
import pytest
import scipy.special

from embedkit.errors import DataError
from embedkit.scoring.calibration import errors_by_chance, fit_temperature, reliability, scale
from embedkit.scoring.probabilities import softmax


def drawn(n=4000, c=4, seed=0):
    """Probabilities, and classes that are drawn from them."""
    random = np.random.default_rng(seed)
    p = softmax(2 * random.normal(size=(n, c)))
    return p, (p.cumsum(axis=1) < random.random((n, 1))).sum(axis=1)


def test_the_error_is_that_of_a_naive_loop():
    random = np.random.default_rng(0)
    confidence = np.append(random.random(200), [0.0, 1.0, 0.2, 0.4])  # limits and edges of bins
    right = random.random(204) < 0.6
    error = 0.0
    for j in range(5):
        low, high = j / 5, (j + 1) / 5
        inside = [i for i, p in enumerate(confidence) if low < p <= high or (j == 0 and p == 0)]
        error += len(inside) / 204 * abs(right[inside].mean() - confidence[inside].mean())
    found = reliability(confidence, right, n_bins=5)
    assert found.error == pytest.approx(error)
    assert sum(one.n for one in found.bins) == 204
    assert reliability(np.array([0.9, 0.9]), np.array([True, True])).bins[0].accuracy is None
    with pytest.raises(DataError, match="don't fit"):
        reliability(np.zeros(3), np.zeros(2, bool))


def test_rows_that_are_right_as_often_as_they_say_have_the_error_of_chance():
    p, y = drawn(1000)
    errors = []
    for seed in range(20):
        p, y = drawn(1000, seed=seed)
        errors.append(reliability(p.max(axis=1), p.argmax(axis=1) == y).error)
    chance = errors_by_chance(p.max(axis=1))
    assert np.mean(errors) == pytest.approx(chance.mean(), rel=0.15)
    assert np.mean(errors > np.quantile(chance, 0.95)) <= 0.15


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_the_temperature_that_spoilt_the_probabilities_is_found_again(temperature):
    p, y = drawn()
    spoilt = scale(p, 1 / temperature)
    found = fit_temperature(spoilt, y)
    assert found == pytest.approx(temperature, rel=0.06)
    own = [np.log(scale(spoilt, found * factor)[np.arange(len(y)), y]).mean() for factor in (0.99, 1, 1.01)]
    assert own[1] == max(own)  # the least log loss
    mended = scale(spoilt, found)
    assert np.array_equal(mended.argmax(axis=1), spoilt.argmax(axis=1))
    right = p.argmax(axis=1) == y
    assert reliability(mended.max(axis=1), right).error < 0.3 * reliability(spoilt.max(axis=1), right).error


def test_votes_of_zero_and_certain_rows_have_a_temperature():
    votes = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert fit_temperature(votes, np.array([0, 1, 0])) < 0.2
    assert 1 < fit_temperature(votes, np.array([0, 1, 1])) < 100
    np.testing.assert_allclose(scale(votes, 1.0), votes, atol=1e-11)
    assert np.isfinite(scale(votes, 50.0)).all()
    with pytest.raises(DataError, match="don't fit"):
        fit_temperature(votes, np.array([0, 1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_is_scipys_in_the_precision_of_its_logits(dtype):
    z = np.random.default_rng(0).normal(scale=30, size=(200, 7)).astype(dtype)
    z[0] = 1e4 if dtype == np.float64 else 1e3  # no logit is too large
    p = softmax(z)
    assert p.dtype == dtype
    np.testing.assert_allclose(
        p, scipy.special.softmax(z, axis=1), rtol=1e-5 if dtype == np.float32 else 1e-12
    )
