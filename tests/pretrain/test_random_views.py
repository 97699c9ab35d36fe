"""Random views: what each preset leaves alone, and what it changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scipy.ndimage import gaussian_filter

from pretrain.views import PRESET, Frames, blur, make_views

STILL = replace(
    PRESET["galaxy"],
    zoom=(1.0, 1.0),
    shift=0.0,
    reddening=False,
    blur_px=0.0,
    noise=0.0,
    brightness=(1.0, 1.0),
)


def draw(pixels, preset, *, region=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return make_views(Frames.measure(pixels, region), region, preset=preset, generator=generator)


def disc(n, colour=(200.0, 120.0, 60.0), radius=8, side=52):
    axis = torch.arange(side) - (side - 1) / 2
    inside = axis[:, None] ** 2 + axis**2 < radius**2
    return (torch.tensor(colour)[:, None, None] * inside).repeat(n, 1, 1, 1)


def test_a_turned_and_flipped_disc_is_the_same_disc():
    views = draw(disc(16), STILL)
    area = disc(1)[0, 0].gt(0).sum()
    assert views[:, 0].gt(100).sum(dim=(1, 2)).float() == pytest.approx(
        torch.full((16,), float(area)), rel=0.08
    )
    torch.testing.assert_close(views.flip(2).mean(0), views.mean(0), atol=25, rtol=0)


def test_galaxy_views_keep_colour_and_most_strong_ones_lose_it():
    grey = {}
    for name in ("galaxy", "galaxy-strong"):
        quiet = replace(PRESET[name], noise=0.0)
        views = draw(disc(400), quiet)[..., 12:20, 12:20].mean(dim=(2, 3))
        grey[name] = float((views.std(dim=1) < 0.5).float().mean())
    assert grey["galaxy"] == 0
    assert grey["galaxy-strong"] == pytest.approx(0.8, abs=0.06)


def test_strong_views_differ_more_in_size_and_brightness():
    spread = {}
    for name in ("galaxy", "galaxy-strong"):
        views = draw(disc(400), replace(PRESET[name], noise=0.0)).mean(dim=1)
        spread[name] = (
            float(views.flatten(1).amax(dim=1).std()),
            float(views.gt(40).sum(dim=(1, 2)).float().std()),
        )
    assert spread["galaxy-strong"][0] > 2 * spread["galaxy"][0]
    assert spread["galaxy-strong"][1] > 1.5 * spread["galaxy"][1]


def test_noise_is_in_units_of_the_images_own_sky():
    sky = (
        torch.randn(64, 3, 52, 52, generator=torch.Generator().manual_seed(1))
        * torch.tensor([2.0, 6.0, 0.0])[:, None, None]
    )
    measured = Frames.measure(sky + 100, 32).sky_std.mean(dim=0)
    assert measured == pytest.approx(torch.tensor([2.0, 6.0, 0.0]), rel=0.1, abs=0.01)


def test_each_image_is_blurred_by_its_own_gaussian():
    x = torch.rand(3, 2, 24, 24, generator=torch.Generator().manual_seed(2))
    sigma = torch.tensor([0.3, 0.8, 1.0])
    for image, s, blurred in zip(x, sigma.tolist(), blur(x, sigma), strict=True):
        wanted = gaussian_filter(image.numpy(), (0, s, s), mode="nearest", radius=(0, 3, 3))
        assert blurred.numpy() == pytest.approx(wanted, abs=1e-5)
