"""Two decoders on files of every kind that both know."""

import io

import numpy as np
import pytest
from PIL import Image

from embedkit.images.decode import decode
from embedkit.images.second_decoder import decoded_again

imagecodecs = pytest.importorskip("imagecodecs")
RNG = np.random.default_rng(0)
Y, X = np.mgrid[:36, :52]
COLOURS = np.stack([X * 4, Y * 6, 3 * Y + X], axis=2).astype(np.uint8)
OPACITY = RNG.integers(0, 256, (36, 52, 1)).astype(np.uint8)

IMAGES = {
    "RGB": Image.fromarray(COLOURS),
    "L": Image.fromarray(COLOURS[:, :, 0]),
    "1": Image.fromarray(COLOURS[:, :, 0] > 90),
    "P": Image.fromarray(COLOURS).quantize(60),
    "RGBA": Image.fromarray(np.concatenate([COLOURS, OPACITY], axis=2)),
    "LA": Image.fromarray(np.concatenate([COLOURS[:, :, :1], OPACITY], axis=2), "LA"),
    "I;16": Image.fromarray(COLOURS[:, :, 0].astype(np.uint16) * 257),
    "CMYK": Image.fromarray(COLOURS).convert("CMYK"),
}
KINDS = [("PNG", mode) for mode in IMAGES if mode != "CMYK"]
KINDS += [("JPEG2000", mode) for mode in ("RGB", "L", "RGBA")]
KINDS += [("JPEG", "RGB"), ("JPEG", "L"), ("WEBP", "RGB"), ("WEBP", "RGBA")]


@pytest.mark.parametrize(("kind", "mode"), KINDS)
@pytest.mark.parametrize("orientation", [1, 6])
def test_both_agree(kind, mode, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    buffer = io.BytesIO()
    turns = kind in ("PNG", "JPEG", "WEBP")
    IMAGES[mode].save(buffer, kind, **({"exif": exif} if turns else {}))
    other = decoded_again(buffer.getvalue())
    found = decode(buffer.getvalue(), "x")
    assert other is not None
    assert other.shape == found.shape == ((52, 36, 3) if turns and orientation == 6 else (36, 52, 3))
    assert np.abs(other.astype(int) - found).mean() < 1


def test_there_is_no_second_opinion_on_what_the_other_does_not_know():
    cmyk = io.BytesIO()
    IMAGES["CMYK"].save(cmyk, "JPEG")
    tiff = io.BytesIO()
    IMAGES["RGB"].save(tiff, "TIFF")
    bitmap = io.BytesIO()
    IMAGES["RGB"].save(bitmap, "BMP")
    deep = imagecodecs.jpeg2k_encode(COLOURS.astype(np.uint16) * 257, level=0)
    for data in (
        cmyk.getvalue(),
        tiff.getvalue(),
        bitmap.getvalue(),
        deep,
        b"",
        b"no image",
        cmyk.getvalue()[:50],
    ):
        assert decoded_again(data) is None
