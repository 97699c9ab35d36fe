"""The examination of maps: each part against a truth computed another way."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from embedkit.console import foretelling
from reports.cam.sanity import (
    CELLS,
    CENTRE,
    OWN,
    RANDOM,
    SCATTERED,
    STEPS,
    UNTRAINED,
    Sanity,
    area,
    cell_of,
    deletion,
    examine,
    hottest_first,
    moved,
    rank_correlations,
)
from reports.cam.verdict import verdict

RANDOM_MAPS = np.random.default_rng(0).random((6, 32, 32)).astype(np.float32)


def test_the_area_is_that_of_trapezoids():
    curves = np.random.default_rng(1).random((4, STEPS + 1))
    np.testing.assert_allclose(area(curves), np.trapezoid(curves, dx=1 / STEPS, axis=1))


@pytest.mark.parametrize("s", [10, 16, 48, 50])
def test_cells_are_squares_that_cover_the_image(s):
    cells = cell_of(s)
    k = min(s, CELLS)
    assert set(cells.ravel()) == set(range(k * k))
    assert np.bincount(cells.ravel()).min() >= (s // k) ** 2


def test_the_hottest_cells_go_first_and_equal_ones_by_chance():
    heat = np.zeros((2, 32, 32), np.float32)
    heat[0, :2, 30:] = 1.0  # the cell at the upper right
    heat[1, 4:6, 6:8] = 0.5
    order = hottest_first(heat, np.random.default_rng(0))
    assert order[:, 0].tolist() == [15, 2 * 16 + 3]
    assert order[0, 1:].tolist() != order[1, 1:].tolist() != sorted(order[1, 1:])
    assert all(sorted(one) == list(range(256)) for one in order.tolist())


def test_rank_correlations_are_scipys_and_0_of_a_map_that_is_flat():
    other = np.random.default_rng(2).random((6, 32, 32)).round(1)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(RANDOM_MAPS, other, strict=True)]
    np.testing.assert_allclose(rank_correlations(RANDOM_MAPS, other), expected, atol=1e-12)
    assert rank_correlations(np.ones((1, 4, 4)), RANDOM_MAPS[:1, :4, :4]).tolist() == [0.0]


def test_moved_maps_keep_their_values_and_their_shape():
    square = np.zeros((5, 32, 32), np.float32)
    square[:, 10:14, 10:16] = 1
    found = moved(square, np.random.default_rng(0))
    assert len({one.tobytes() for one in found}) > 1
    for one in found:
        assert one.sum() == 24
        rows, columns = one.any(axis=1).sum(), one.any(axis=0).sum()
        assert sorted((rows, columns)) == [4, 6]


def bright(pixels):
    """Probability of class 0: the share of the image that is white, by a formula that is known."""
    p = (pixels[..., 0] == 255).mean(axis=(1, 2))
    return np.stack([p, 1 - p], axis=1)


def test_deletion_fills_with_the_median_and_follows_the_order():
    pixels = np.full((1, 32, 32, 3), 9, np.uint8)
    pixels[0, :8] = 255  # 4 of 16 rows of cells
    order = np.arange(256)[None]
    curve = deletion(bright, pixels, np.array([0]), order, lambda n=1: None)[0]
    removed = np.round(np.arange(STEPS + 1) / STEPS * 256)
    np.testing.assert_allclose(curve, np.maximum(0, 64 - removed) / 256, atol=1e-12)
    backwards = deletion(bright, pixels, np.array([1]), order[:, ::-1], lambda n=1: None)[0]
    np.testing.assert_allclose(backwards, 1 - np.minimum(64, 256 - removed) / 256, atol=1e-12)


def objects(n):
    pixels = np.full((n, 32, 32, 3), 9, np.uint8)
    random = np.random.default_rng(4)
    for i, (y, x) in enumerate(random.integers(0, 24, (n, 2))):
        pixels[i, y : y + 8, x : x + 8] = 255
    return pixels


def knows(pixels, classes):
    return (pixels[..., 0] == 255).astype(np.float32)


def fixed(pixels, classes):
    return np.broadcast_to(RANDOM_MAPS[0], pixels.shape[:3]).copy()


def test_maps_that_know_the_object_pass_and_turn_with_it():
    found = examine(knows, fixed, bright, objects(30), np.zeros(30, np.int64), seed=0)
    assert set(found.curves) == {OWN, UNTRAINED, CENTRE, RANDOM, SCATTERED}
    np.testing.assert_allclose(found.turned[OWN], 1)
    assert found.turned[UNTRAINED].mean() < 0.2
    # After a tenth, 26 cells, all of an object of at most 25 cells is gone.
    np.testing.assert_allclose(found.areas(OWN), 64 / 1024 / 2 / STEPS)
    assert found.follows is True
    assert "follow the network" in verdict(found)
    assert "same map, turned (rank correlation 1.00)" in verdict(found)


def test_maps_that_are_the_same_for_every_image_fail():
    found = examine(fixed, knows, bright, objects(30), np.zeros(30, np.int64), seed=0)
    assert found.follows is False
    assert verdict(found).startswith("Don't believe the maps")
    np.testing.assert_allclose(found.other, 1)


def test_maps_no_better_than_those_of_random_weights_are_not_what_was_learnt():
    found = examine(knows, knows, bright, objects(30), np.zeros(30, np.int64), seed=0)
    assert found.follows is False
    assert verdict(found).startswith("Don't take the maps for what the network has learnt")


def test_how_long_the_examination_takes_is_said_where_that_is_long(monkeypatch, capsys):
    monkeypatch.setattr(foretelling, "ENOUGH_SECONDS", 0.0)
    monkeypatch.setattr(foretelling, "LONG_SECONDS", 0.0)
    examine(knows, fixed, bright, objects(12), np.zeros(12, np.int64), seed=0)
    said = capsys.readouterr().err
    assert said.count("for examining the maps of 12 images. --n-sanity examines fewer.") == 1


def test_few_images_settle_nothing():
    found = examine(knows, fixed, bright, objects(4), np.zeros(4, np.int64), seed=0)
    assert found.follows is None
    assert "is not settled" in verdict(found)
    assert "On 4 images that means little: 10 are needed." in verdict(found)


def test_what_the_middle_explains_as_well_is_said():
    ones = np.linspace(1, 0, STEPS + 1)[None].repeat(30, 0)
    noise = np.random.default_rng(0).normal(0, 0.01, (30, 1))
    curves = {OWN: 0.5 * ones + noise, CENTRE: 0.5 * ones, UNTRAINED: ones, RANDOM: ones, SCATTERED: ones}
    same = np.full(30, 0.9)
    found = Sanity(curves, {OWN: same, UNTRAINED: same}, same, same, 0)
    assert found.follows is True
    assert "Removing from the middle outwards costs it as much" in verdict(found)
    assert "but so do other images (0.90)" in verdict(found)
