"""FITS against astropy: its files, and the stretches of its visualisation."""

import contextlib
import gzip
import io

import numpy as np
import pytest

from embedkit.errors import ImageError
from embedkit.images.decode import decode
from embedkit.images.fits import stretched
from embedkit.images.reading import STRETCHES, Reading

fits = pytest.importorskip("astropy.io.fits")
RNG = np.random.default_rng(0)
SKY = RNG.normal(100, 5, (40, 60)) + 900 * np.exp(-((np.mgrid[:40, :60][0] - 20) ** 2) / 30)


def written(*parts: object) -> bytes:
    buffer = io.BytesIO()
    fits.HDUList(list(parts)).writeto(buffer)
    return buffer.getvalue()


def primary(values: np.ndarray) -> bytes:
    return written(fits.PrimaryHDU(values))


@pytest.mark.parametrize("stretch", STRETCHES)
@pytest.mark.parametrize("percentiles", [(0.5, 99.5), (0, 100), (25, 90)])
def test_a_stretch_is_astropys(stretch, percentiles):
    from astropy import visualization as v

    stretches = {
        "asinh": v.AsinhStretch(0.1),
        "linear": v.LinearStretch(),
        "log": v.LogStretch(1000),
        "sqrt": v.SqrtStretch(),
    }
    interval = v.AsymmetricPercentileInterval(*percentiles)
    norm = v.ImageNormalize(SKY, interval=interval, stretch=stretches[stretch], clip=True)
    expected = np.floor(np.asarray(norm(SKY)) * 255 + 0.5)
    found = decode(primary(SKY), "x", reading=Reading(stretch=stretch, percentiles=percentiles))
    assert np.abs(found[:, :, 0] - expected).max() <= 1
    assert (found[:, :, 0] == expected).mean() > 0.999


def test_by_default_it_is_asinh_between_the_outer_half_per_cents():
    said = Reading(stretch="asinh", percentiles=(0.5, 99.5))
    np.testing.assert_array_equal(decode(primary(SKY), "x"), decode(primary(SKY), "x", reading=said))


@pytest.mark.parametrize("dtype", ["uint8", ">i2", ">i4", ">f4", ">f8", "<f4", "uint16", "uint32"])
def test_types_and_scales_are_those_of_the_file(dtype):
    values = np.clip(SKY, 0, 255).astype(dtype)
    expected = stretched(values.astype(float)[:, :, None], "x", "asinh", (0.5, 99.5))
    np.testing.assert_array_equal(decode(primary(values), "x")[:, :, :1], expected)
    scaled = fits.PrimaryHDU(values)
    if dtype in (">i2", ">i4"):
        scaled.header["BSCALE"], scaled.header["BZERO"] = -2.0, 7.0  # which turns dark to light
        data = written(scaled)
        expected = stretched(7 - 2 * values.astype(float)[:, :, None], "x", "asinh", (0.5, 99.5))
        np.testing.assert_array_equal(decode(data, "x")[:, :, :1], expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_black_and_moves_no_percentile(bad):
    holed = SKY.astype(">f4")
    holed[:3] = bad
    whole = stretched(holed[3:, :, None], "x", "asinh", (0.5, 99.5))
    found = decode(primary(holed), "x")
    assert found[:3].max() == 0
    np.testing.assert_array_equal(found[3:, :, :1], whole)
    with pytest.raises(ImageError, match="no value of it is finite"):
        decode(primary(np.full((4, 4), np.nan)), "x")


def test_blank_integers_are_black():
    part = fits.PrimaryHDU(np.arange(1, 101, dtype=np.int16).reshape(10, 10))
    part.header["BLANK"] = 100
    assert decode(written(part), "x")[9, 9, 0] == 0


def test_the_first_part_with_an_image_is_read_or_the_one_that_is_named():
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.ones(3))])
    data = written(
        fits.PrimaryHDU(), table, fits.ImageHDU(SKY, name="SCI"), fits.ImageHDU(SKY[::-1], name="ERR")
    )
    sci, err = decode(primary(SKY), "x"), decode(primary(SKY[::-1]), "x")
    np.testing.assert_array_equal(decode(data, "x"), sci)
    for name in ("ERR", "3", "err"):
        np.testing.assert_array_equal(decode(data, "x", reading=Reading(hdu=name)), err)
    for name in ("9", "DQ", "1", "0"):
        with pytest.raises(ImageError, match=r"Its parts are 0 PRIMARY, 1, 2 SCI, 3 ERR"):
            decode(data, "x", reading=Reading(hdu=name))
    with pytest.raises(ImageError, match="no image in this FITS file"):
        decode(written(fits.PrimaryHDU(), table), "x")


def test_compressed_files_are_the_same_image():
    whole = np.round(SKY).astype(np.int32)
    for codec in ("RICE_1", "HCOMPRESS_1", "PLIO_1", "GZIP_1", "GZIP_2"):
        data = written(fits.PrimaryHDU(), fits.CompImageHDU(whole, compression_type=codec))
        np.testing.assert_array_equal(decode(data, "x"), decode(primary(whole), "x"), err_msg=codec)
    np.testing.assert_array_equal(decode(gzip.compress(primary(SKY)), "x"), decode(primary(SKY), "x"))


