import numpy as np
import pytest

from clustering.checks.image_statistics import image_statistics
from embedkit.errors import DataError


def galaxy(*, long=14.0, short=7.0, degrees=0.0, peak=200.0, sky=20.0, side=128, noise=0.0):
    """An elliptical Gaussian of light on an even sky; angles from right towards down."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    a = np.deg2rad(degrees)
    u, v = x * np.cos(a) + y * np.sin(a), -x * np.sin(a) + y * np.cos(a)
    light = sky + peak * np.exp(-0.5 * ((u / long) ** 2 + (v / short) ** 2))
    light += noise * np.random.default_rng(0).normal(size=light.shape)
    grey = np.clip(np.rint(light), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def test_second_moments_of_a_gaussian():
    found = image_statistics([galaxy()])
    # Cut at one grey level above the sky, so a little smaller than sigma.
    assert found.size[0] * 128 == pytest.approx(np.hypot(14, 7), rel=0.06)
    e = (14**2 - 7**2) / (14**2 + 7**2)
    assert found.orientation[0] == pytest.approx([e, 0], abs=0.02)
    assert found.background[0] == pytest.approx(20 / 255)
    assert found.brightness[0] == pytest.approx(galaxy().mean() / 255)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 120, 175])
def test_orientation_turns_twice_as_fast(degrees):
    e1, e2 = image_statistics([galaxy(degrees=degrees)]).orientation[0]
    assert np.hypot(e1, e2) == pytest.approx(0.6, abs=0.03)
    difference = (np.rad2deg(np.arctan2(e2, e1)) / 2 - degrees) % 180
    assert min(difference, 180 - difference) < 1


def test_half_a_turn_changes_nothing_and_a_quarter_the_sign():
    pixels = galaxy(degrees=25)
    found = image_statistics([pixels, np.rot90(pixels, 2), np.rot90(pixels)])
    assert found.orientation[1] == pytest.approx(found.orientation[0])
    assert found.orientation[2] == pytest.approx(-found.orientation[0])
    assert found.size == pytest.approx(found.size[0])


def test_a_round_object_has_no_orientation():
    assert image_statistics([galaxy(long=9, short=9)]).orientation[0] == pytest.approx([0, 0], abs=1e-3)


def test_noise_of_the_sky_does_not_make_it_larger():
    clean, noisy = image_statistics([galaxy(), galaxy(noise=4)]).size
    assert noisy == pytest.approx(clean, rel=0.15)


def test_each_statistic_follows_its_own_change():
    images = [galaxy(peak=100), galaxy(), galaxy(sky=40), galaxy(sky=40, long=28, short=14)]
    assert (np.diff(image_statistics(images).brightness) > 0).all()
    found = image_statistics([galaxy(), galaxy(sky=40), galaxy(long=20, short=10)])
    assert found.background[1] > found.background[0] == found.background[2]
    assert found.size[2] == pytest.approx(found.size[0] * 20 / 14, rel=0.05)


def test_an_even_image_has_no_size():
    found = image_statistics([np.full((8, 8, 3), 50, np.uint8)])
    assert found.brightness[0] == found.background[0] == 50 / 255
    assert np.isnan(found.size[0])
    assert np.isnan(found.orientation).all()
    point = np.zeros((9, 9, 3), np.uint8)
    point[4, 4] = 255
    assert image_statistics([point]).size[0] == 0


def test_no_images_and_no_image():
    assert len(image_statistics([])) == 0
    with pytest.raises(DataError, match=r"pixels of shape \(8, 8\), expected \(h, w, 3\)"):
        image_statistics([np.zeros((8, 8), np.uint8)])


def test_rows_of_it():
    found = image_statistics([galaxy(), galaxy(sky=40), galaxy(peak=90)])
    part = found.take(np.array([2, 0]))
    assert part.brightness.tolist() == found.brightness[[2, 0]].tolist()
    assert part.orientation.shape == (2, 2)
