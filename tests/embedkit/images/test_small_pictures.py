"""JPEGs decoded no finer than a small picture takes: as libjpeg gives them, turned, cropped, refused."""

import io

import numpy as np
import pytest
from PIL import Image

from embedkit.errors import ImageError
from embedkit.images.decode import center, crop, decode, decode_small, shrunk


def scene(height, width):
    y, x = np.mgrid[:height, :width]
    spot = 200 * np.exp(-((x - width / 3) ** 2 + (y - height / 2) ** 2) / (width / 6) ** 2)
    return np.stack([spot + 20, 255 * x / width, 255 * y / height], axis=2).astype(np.uint8)


def encoded(pixels, kind="JPEG", **how):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **how)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("side", "shape"),
    [(64, (50, 75)), (30, (50, 75)), (200, (200, 300)), (150, (100, 150)), (301, (400, 600))],
)
def test_a_jpeg_is_decoded_at_the_coarsest_scale_that_is_fine_enough(side, shape):
    data = encoded(scene(400, 600), quality=92)
    small = decode_small(data, "a.jpg", side=side)
    assert small.shape == (*shape, 3)
    with Image.open(io.BytesIO(data)) as image:
        image.draft(None, (shape[1], shape[0]))
        np.testing.assert_array_equal(small, np.asarray(image))
    whole = np.asarray(shrunk(decode(data, "a.jpg"), side), float)
    assert np.abs(np.asarray(shrunk(small, side), float) - whole).mean() < 1.5
    assert abs(small.mean() - decode(data, "a.jpg").mean()) < 0.5


def test_a_crop_counts_in_the_pixels_of_the_image():
    pixels = np.zeros((400, 600, 3), np.uint8)
    pixels[100:300, 200:400] = 255
    data = encoded(pixels, quality=95)
    assert decode_small(data, "a.jpg", side=60, center_crop=200).shape == (100, 100, 3)
    assert decode_small(data, "a.jpg", side=60, center_crop=200)[4:-4, 4:-4].min() > 245
    # There is no such square, so the whole image is shown, as without a crop.
    whole = decode_small(data, "a.jpg", side=60, center_crop=500)
    np.testing.assert_array_equal(whole, decode_small(data, "a.jpg", side=60))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_is_turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(scene(400, 600), quality=92, exif=exif)
    small, whole = decode_small(data, "a.jpg", side=64), decode(data, "a.jpg")
    assert small.shape[0] < small.shape[1] if orientation < 5 else small.shape[0] > small.shape[1]
    same = np.asarray(shrunk(small, 64), float) - np.asarray(shrunk(whole, 64), float)
    assert np.abs(same).mean() < 1.5


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_other_images_are_decoded_whole(kind):
    data = encoded(scene(400, 600), kind)
    np.testing.assert_array_equal(decode_small(data, "a", side=20), decode(data, "a"))
    cropped = decode_small(data, "a", side=20, center_crop=300)
    np.testing.assert_array_equal(cropped, center(decode(data, "a"), 300))


def test_grey_and_four_inks_and_arrays():
    grey = scene(400, 600)[:, :, 1]
    small = decode_small(encoded(grey), "a.jpg", side=64)
    assert small.shape == (50, 75, 3)
    assert (small[:, :, 0] == small[:, :, 2]).all()
    stream = io.BytesIO()
    Image.fromarray(scene(400, 600)).convert("CMYK").save(stream, "JPEG")
    inks = decode_small(stream.getvalue(), "a.jpg", side=64)
    assert abs(float(inks.mean()) - float(decode(stream.getvalue(), "a.jpg").mean())) < 1
    np.testing.assert_array_equal(
        decode_small(scene(90, 90), "a", side=8, center_crop=40), crop(scene(90, 90), 40)
    )


@pytest.mark.parametrize("damage", ["cut", "header", "empty"])
def test_damage_is_told_as_of_the_whole_image(damage):
    data = encoded(scene(400, 600))
    data = {"cut": data[:-400], "header": data[:40], "empty": b""}[damage]
    with pytest.raises(ImageError) as whole:
        decode(data, "a.jpg")
    with pytest.raises(ImageError) as small:
        decode_small(data, "a.jpg", side=20)
    assert str(small.value) == str(whole.value)


@pytest.mark.parametrize("shape", [(7, 3000), (3000, 1), (9, 3000)])
def test_a_strip_is_decoded_whole(shape):
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[-1:] = 255  # which at an eighth would be half of what nine rows come to
    data = encoded(pixels, quality=95)
    np.testing.assert_array_equal(decode_small(data, "a.jpg", side=64), decode(data, "a.jpg"))
