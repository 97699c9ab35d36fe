import numpy as np
import pytest
import torch

from embedkit.datasets.simulated import SimulatedImages
from embedkit.images import views as views_module
from embedkit.images.drawing import TOLERANCE, Canvas, _normal, torch_views
from embedkit.images.options import ViewSet
from embedkit.images.preprocess import Preprocessing
from embedkit.images.resampling import Resampler
from embedkit.images.views import make_views

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
def test_views_are_those_of_pillow_but_for_their_noise(monkeypatch, shape, size, resize, crop):
    monkeypatch.setattr(views_module, "NOISE_STD", 0.0)
    drawn = SimulatedImages(max(shape), 0).read(3)[: shape[0], : shape[1]]
    noise = np.random.default_rng(0).integers(0, 80, (*shape, 3), dtype=np.uint8)
    for pixels in (np.minimum(drawn, 175) + noise, np.full((*shape, 3), 5, np.uint8)):
        done = Preprocessing(size, resize, crop)
        pillow = make_views(pixels, done, THREE, image_id="a", seed=1).astype(int)
        ours = torch_views(pixels, done, THREE, image_id="a", seed=1).astype(int)
        off = np.abs(ours - pillow)
        assert off.max() <= TOLERANCE
        assert (off > 0).mean() < 0.005


def test_noise_is_as_strong_as_that_of_a_cpu():
    done = Preprocessing(64, 64)
    plain = np.full((90, 90, 3), 128, np.uint8)
    for seed in range(3):
        pillow = make_views(plain, done, THREE, image_id="a", seed=seed).std(axis=(1, 2, 3))
        ours = torch_views(plain, done, THREE, image_id="a", seed=seed).std(axis=(1, 2, 3))
        np.testing.assert_allclose(ours, pillow, rtol=0.04, atol=0.02)


def test_noise_is_normal_and_that_of_its_key():
    keys = torch.randint(-(2**31), 2**31, (40, 2), dtype=torch.int32, generator=torch.manual_seed(0))
    z = _normal(keys, 50_000).numpy().astype(np.float64)
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / n)
    between = np.corrcoef(z) - np.eye(40)
    assert np.abs(between).max() < 5 / np.sqrt(50_000)
    assert abs(np.corrcoef(z[:, :-1].ravel(), z[:, 1:].ravel())[0, 1]) < 4 / np.sqrt(n)
    np.testing.assert_array_equal(_normal(keys[7:8], 50_000).numpy()[0], _normal(keys, 50_000).numpy()[7])


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
