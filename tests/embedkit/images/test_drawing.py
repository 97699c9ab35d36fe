import hashlib
import math

import numpy as np
import pytest
import torch

from embedkit.datasets.simulated import SimulatedImages
from embedkit.images.drawing import TOLERANCE, Canvas, Drawn, _blurred, draw_views, torch_views
from embedkit.images.noise import normal_table
from embedkit.images.options import ViewSet
from embedkit.images.preprocess import Preprocessing
from embedkit.images.resampling import Resampler
from embedkit.images.views import Draw, make_views, taps

THREE = ViewSet("galaxy", 3)


@pytest.mark.parametrize(
    ("shape", "size", "resize", "crop"),
    [
        ((256, 256), 224, 248, None),
        ((255, 200), 224, 224, None),
        ((40, 61), 32, 36, None),
        ((100, 100), 32, 32, 20),
        ((30, 31), 64, 64, None),
        ((7, 5), 32, 32, None),
    ],
)
def test_views_are_those_of_pillow_with_their_noise(shape, size, resize, crop):
    drawn = SimulatedImages(max(shape), 0).read(3)[: shape[0], : shape[1]]
    noise = np.random.default_rng(0).integers(0, 80, (*shape, 3), dtype=np.uint8)
    for pixels in (np.minimum(drawn, 175) + noise, np.full((*shape, 3), 5, np.uint8)):
        done = Preprocessing(size, resize, crop)
        pillow = make_views(pixels, done, THREE, image_id="a", seed=1).astype(int)
        ours = torch_views(pixels, done, THREE, image_id="a", seed=1).astype(int)
        off = np.abs(ours - pillow)
        assert off.max() <= TOLERANCE
        assert (off > 0).mean() < 0.005


@pytest.mark.parametrize("crop", [None, 20])
@pytest.mark.parametrize("shape", [(40, 61), (100, 100), (30, 30), (200, 21)])
def test_a_whole_frame_is_that_of_pillow(shape, crop):
    done = Preprocessing(32, 36 if crop is None else 32, crop)
    x = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    resampler = Resampler(done, shape, whole=True)
    expected = np.stack([done.frame(image, "x") for image in x]).astype(int)
    ours = resampler(torch.from_numpy(x)).numpy().astype(int)
    assert ours.shape[1:3] == resampler.shape == expected.shape[1:3]
    assert np.abs(ours - expected).max() <= 1
    assert len(Canvas.of(resampler.shape, 32).rows) == Canvas.side(32)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, 2**32, 2**70 + 3])
@pytest.mark.parametrize("image_id", ["a", "587722981742084144", "é"])
def test_what_is_random_is_what_numpy_draws_of_seed_image_and_view(seed, image_id):
    size = 96
    for view in (0, 1, 300):
        digest = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "little")
        random = np.random.default_rng([seed, digest, view])
        angle = random.uniform(0, 2 * math.pi)
        zoom = math.exp(random.uniform(math.log(0.8), math.log(1.2)))
        flip = -1.0 if random.random() < 0.5 else 1.0
        shift = random.uniform(-4, 4, size=2) * size / 224
        brightness, sigma, noise = random.uniform(0.85, 1.15), random.uniform(0, 1), random.uniform(0, 3)
        ours = Draw.of(size, image_id, seed, view)
        cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
        assert ours.affine == pytest.approx((cos * flip, -sin, sin * flip, cos), rel=1e-14)
        found = (*ours.shift, ours.brightness, ours.sigma, ours.noise_std)
        assert found == pytest.approx((*shift, brightness, sigma * size / 224, noise), rel=1e-14)
        np.testing.assert_array_equal(ours.key, random.integers(-(2**31), 2**31, 2))


def test_a_blur_is_a_convolution_whose_edges_repeat():
    values = torch.rand(2, 3, 1, 20, 20, generator=torch.manual_seed(0)) * 255
    weights = torch.zeros(2, 3, 7)
    sigmas = [[0.0, 0.5, 1.0], [0.3, 0.7, 0.99]]
    for i, row in enumerate(sigmas):
        for j, sigma in enumerate(row):
            found = torch.from_numpy(taps(sigma))
            start = 3 - len(found) // 2
            weights[i, j, start : start + len(found)] = found
    grouped = values.reshape(1, 6, 20, 20)
    for shape, pad in (((6, 1, 7, 1), (0, 0, 3, 3)), ((6, 1, 1, 7), (3, 3, 0, 0))):
        padded = torch.nn.functional.pad(grouped, pad, mode="replicate")
        grouped = torch.nn.functional.conv2d(padded, weights.reshape(shape), groups=6)
    torch.testing.assert_close(_blurred(values, weights), grouped.reshape(values.shape), atol=1e-3, rtol=0)


def test_a_batch_of_views_is_drawn_in_as_many_steps_as_one_image():
    done = Preprocessing(32, 36)
    side, place = Canvas.side(32), Canvas.of((36, 36), done.image_size)

    def steps(n_images, n_views):
        drawn = Drawn.blank(n_images, n_views, 32)
        for i in range(n_images):
            drawn.draw(i, place, image_id=str(i), seed=0)
        canvases = torch.zeros(n_images, side, side, 3, dtype=torch.uint8)
        with torch.inference_mode(), torch.profiler.profile() as profile:
            draw_views(canvases, drawn, 32, torch.from_numpy(normal_table()))
        return sum(event.count for event in profile.key_averages() if event.key.startswith("aten::"))

    one = steps(1, 2)
    assert steps(5, 2) == steps(2, 7) == one
    assert one < 900
