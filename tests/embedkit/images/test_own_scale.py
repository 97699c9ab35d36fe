"""A white is on the scale of the file's own numbers, whatever decodes them."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from embedkit.errors import ImageError
from embedkit.images.decode import decode
from embedkit.images.reading import Reading
from embedkit.images.remarks import remarks

RNG = np.random.default_rng(0)
H, W = 30, 44
WHITE = 3000.0
GREY, RGB, GREY_OPACITY, RGB_OPACITY = 0, 2, 4, 6


def png(values: np.ndarray, kind: int, extra: bytes = b"") -> bytes:
    """A PNG of 16 bits a sample as the specification has it, since Pillow writes grey ones only."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", W, H, 16, kind, 0, 0, 0)
    key = chunk(b"tRNS", extra) if extra else b""
    body = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + key + body + chunk(b"IEND", b"")


def netpbm(values: np.ndarray, most: int, *, plain: bool = False) -> bytes:
    letter = {(2, False): b"P5", (2, True): b"P2", (3, False): b"P6"}[values.ndim, plain]
    body = b" ".join(b"%d" % v for v in values.ravel()) if plain else values.astype(">u2").tobytes()
    return b"%s %d %d %d\n%s" % (letter, W, H, most, body)


def drawn(*shape: int) -> np.ndarray:
    return RNG.integers(0, 4096, (H, W, *shape)).astype(np.uint16)


def scaled(values: np.ndarray) -> np.ndarray:
    return np.floor(np.clip(values * (255 / WHITE), 0, 255) + 0.5)


def shown(data: bytes, **said: object) -> np.ndarray:
    return decode(data, "x", reading=Reading(white=WHITE, **said))


def test_grey_of_png_and_pgm():
    values = drawn()
    sources = [png(values, GREY)]
    sources += [netpbm(values, most, plain=plain) for most in (4095, 65535) for plain in (False, True)]
    for source in sources:
        np.testing.assert_array_equal(shown(source)[:, :, 0], scaled(values))


def test_colours_of_png_keep_all_their_bits():
    values = drawn(3)
    np.testing.assert_array_equal(shown(png(values, RGB)), scaled(values))
    np.testing.assert_array_equal(shown(png(values, RGB), channels=(2, 1, 0)), scaled(values[:, :, ::-1]))
    values[3, 4] = key = (1000, 2000, 2999)
    np.testing.assert_array_equal(
        shown(png(values, RGB, struct.pack(">HHH", *key))),
        scaled(np.where((values == key).all(axis=2, keepdims=True), 0, values)),
    )


def test_opacity_is_not_stretched_with_the_colours():
    colours, opacity = drawn(3), RNG.integers(0, 65536, (H, W, 1)).astype(np.uint16)
    values = np.concatenate([colours, opacity], axis=2)
    expected = scaled(colours) * opacity / 65535
    assert np.abs(shown(png(values, RGB_OPACITY)) - expected).max() <= 1
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="rgb", extrasamples=["unassalpha"])
    assert np.abs(shown(buffer.getvalue()) - expected).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_without_a_white(orientation):
    values = drawn()
    exif = Image.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", exif=exif)
    upright = decode(buffer.getvalue(), "x").astype(int)
    stretched = decode(buffer.getvalue(), "x", reading=Reading(white=65535.0))
    assert np.abs(upright - stretched).max() <= 1


def test_eight_bits_where_the_file_has_more_are_refused():
    for source in (png(drawn(2), GREY_OPACITY), netpbm(drawn(3), 4095)):
        assert decode(source, "x").shape == (H, W, 3)
        with pytest.raises(ImageError, match="so that --white does not reach them. Store it as TIFF"):
            shown(source)


def test_dark_colours_are_said_too():
    values = drawn(3)
    values[0, 0] = 4095
    for source in (png(values, RGB), netpbm(values[:, :, 0], 65535)):
        assert "values up to 4,095 of 65,535" in " ".join(remarks([source]))
    assert remarks([netpbm(values[:, :, 0], 4095)]) == []  # its header says what is white
