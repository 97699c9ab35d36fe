"""Splits, correlations and noise, against formulas, brute force and other libraries."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.dummy import DummyRegressor
from sklearn.metrics import mean_squared_error

from embedkit.datasets.simulated_votes import simulated_votes
from embedkit.files.vote_tree import GALAXY_ZOO_2, GALAXY_ZOO_DECALS_5
from reports.votes.numbers import (
    correlations,
    divided,
    implied,
    mean_baseline,
    noise_floor,
    rmse,
    sampling_variance,
)
from reports.votes.reduced import reduce


def test_both_sides_are_all_rows_once_and_as_large_as_asked():
    shares = np.random.default_rng(0).random((103, 3))
    found = divided(shares, validation=0.2, seed=5)
    assert sorted([*found.train, *found.validation]) == list(range(103))
    assert len(found.validation) == 21
    again = divided(shares, validation=0.2, seed=5)
    assert (again.train == found.train).all()
    assert (divided(shares, validation=0.2, seed=6).train != found.train).any()
    tiny = divided(shares[:2], validation=0.01, seed=0)
    assert (len(tiny.train), len(tiny.validation)) == (1, 1)


def test_the_distance_is_the_largest_between_both_cumulative_shares():
    rng = np.random.default_rng(1)
    shares = rng.integers(0, 9, (80, 4)) / 8
    found = divided(shares, validation=0.25, seed=0)
    for j in range(4):
        a, b = shares[found.train, j], shares[found.validation, j]
        steps = [abs((a <= x).mean() - (b <= x).mean()) for x in np.unique(shares[:, j])]
        assert found.distance[j] == pytest.approx(max(steps))
        assert found.p[j] == pytest.approx(stats.ks_2samp(a, b).pvalue)
    order = np.sort(found.p)
    expected = np.minimum(1, np.maximum.accumulate([order[i] * (4 - i) for i in range(4)]))
    np.testing.assert_allclose(np.sort(found.p_holm), expected)


def test_a_side_that_is_different_is_found():
    shares = np.random.default_rng(0).random((400, 2))
    held = divided(shares, validation=0.2, seed=0).validation
    shares[held, 1] = 0.5 + shares[held, 1] / 2
    found = divided(shares, validation=0.2, seed=0)
    assert found.p_holm[1] < 1e-6
    assert found.p_holm[0] > 0.05


def test_correlations_are_numpys_and_nothing_of_what_never_varies():
    shares = np.random.default_rng(2).random((50, 5))
    np.testing.assert_allclose(correlations(shares), np.corrcoef(shares.T), atol=1e-12)
    shares[:, 2] = 0.25
    found = correlations(shares)
    assert np.isnan(found[2]).all()
    shares[3:, 0] = np.nan
    assert correlations(shares)[0, 1] == pytest.approx(np.corrcoef(shares[:3, 0], shares[:3, 1])[0, 1])


@pytest.mark.parametrize("tree", [GALAXY_ZOO_2, GALAXY_ZOO_DECALS_5], ids=lambda tree: tree.name)
def test_what_the_tree_implies_is_what_single_answers_have(tree):
    """Each image gives one answer to each question it is asked: then the formula is the correlation."""
    rng = np.random.default_rng(0)
    answers = np.zeros((4000, len(tree.answers)))
    for row in answers:
        for branch in tree.branches:
            if branch.parent is None or row[branch.parent]:
                row[rng.choice(list(branch.columns))] = 1
    measured, expected = correlations(answers), implied(answers.mean(axis=0), tree)
    there = ~np.isnan(expected)
    np.testing.assert_allclose(measured[there], expected[there], atol=1e-10)
    # Of one question all pairs are implied, of answers beside one another none.
    for branch in tree.branches:
        assert there[np.ix_(branch.columns, branch.columns)].all()
    by_name = {branch.question.name: list(branch.columns) for branch in tree.branches}
    beside = ("t03_bar", "t04_spiral") if tree is GALAXY_ZOO_2 else ("bar", "bulge-size")
    assert not there[np.ix_(by_name[beside[0]], by_name[beside[1]])].any()


def test_two_answers_of_which_everybody_gives_one_imply_minus_one():
    tree = GALAXY_ZOO_2
    mean = simulated_votes(40, 0).shares.mean(axis=0)
    yes, no = tree.branches[5].columns
    assert implied(mean, tree)[yes, no] == pytest.approx(-1)


def test_the_mean_baseline_is_the_formula_and_scikit_learns():
    shares = np.random.default_rng(3).random((90, 6))
    division = divided(shares, validation=0.2, seed=1)
    found = mean_baseline(shares, division)
    train, held = shares[division.train], shares[division.validation]
    always = DummyRegressor().fit(np.zeros((len(train), 1)), train)
    for side, value in ((train, found.train), (held, found.validation)):
        assert value == pytest.approx(math.sqrt(mean_squared_error(side, always.predict(side))))
    # On the train side it is the root of the mean variance.
    assert found.train == pytest.approx(math.sqrt(train.var(axis=0).mean()))


def test_missing_shares_are_left_out_of_an_rmse():
    a, b = np.array([[0.0, np.nan], [1.0, 0.5]]), np.array([[0.5, 0.1], [0.5, 0.5]])
    assert rmse(a, b) == pytest.approx(math.sqrt((0.25 + 0.25 + 0) / 3))
    assert math.isnan(rmse(a[:1, 1:], b[:1, 1:]))


@pytest.mark.parametrize("n", [2, 5, 40])
@pytest.mark.parametrize("p", [0.0, 0.03, 0.5, 0.9])
def test_the_estimate_of_the_sampling_variance_is_unbiased(n, p):
    k = np.arange(n + 1)
    mean = (stats.binom.pmf(k, n, p) * sampling_variance(k / n, n)).sum()
    assert mean == pytest.approx(p * (1 - p) / n, abs=1e-15)


def test_shares_down_the_tree_vary_as_if_everybody_was_asked():
    """A share of a share: the chain of draws has the variance of one binomial draw."""
    n, p, q = 6, 0.6, 0.3
    variance = mean = 0.0
    for first, second in itertools.product(range(n + 1), repeat=2):
        if second <= first:
            chance = stats.binom.pmf(first, n, p) * stats.binom.pmf(second, first, q)
            mean += chance * second / n
            variance += chance * (second / n) ** 2
    assert mean == pytest.approx(p * q)
    assert variance - mean**2 == pytest.approx(p * q * (1 - p * q) / n)


def test_the_floor_of_simulated_votes_is_the_one_that_is_known():
    votes = simulated_votes(3000, 1)
    assert noise_floor(votes.shares, 40) == pytest.approx(votes.noise_floor(), rel=0.01)
    assert noise_floor(votes.shares, 40) == pytest.approx(votes.best_rmse(), rel=0.02)
    assert noise_floor(votes.shares, 157) == pytest.approx(noise_floor(votes.shares, 40) / 2)
    each = np.broadcast_to(votes.volunteers[:, None], votes.shares.shape)
    assert noise_floor(votes.shares, each) == pytest.approx(votes.noise_floor(), rel=0.01)
    few = np.where(np.arange(len(each))[:, None] % 2, 1, each)  # of one vote nothing is known
    assert noise_floor(votes.shares, few) == noise_floor(votes.shares[::2], each[::2])
    assert np.isnan(noise_floor(votes.shares, 1))


def test_reduced_pixels_are_means_of_blocks():
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    found = reduce(pixels, 9)
    assert found.shape == (20, 30, 3)
    blocks = pixels.reshape(20, 3, 30, 3, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(found - blocks).max() <= 1
    assert reduce(pixels[:424, :1], 30).shape[1] == 1
    big = np.zeros((424, 424, 3), np.uint8)
    assert big.size / reduce(big, 30).size == pytest.approx(30, rel=0.02)
