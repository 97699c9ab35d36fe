from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config, resolve_model_data_config
from torchvision import transforms

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.errors import ImageError, UsageError
from embedkit.images.decode import center, crop
from embedkit.images.options import CROP_MODES, INTERPOLATIONS, Overrides
from embedkit.images.preprocess import Preprocessing, from_timm, overrides_of

RNG = np.random.default_rng(0)
# Even, odd, tall, wide, square, smaller than the input, and one pixel.
SHAPES = [
    (40, 48),
    (41, 47),
    (33, 100),
    (257, 300),
    (300, 257),
    (64, 64),
    (69, 69),
    (50, 33),
    (37, 90),
    (10, 21),
    (1, 1),
]
SIZES = [(32, 32), (32, 37), (33, 40), (31, 36)]
OWN = Preprocessing(image_size=32, resize=36)


def image(height, width):
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_pixels_are_those_of_torchvision(shape, sizes):
    size, resize = sizes
    pixels = image(*shape)
    bicubic = transforms.InterpolationMode.BICUBIC
    oracle = transforms.Compose([transforms.Resize(resize, bicubic), transforms.CenterCrop(size)])
    np.testing.assert_array_equal(
        Preprocessing(size, resize)(pixels), np.asarray(oracle(Image.fromarray(pixels)))
    )


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "resnet18"])
@pytest.mark.parametrize("shape", [(300, 257), (211, 424)], ids=str)
def test_model_input_is_that_of_timms_own_transform(name, shape):
    config = resolve_model_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    pixels = image(*shape)
    expected = create_transform(**config, is_training=False)(Image.fromarray(pixels))
    own = from_timm(config)
    found = own.normalize(torch.tensor(own(pixels))[None])[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_interpolation(interpolation):
    pixels = image(90, 90)
    found = Preprocessing(32, 32, interpolation=interpolation)(pixels)
    expected = Image.fromarray(pixels).resize((32, 32), Image.Resampling[interpolation.upper()])
    np.testing.assert_array_equal(found, np.asarray(expected))


@pytest.mark.parametrize("shape", [(60, 60), (61, 75), (90, 43)], ids=str)
@pytest.mark.parametrize("crop", [20, 43, 32, 1])
def test_center_crop_cuts_first_and_resizes_then(shape, crop):
    pixels = image(*shape)
    cut = transforms.CenterCrop(crop)(Image.fromarray(pixels))
    expected = cut if crop == 32 else cut.resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(Preprocessing(32, 32, center_crop=crop)(pixels), np.asarray(expected))


def test_pixels_outside_the_center_crop_do_not_matter():
    a, b = image(80, 80), image(80, 80)
    b[20:60, 20:60] = a[20:60, 20:60]
    crop = Preprocessing(32, 32, center_crop=40)
    np.testing.assert_array_equal(crop(a), crop(b))


def test_an_image_smaller_than_the_center_crop_is_named():
    with pytest.raises(
        ImageError,
        match=r"sky/a\.jpg: 50 x 30 pixels, smaller than the centre crop of 40. Take a smaller one",
    ):
        Preprocessing(32, 32, center_crop=40)(image(30, 50), "sky/a.jpg")


@pytest.mark.parametrize("shape", [(1, 60_000), (60_000, 1), (3, 20_000)], ids=str)
def test_a_thin_strip_is_not_blown_up(shape):
    strip = np.full((*shape, 3), 90, np.uint8)
    own = Preprocessing(224, 256)
    assert max(own.frame(strip, "strip").shape) <= 8 * 256
    assert (own(strip) == 90).all()


def test_a_small_crop_of_a_large_image_is_not_blown_up():
    assert max(Preprocessing(224, 224, center_crop=2).frame(image(1000, 1200), "large").shape) <= 8 * 224


def test_center_of_even_and_odd_lengths():
    row = np.arange(9)[None, :, None].repeat(9, axis=0).astype(np.uint8)
    assert center(row, 4)[0, :, 0].tolist() == [2, 3, 4, 5]
    assert center(row, 3)[0, :, 0].tolist() == [3, 4, 5]
    assert center(row[:2], 4).shape == (2, 4, 1)


def test_a_crop_larger_than_the_image_leaves_it_whole():
    pixels = image(9, 12)
    np.testing.assert_array_equal(crop(pixels, 9), pixels[:, 2:11])
    assert crop(pixels, 10) is pixels
    assert crop(pixels, None) is pixels


def test_normalize_is_torchvisions():
    pixels = image(8, 8)
    own = Preprocessing(8, 8, mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.4))
    oracle = transforms.Compose([transforms.ToTensor(), transforms.Normalize(own.mean, own.std)])
    found = own.normalize(torch.from_numpy(pixels[None]))
    assert found.shape == (1, 3, 8, 8)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0], oracle(pixels), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, (32, 36, None)),
        ({"image_size": 64}, (64, 72, None)),  # the crop ratio stays
        ({"image_size": 64, "resize": 64}, (64, 64, None)),
        ({"resize": 50}, (32, 50, None)),
        ({"center_crop": 20}, (32, 36, 20)),
        ({"center_crop": 20, "image_size": 16}, (16, 18, 20)),
    ],
    ids=str,
)
def test_overrides(change, expected):
    changed = OWN.changed(Overrides(**change))
    assert (changed.image_size, changed.resize, changed.center_crop) == expected
    assert (changed.mean, changed.std, changed.interpolation) == (OWN.mean, OWN.std, OWN.interpolation)


