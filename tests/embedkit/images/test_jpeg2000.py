"""JPEG 2000 of all depths, against the arrays that imagecodecs was given to encode."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from embedkit.errors import ImageError
from embedkit.images.decode import decode
from embedkit.images.reading import Reading

imagecodecs = pytest.importorskip("imagecodecs")
RNG = np.random.default_rng(0)
H, W = 40, 56


def encoded(values: np.ndarray, container: str, bits: int | None = None) -> bytes:
    options = {} if bits is None else {"bitspersample": bits}
    return imagecodecs.jpeg2k_encode(values, level=0, codecformat=container, **options)


def drawn(bits: int, shape: tuple[int, ...]) -> np.ndarray:
    values = RNG.integers(0, 2**bits, shape)
    values[0, :2] = 2**bits - 1  # white, which Pillow makes black in several channels of more than 8 bits
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


@pytest.mark.parametrize("container", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [4, 8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_depth_reaches_white_and_does_not_wrap_around(container, bits, channels):
    values = drawn(bits, (H, W) if channels == 1 else (H, W, channels))
    found = decode(encoded(values, container, bits), "x")
    expected = np.round(values / (2**bits - 1) * 255)
    assert np.abs(found - (expected[:, :, None] if channels == 1 else expected)).max() <= (bits > 8)


@pytest.mark.parametrize("bits", [8, 16])
def test_opacity_lies_over_black(bits):
    values = drawn(bits, (H, W, 4))
    share = values / (2**bits - 1)
    found = decode(encoded(values, "jp2"), "x")
    assert np.abs(found - share[:, :, :3] * share[:, :, 3:] * 255).max() <= 2


def test_signed_numbers_follow_the_rule_of_arrays():
    small = RNG.integers(0, 241, (H, W)).astype(np.int16)
    np.testing.assert_array_equal(decode(encoded(small, "jp2"), "x")[:, :, 0], small)
    with pytest.raises(ImageError, match="int16 values from -?\\d+ to \\d+; this type has no agreed white"):
        decode(encoded(small * np.int16(50) - np.int16(3000), "jp2"), "x")


@pytest.mark.parametrize(("bits", "shape"), [(12, (H, W)), (16, (H, W)), (16, (H, W, 3))])
def test_a_white_is_on_the_scale_of_the_file(bits, shape):
    values = drawn(12, shape)
    found = decode(encoded(values, "jp2", bits), "x", reading=Reading(white=3000.0))
    expected = np.floor(np.clip(values / 3000 * 255, 0, 255) + 0.5)
    np.testing.assert_array_equal(found, np.broadcast_to(expected.reshape(H, W, -1), (H, W, 3)))


def test_what_is_not_read_is_named(monkeypatch):
    data = encoded(drawn(16, (H, W, 3)), "jp2")
    cut = decode(data, "x")
    assert cut.shape == (H, W, 3)
    with pytest.raises(ImageError, match="x: damaged or cut off"):
        decode(data[: len(data) // 2], "x")
    enumerated = data.index(b"colr") + 7
    inks = data[:enumerated] + (12).to_bytes(4, "big") + data[enumerated + 4 :]
    with pytest.raises(ImageError, match="16 bits a sample in other colours than grey or RGB"):
        decode(inks, "x")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageError, match=r"JPEG 2000 of 16 bits .* Install embedkit-images\[tiff\]"):
        decode(data, "x")
    eight = io.BytesIO()  # for which Pillow is enough
    values = drawn(8, (H, W, 3))
    Image.fromarray(values).save(eight, "JPEG2000")
    np.testing.assert_array_equal(decode(eight.getvalue(), "x"), values)
