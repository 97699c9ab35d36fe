"""What people give beside plain images: named, or with the value that its standard says."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from embedkit.errors import ImageError
from embedkit.images.decode import decode

GREY = (np.arange(12 * 16).reshape(12, 16) * 300).astype(np.uint16)


def png_of_16_bits(values: np.ndarray, clear: int) -> bytes:
    """Grey PNG with one transparent value, chunk by chunk after the standard."""
    height, width = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [
        (b"IHDR", header),
        (b"tRNS", struct.pack(">H", clear)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_the_transparent_value_of_a_16_bit_png_lies_over_black():
    expected = decode(np.where(GREY[5, 5] == GREY, 0, GREY).astype(np.uint16), "")
    np.testing.assert_array_equal(decode(png_of_16_bits(GREY, int(GREY[5, 5])), ""), expected)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"\x76\x2f\x31\x01" + bytes(40), "OpenEXR"),
        (b"#?RADIANCE\n" + bytes(40), "Radiance HDR"),
        (bytes(128) + b"DICM" + bytes(40), "DICOM"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\x93NUMPY\x01\0" + bytes(40), "NumPy array"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS"),
    ],
)
def test_a_format_that_is_not_read_is_named(data, name):
    with pytest.raises(ImageError, match=f"it is .*{name}"):
        decode(data, "x")


@pytest.mark.parametrize(
    ("lossless", "bits", "message"), [(False, 12, "a JPEG of 12"), (True, 16, "a lossless JPEG of 16")]
)
def test_a_jpeg_of_more_bits_is_no_unknown_format(lossless, bits, message):
    codecs = pytest.importorskip("imagecodecs")
    encode = codecs.ljpeg_encode if lossless else codecs.jpeg_encode
    data = encode((GREY >> (16 - bits)).astype(np.uint16), bitspersample=bits)
    with pytest.raises(ImageError, match=f"it is {message} bits a sample"):
        decode(data, "x")


def test_normalised_images_are_not_to_be_given_a_white():
    # With a white, whatever is below the mean would be black.
    image = (GREY / 65535 - 0.45) / 0.22
    with pytest.raises(ImageError, match="seem to be normalised: undo that") as caught:
        decode(image, "x")
    assert "--white" not in str(caught.value)


def test_damaged_jpegs_are_no_unknown_kind():
    buffer = io.BytesIO()
    Image.fromarray((GREY >> 8).astype(np.uint8)).save(buffer, "JPEG")
    for end in range(2, len(buffer.getvalue()), 7):
        with pytest.raises(ImageError, match="x: "):
            decode(buffer.getvalue()[:end], "x")