def test_overrides_of_colour_and_kernel():
    changed = OWN.changed(Overrides(mean=(0, 0, 0), std=(1, 1, 1), interpolation="nearest"))
    assert (changed.mean, changed.std, changed.interpolation) == ((0, 0, 0), (1, 1, 1), "nearest")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"interpolation": "cubic"},
            "--interpolation cubic: unknown. Did you mean 'bicubic'\\? Give one of nearest, bilinear",
        ),
        ({"resize": 20}, "resize 20 is smaller than the model input of 32 pixels. Give --resize 32 or more"),
        ({"image_size": 0}, "--image-size 0: give an integer of at least 1"),
        ({"center_crop": 0}, "--center-crop 0: give an integer of at least 1"),
        ({"center_crop": 20, "resize": 40}, "--resize and --center-crop exclude each other"),
        ({"center_crop": 20, "crop_mode": "squash"}, "--crop-mode squash and --center-crop exclude each"),
        ({"std": (0.0, 1.0, 1.0)}, "--std 0: give a number above 0"),
    ],
    ids=str,
)
def test_overrides_that_make_no_sense(change, message):
    with pytest.raises(UsageError, match=message):
        OWN.changed(Overrides(**change))


def test_a_backbone_of_oblong_input_is_refused_unless_a_square_one_is_given():
    config = {"input_size": (3, 224, 112), "mean": (0, 0, 0), "std": (1, 1, 1), "crop_pct": 1.0}
    with pytest.raises(UsageError, match="takes 224 x 112 input, .* Give --image-size 112"):
        from_timm(config)
    assert from_timm(config, image_size=64) == Preprocessing(64, 64, mean=(0, 0, 0), std=(1, 1, 1))


def registered():
    """Every preprocessing of timm's published weights, with one name that has it."""
    found = {}
    for name in [*timm.list_pretrained(), *timm.list_models()]:
        config = resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
        found.setdefault(tuple(sorted(config.items())), name)
    return [(name, dict(config)) for config, name in found.items()]


@pytest.mark.parametrize("shape", [(97, 230), (301, 200)], ids=str)
def test_the_whole_registry_is_preprocessed_as_timm_does(shape):
    pixels = image(*shape)
    picture = Image.fromarray(pixels)
    seen = set()
    for name, config in registered():
        _, height, width = config["input_size"]
        if height != width:
            with pytest.raises(UsageError, match="makes square ones"):
                from_timm(config)
            continue
        own = from_timm(config)
        kind = (own.image_size, own.resize, own.crop_mode, own.interpolation, own.mean[0])
        if kind in seen:
            continue
        seen.add(kind)
        oracle = create_transform(**config, is_training=False, normalize=False)
        expected = oracle(picture).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(own(pixels), expected, err_msg=f"{name} {config}")
    assert {crop_mode for _, _, crop_mode, _, _ in seen} == set(CROP_MODES)
    assert any(resize < size for size, resize, *_ in seen)


@pytest.mark.parametrize("crop_mode", CROP_MODES)
@pytest.mark.parametrize("crop_pct", [1.0, 0.875, 1.15])
@pytest.mark.parametrize("shape", [*SHAPES, (7, 300), (300, 7)], ids=str)
def test_every_crop_mode_is_timms_on_every_shape(crop_mode, crop_pct, shape):
    if crop_mode == "center" and max(shape) > 8 * min(shape):
        pytest.skip("only what lies within reach of the centre is resized")
    for size in (32, 33):
        config = {"input_size": (3, size, size), "crop_pct": crop_pct, "crop_mode": crop_mode}
        config |= {"mean": (0.2, 0.5, 0.7), "std": (0.2, 0.3, 0.4), "interpolation": "bilinear"}
        pixels = image(*shape)
        oracle = create_transform(**config, is_training=False, normalize=False)
        expected = oracle(Image.fromarray(pixels)).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(from_timm(config)(pixels), expected)


