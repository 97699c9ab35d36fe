"""Second moments of the light: against closed forms, and scikit-image's formula of a region."""

import numpy as np
import pytest

from embedkit.images.light import light_of


def grid(side):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return x, y


def ellipse(long, short, degrees, side=64, middle=(0, 0)):
    """Draw an even ellipse, its angle anticlockwise from the horizontal as one sees it."""
    x, y = grid(side)
    x, y, a = x - middle[0], -(y - middle[1]), np.deg2rad(degrees)
    u, v = x * np.cos(a) + y * np.sin(a), -x * np.sin(a) + y * np.cos(a)
    return ((u / long) ** 2 + (v / short) ** 2 <= 1).astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("long", "short", "degrees"), [(20, 10, 0), (24, 6, 30), (18, 15, 135), (20, 5, 90)])
def test_an_even_ellipse_has_its_own_axes_and_angle(long, short, degrees, dtype):
    grey = 0.1 + 0.7 * ellipse(long, short, degrees, middle=(2, -3))
    found = light_of(grey[None].astype(dtype))
    assert found.axis_ratio[0] == pytest.approx(short / long, abs=0.02)
    apart = (found.angle[0] - degrees) % 180
    assert min(apart, 180 - apart) < 1
    # The moment along an axis of an even ellipse is a quarter of the axis squared.
    assert found.size[0] * 64 == pytest.approx(np.hypot(long, short) / 2, rel=0.02)
    assert found.background[0] == pytest.approx(0.1)


def test_it_is_what_eigenvalues_of_the_moments_say():
    """As `skimage.measure.regionprops` has it: axis lengths are four roots of the eigenvalues."""
    rng = np.random.default_rng(0)
    x, y = grid(48)
    pictures = []
    for _ in range(6):
        (a, b), turn = rng.uniform(2, 7, 2), rng.uniform(0, np.pi)
        u, v = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
        pictures.append(0.05 + 0.8 * np.exp(-0.5 * ((u / a) ** 2 + (v / b) ** 2)))
    found = light_of(np.array(pictures))
    for at, grey in enumerate(pictures):
        light = np.where(grey - found.background[at] > 1.001 / 255, grey - found.background[at], 0)
        light[np.hypot(x, y) > 24] = 0
        spread = np.cov(np.array([x.ravel(), y.ravel()]), aweights=light.ravel(), ddof=0)
        values, vectors = np.linalg.eigh(spread)
        assert found.axis_ratio[at] == pytest.approx(np.sqrt(values[0] / values[1]), rel=1e-6)
        angle = np.rad2deg(np.arctan2(-vectors[1, 1], vectors[0, 1])) % 180
        assert found.angle[at] == pytest.approx(angle, abs=1e-4)
        assert found.size[at] == pytest.approx(np.sqrt(values.sum()) / 48)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_grey_level_is_no_light_on_any_background(dtype):
    for level in range(0, 250, 3):
        grey = np.full((1, 24, 24), level, dtype)
        grey[0, 4:20, 10:14] += 1
        assert np.isnan(light_of(grey / dtype(255)).size[0]), level
        grey[0, 10:14, 4:20] += 1
        assert light_of(grey / dtype(255)).size[0] > 0


def test_round_dark_and_tiny_pictures():
    point = np.zeros((33, 33))
    point[10, 12] = 1
    found = light_of(np.array([ellipse(10, 10, 0, side=33), np.full((33, 33), 0.4), point]))
    assert found.axis_ratio[0] == pytest.approx(1, abs=1e-6)
    assert np.isnan(found.axis_ratio[1])
    assert np.isnan(found.angle[1])
    assert found.size[2] == 0
