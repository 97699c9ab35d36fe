"""Paired statistics against SciPy and direct transcriptions."""

import numpy as np
import pytest
from scipy import stats

from embedkit.errors import DataError
from embedkit.scoring.paired import holm, mcnemar, paired_difference, rank_ranges, resampled_means


@pytest.mark.parametrize("pair", [(0, 0), (0, 1), (3, 9), (10, 10), (40, 61), (900, 1100)])
def test_mcnemar_is_scipys_binomial_test(pair):
    n = sum(pair)
    expected = stats.binomtest(pair[0], n).pvalue if n else 1.0
    assert mcnemar(*pair) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(*pair) == mcnemar(*pair[::-1])


def test_holm_is_the_step_down_procedure():
    rng = np.random.default_rng(0)
    p = np.round(rng.uniform(size=12) ** 3, 2)  # with ties
    adjusted = holm(p)
    for alpha in np.linspace(0.001, 0.999, 200):
        rejected = np.zeros(12, bool)
        for step, i in enumerate(np.argsort(p, kind="stable")):
            if p[i] * (12 - step) > alpha:
                break
            rejected[i] = True
        np.testing.assert_array_equal(adjusted <= alpha, rejected)
    assert holm(np.array([])).shape == (0,)
    with pytest.raises(DataError, match="between 0 and 1"):
        holm(np.array([np.nan]))


@pytest.mark.parametrize("continuous", [False, True])
def test_interval_is_scipys_paired_bootstrap(continuous):
    rng = np.random.default_rng(1)
    a = (rng.uniform(size=300) < 0.6).astype(float)
    b = np.where(rng.uniform(size=300) < 0.3, 1.0, a)
    if continuous:
        a, b = a * rng.uniform(size=300), b * rng.uniform(size=300)
    found = paired_difference(a, b, n_resamples=8000)
    peer = stats.bootstrap(
        (a, b),
        lambda a, b, axis: (b - a).mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=8000,
        rng=2,
    ).confidence_interval
    assert found.value == pytest.approx((b - a).mean())
    np.testing.assert_allclose([found.low, found.high], peer, atol=0.004)
    assert found.test == ("paired bootstrap" if continuous else "McNemar, exact")


def test_bootstrap_p_is_near_students():
    rng = np.random.default_rng(3)
    a = rng.normal(size=400)
    b = a + rng.normal(0.1, 1, size=400)
    z = stats.norm.isf(paired_difference(a, b).p / 2)
    assert z == pytest.approx(stats.ttest_rel(b, a).statistic, rel=0.05)


def test_equal_scores_cannot_be_told_apart():
    x = np.array([0.0, 1.0, 1.0])
    assert (paired_difference(x, x).p, paired_difference(x / 2, x / 2).p) == (1.0, 1.0)
    assert paired_difference(x / 2, x / 2 + 0.25).p == 0.0


def test_other_images_are_refused():
    with pytest.raises(DataError, match=r"shapes \(2,\) and \(3,\) are not of the same images"):
        paired_difference(np.ones(2), np.ones(3))
    with pytest.raises(DataError, match="NaN"):
        paired_difference(np.array([np.nan]), np.ones(1))


def test_rank_ranges():
    better = np.zeros((4, 4), bool)
    better[0, 2] = better[0, 3] = better[1, 3] = better[2, 3] = True
    assert rank_ranges(better).tolist() == [[1, 2], [1, 3], [2, 3], [4, 4]]
    assert rank_ranges(np.zeros((3, 3), bool)).tolist() == [[1, 3]] * 3


def test_an_interval_that_holds_0_never_has_a_p_below_5_per_cent():
    # Of 18 images: the resampled differences lean towards 0, a normal variable of their deviation doesn't.
    rng = np.random.default_rng(190)
    a = (rng.random((18, 5)) < 0.8).mean(axis=1)
    b = (rng.random((18, 1)) < 0.55).repeat(5, axis=1).mean(axis=1)
    found = paired_difference(a, b)
    assert found.low < 0 < found.high
    normal = 2 * stats.norm.sf(abs(found.value) / resampled_means(b - a).std(ddof=1))
    assert normal < 0.05 < found.p