@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 0.95, 0.965])
def test_another_size_is_resized_as_timm_does_from_the_declared_ratio(crop_pct):
    config = {"input_size": (3, 224, 224), "crop_pct": crop_pct, "mean": (0, 0, 0), "std": (1, 1, 1)}
    for size in range(96, 520, 9):
        own = from_timm(config).changed(Overrides(image_size=size))
        oracle = create_transform((3, size, size), is_training=False, crop_pct=crop_pct)
        assert (own.image_size, own.resize) == (size, oracle.transforms[0].size)
        assert from_timm(config).record().keys() == OWN.record().keys()


@pytest.mark.parametrize("crop_mode", CROP_MODES)
def test_a_center_crop_is_a_square_whatever_the_mode(crop_mode):
    pixels = image(60, 90)
    square = Preprocessing(32, 40, center_crop=50)
    np.testing.assert_array_equal(
        Preprocessing(32, 40, center_crop=50, crop_mode=crop_mode)(pixels), square(pixels)
    )


@pytest.mark.parametrize("name", ["vit_small_patch16_224_dino", "vit_small_patch16_224.dino"])
def test_dino_is_resized_to_256_by_either_of_its_names(name):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm's, of the older name
        own = load_backbone(BackboneSpec(name, random_init=0)).preprocessing
    assert (own.image_size, own.resize) == (224, 256)


@pytest.mark.parametrize("channels", [2, 5])
def test_many_channels_are_resized_one_by_one(channels):
    pixels = RNG.integers(0, 256, (50, 70, channels), dtype=np.uint8)
    own = Preprocessing(32, 36, channels=channels, mean=(0.5,) * channels, std=(1.0,) * channels)
    found = own(pixels)
    for c in range(channels):
        one = pixels[:, :, [c, c, c]]
        np.testing.assert_array_equal(found[:, :, c], OWN(one)[:, :, 0])
    assert own.normalize(torch.from_numpy(found[None])).shape == (1, channels, 32, 32)
    with pytest.raises(ImageError, match=f"x: 3 channels, but the backbone takes {channels}"):
        own(image(40, 40), "x")


@pytest.mark.parametrize("shape", [(300, 257), (211, 424)], ids=str)
def test_one_channel_is_the_luma_as_timm_gives_it(shape):
    config = {"input_size": (1, 32, 32), "mean": (0.3,), "std": (0.2,), "crop_pct": 0.9}
    pixels = image(*shape)
    expected = create_transform(**config, interpolation="bicubic", is_training=False)(
        Image.fromarray(pixels).convert("L")
    )
    own = from_timm(config)
    found = own.normalize(torch.tensor(own(pixels))[None])[0]
    assert found.shape == (1, 32, 32)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_one_channel_has_one_mean_and_std():
    grey = from_timm({"input_size": (1, 32, 32), "mean": (0.4, 0.5, 0.6), "std": (0.1, 0.2, 0.3)})
    assert (grey.mean, grey.std, grey.channels) == (pytest.approx((0.5,)), pytest.approx((0.2,)), 1)
    assert grey.changed(Overrides(mean=(0.1, 0.1, 0.1))).mean == (0.1,)
    with pytest.raises(UsageError, match="--mean gives red, green and blue, but the backbone takes 1 chan"):
        grey.changed(Overrides(mean=(0.1, 0.2, 0.1)))


def test_record_is_json_and_complete():
    assert Preprocessing(**Preprocessing(32, 36, center_crop=5).record()) == Preprocessing(
        32, 36, center_crop=5
    )


@pytest.mark.parametrize(
    "own",
    [
        Preprocessing(32, 36, mean=(0.1, 0.2, 0.3)),
        Preprocessing(32, 36, center_crop=5, interpolation="nearest"),
        Preprocessing(32, 32, channels=1, mean=(0.5,), std=(0.2,)),
        Preprocessing(32, 32, crop_mode="squash"),
    ],
    ids=str,
)
def test_a_record_gives_its_preprocessing_again(own):
    plain = Preprocessing(16, 16, channels=own.channels, mean=(0,) * own.channels, std=(1,) * own.channels)
    again = plain.changed(overrides_of(own.record()))
    if own.center_crop is not None:  # which fixes the scale without it
        assert again.image_size == own.image_size
        again = replace(again, resize=own.resize)
    assert again == own
