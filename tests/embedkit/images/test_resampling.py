import numpy as np
import pytest
import torch

from embedkit.errors import ImageError
from embedkit.images.options import CROP_MODES, INTERPOLATIONS
from embedkit.images.preprocess import Preprocessing
from embedkit.images.resampling import TOLERANCE, Resampler, weights

SHAPES = ((256, 256), (69, 69), (300, 200), (40, 61), (30, 270), (15, 200))


def both(preprocessing, shape):
    # Noise has what a picture has not: overshoots that are cut between the two passes.
    x = np.random.default_rng(0).integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    torch_way = Resampler(preprocessing, shape)(torch.from_numpy(x)).numpy()
    return torch_way, np.stack([preprocessing(image) for image in x]).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("crop_mode", CROP_MODES)
def test_levels_are_those_of_pillow(crop_mode, interpolation, shape):
    for size, resize in ((224, 248), (224, 224), (32, 36)):
        done = Preprocessing(size, resize, None, interpolation, crop_mode=crop_mode)
        ours, pillow = both(done, shape)
        assert ours.shape == pillow.shape == (2, size, size, 3)
        off = np.abs(ours - pillow)
        most = 0 if interpolation == "nearest" else TOLERANCE if interpolation == "bilinear" else 1
        assert off.max() <= most
        if interpolation in ("bicubic", "lanczos"):
            assert (off > 0).mean() < 0.01  # ties alone


@pytest.mark.parametrize("side", [13, 14, 40])
def test_a_centre_crop_is_cut_first(side):
    ours, pillow = both(Preprocessing(32, 36, side), (40, 61))
    assert np.abs(ours - pillow).max() <= 1


def test_a_crop_without_a_resize_is_exact():
    ours, pillow = both(Preprocessing(33, 40), (40, 61))
    np.testing.assert_array_equal(ours, pillow)


def test_a_crop_that_is_too_large_is_refused():
    with pytest.raises(ImageError, match="smaller than the centre crop of 50"):
        Resampler(Preprocessing(32, 36, 50), (40, 61))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("n_in", "n_out"), [(7, 3), (3, 7), (1, 5), (5, 1), (256, 248)])
def test_weights_of_a_pixel_sum_to_one(n_in, n_out, interpolation):
    found = weights(n_in, n_out, interpolation)
    assert found.shape == (n_out, n_in)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-12)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_levels_of_a_cpu():
    done = Preprocessing(224, 248)
    x = torch.randint(0, 256, (4, 256, 256, 3), dtype=torch.uint8)
    there = Resampler(done, (256, 256)).cuda()(x.cuda()).cpu()
    assert (there - Resampler(done, (256, 256))(x)).abs().max() <= 1
