import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from embedkit.images.decode import decode
from embedkit.images.reading import Reading
from embedkit.images.remarks import remarks

RNG = np.random.default_rng(0)


def as_file(values, kind):
    buffer = io.BytesIO()
    if kind == "TIFF":
        tifffile.imwrite(buffer, values, photometric="minisblack")
    else:
        Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def deep(top):
    values = RNG.integers(0, top + 1, (30, 40)).astype(np.uint16)
    values[0, 0] = top
    return values


@pytest.mark.parametrize(
    ("top", "white"), [(4095, 4095), (3000, 4095), (1023, 1023), (16383, 16383), (240, 255)]
)
@pytest.mark.parametrize("kind", [None, "PNG", "TIFF"])
def test_dark_data_in_sixteen_bits_is_said(top, white, kind):
    sources = [deep(min(top, 200)), deep(top)]
    found = remarks(sources if kind is None else [as_file(values, kind) for values in sources])
    assert len(found) == 1
    assert f"values up to {top:,} of 65,535" in found[0]
    assert f"--white {white} mends that" in found[0]


def test_nothing_is_said_of_what_uses_its_range():
    eight = RNG.integers(0, 9, (30, 40)).astype(np.uint8)
    full = deep(60000)
    for source in (
        full,
        as_file(full, "PNG"),
        as_file(full, "TIFF"),
        eight,
        as_file(eight, "PNG"),
        b"",
        b"II*\0",
    ):
        assert remarks([source]) == []
    assert remarks([deep(4095), full]) == []
    assert remarks([full.astype(float)]) == []


def test_pages_that_are_not_read_are_said():
    assert "up to 3 pages" in remarks([as_file(np.stack([deep(60000)] * 3), "TIFF")])[0]


def test_bytes_of_few_values_are_nearly_black_and_said():
    mask = (np.arange(64).reshape(8, 8) % 2).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    for source in (mask, buffer.getvalue()):
        assert "values up to 1 of 255" in " ".join(remarks([source]))
        np.testing.assert_array_equal(decode(source, "", reading=Reading(white=1.0))[:, :, 0], mask * 255)
        assert remarks([source, mask * 255]) == []
    assert remarks([np.zeros((8, 8), np.uint8)]) == []