def test_cubes():
    cube = np.stack([SKY, SKY * 2, SKY[::-1]]).astype(">f4")
    expected = stretched(np.moveaxis(cube, 0, 2), "x", "asinh", (0.5, 99.5))
    np.testing.assert_array_equal(decode(primary(cube), "x"), expected)
    np.testing.assert_array_equal(
        decode(primary(cube), "x", reading=Reading(channels=(2, 1, 0))), expected[:, :, ::-1]
    )
    for single in (SKY[None], SKY[None, None]):
        np.testing.assert_array_equal(decode(primary(single), "x"), decode(primary(SKY), "x"))
    five = np.stack([SKY] * 5)
    with pytest.raises(ImageError, match="x: 5 channels, .*--channels 0,1,2"):
        decode(primary(five), "x")
    assert decode(primary(five), "x", channels=5).shape == (40, 60, 5)
    with pytest.raises(ImageError, match="FITS"):
        decode(primary(np.zeros((70, 4, 4))), "x")


def test_white_is_linear_from_zero():
    found = decode(primary(SKY), "x", reading=Reading(white=500))
    np.testing.assert_array_equal(found[:, :, 0], np.floor(np.clip(SKY / 500, 0, 1) * 255 + 0.5))


def test_damaged_and_hostile_files_are_named():
    data = primary(SKY)
    for end in (10, 2000, 2881, len(data) // 2):
        with pytest.raises(ImageError, match="x: "):
            decode(data[:end], "x")
    huge = data.replace(b"NAXIS1  =                   60", b"NAXIS1  =               900060")
    with pytest.raises(ImageError, match="x: "):
        decode(huge, "x")
    endless = data.replace(b"NAXIS   =                    2", b"NAXIS   =            999999999")
    with pytest.raises(ImageError, match="more than 999 axes"):
        decode(endless, "x")
    with pytest.raises(ImageError, match="is no FITS image"):
        decode(gzip.compress(b"text"), "x")


@pytest.mark.parametrize("codec", ["RICE_1", "HCOMPRESS_1"])
def test_damaged_tiles_end_no_process(codec):
    whole = RNG.integers(0, 200, (40, 50)).astype(np.int32)
    data = written(fits.PrimaryHDU(), fits.CompImageHDU(whole, compression_type=codec))
    random = np.random.default_rng(1)
    begin = len(data) - 2880 * 2
    for _ in range(40):
        damaged = bytearray(data)
        for place in random.integers(begin, len(data), 30):
            damaged[place] = random.integers(256)
        with contextlib.suppress(ImageError):
            decode(bytes(damaged), "x")
    np.testing.assert_array_equal(decode(data, "x"), decode(primary(whole), "x"))


def test_a_decoder_that_dies_or_hangs_is_named_and_started_again(monkeypatch):
    from embedkit.images import unpack_fits

    data = written(fits.PrimaryHDU(), fits.CompImageHDU(np.ones((9, 9), np.int32) * 3))
    expected = decode(data, "x")

    class AtOnce:
        """A timer that is there before the decoder can be."""

        def __init__(self, _seconds, then):
            self.start, self.cancel = then, lambda: None

    monkeypatch.setattr(unpack_fits.threading, "Timer", AtOnce)
    with pytest.raises(ImageError, match="x: damaged .* compressed data end or stop the decoder"):
        decode(data, "x")
    monkeypatch.undo()
    np.testing.assert_array_equal(decode(data, "x"), expected)


def test_decoding_in_threads_leaves_no_warning_filter():
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    filters = list(warnings.filters)
    data = [primary(SKY), written(fits.PrimaryHDU(), fits.CompImageHDU(SKY.astype(np.int32)))] * 8
    expected = [decode(item, "x") for item in data[:2]] * 8
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(lambda item: decode(item, "x"), data), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert list(warnings.filters) == filters


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint16", "uint32", "uint8"])
@pytest.mark.parametrize("compressed", [False, True])
def test_blank_is_no_value_whatever_the_sign(dtype, compressed):
    # astropy makes NaN of BLANK in signed integers, and leaves it in those that BZERO makes unsigned.
    info = np.iinfo(dtype)
    values = RNG.integers(1000 if info.bits > 8 else 1, min(info.max, 60000) - 1, (40, 60)).astype(dtype)
    values[:10] = info.max
    zero = 1 << (info.bits - 1) if dtype in ("uint16", "uint32") else 0
    part = fits.CompImageHDU(values) if compressed else fits.PrimaryHDU(values)
    part.header["BLANK"] = int(info.max) - zero
    data = written(fits.PrimaryHDU(), part) if compressed else written(part)
    known = np.where(np.arange(40)[:, None] < 10, np.nan, values.astype(np.float64))
    expected = stretched(known[:, :, None], "", "asinh", (0.5, 99.5))
    np.testing.assert_array_equal(decode(data, "")[:, :, :1], expected)


def test_colours_that_were_written_last_are_colours():
    image = RNG.integers(0, 255, (40, 60, 3)).astype(np.uint8)
    expected = stretched(image, "", "asinh", (0.5, 99.5))
    np.testing.assert_array_equal(decode(primary(image), ""), expected)
    large = np.repeat(image, 3, axis=0)  # more rows than a cube may have planes
    np.testing.assert_array_equal(decode(primary(large), ""), np.repeat(expected, 3, axis=0))
