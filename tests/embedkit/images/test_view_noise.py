"""The numbers of noise: normal, of their key alone, and the same by NumPy, by torch and compiled."""

import numpy as np
import pytest
import torch
from scipy import stats

from embedkit.images import compiled_views, drawing
from embedkit.images.noise import normal, normal_table

KEYS = np.random.default_rng(0).integers(-(2**31), 2**31, (40, 2), dtype=np.int32)


def lowbias32(x):
    """As published (https://nullprogram.com/blog/2018/07/31/), in whole numbers."""
    x = (x ^ (x >> 16)) * 0x7FEB352D % 2**32
    x = (x ^ (x >> 15)) * 0x846CA68B % 2**32
    return x ^ (x >> 16)


def test_numbers_are_quantiles_of_the_normal_distribution():
    expected = stats.norm.ppf((np.arange(65536) + 0.5) / 65536)
    np.testing.assert_allclose(normal_table(), expected, rtol=1e-6)
    assert normal_table().std() == pytest.approx(1, abs=2e-5)


def test_numbers_are_chosen_by_the_halves_of_hashes_of_key_and_place():
    for key in KEYS[:3]:
        first, second = (int(word) % 2**32 for word in key)
        words = [lowbias32(lowbias32((first + i) % 2**32) ^ second) for i in range(50)]
        halves = [half for word in words for half in (word % 65536, word // 65536)]
        np.testing.assert_array_equal(normal(key, 100), normal_table()[halves])


@pytest.mark.parametrize("n", [1, 7, 3 * 33 * 33, 3 * 224 * 224])
def test_torch_and_compiled_code_draw_the_numbers_of_numpy(n):
    table = normal_table()
    expected = np.stack([normal(key, n) for key in KEYS[:5]])
    drawn = drawing._normal(torch.from_numpy(KEYS[:5]), n, torch.from_numpy(table))
    np.testing.assert_array_equal(drawn.numpy(), expected)
    compiled = [compiled_views._normal(key.view(np.uint32), n, table) for key in KEYS[:5]]
    np.testing.assert_array_equal(compiled, expected)


def test_noise_is_normal_and_without_a_pattern():
    z = np.stack([normal(key, 50_000) for key in KEYS]).astype(np.float64)
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / n)
    assert stats.kstest(z[0], "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(z) - np.eye(40)).max() < 5 / np.sqrt(50_000)
    for apart in (1, 2, 3, 96, 2 * 96):  # neighbours, channels, lines
        r = np.corrcoef(z[:, :-apart].ravel(), z[:, apart:].ravel())[0, 1]
        assert abs(r) < 4 / np.sqrt(n)


@pytest.mark.parametrize("other", [(1, 0), (0, 1), (2**31 - 1, 0)])
def test_keys_that_are_alike_have_noise_that_is_not(other):
    a, b = (normal(np.array(key, np.int32), 50_000) for key in ((0, 0), other))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(50_000)
