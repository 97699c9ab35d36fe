"""TIFF against the arrays that were written."""

import io
import itertools

import numpy as np
import pytest
import tifffile
from PIL import Image

from embedkit.errors import ImageError
from embedkit.images.decode import decode
from embedkit.images.reading import Reading

RNG = np.random.default_rng(0)
H, W = 37, 53


def written(values: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, metadata=None, **options)
    return buffer.getvalue()


def drawn(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values that each type can hold and that its rule takes."""
    if np.dtype(dtype).kind == "f":
        return RNG.random(shape).astype(dtype)
    most = 65536 if np.dtype(dtype) == np.uint16 else 128 if dtype == "int8" else 256
    return RNG.integers(0, most, shape).astype(dtype)


def as_pillow(values: np.ndarray, orientation: int) -> np.ndarray:
    """What is stored, turned upright by the TIFF specification: where row 0 and column 0 lie."""
    upright = {
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.swapaxes(0, 1),
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(values, 1),
    }
    return upright[orientation]


TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]
CODECS = [None, "deflate", "lzw", "packbits", "zstd", "lzma"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("codec", CODECS)
def test_every_type_layout_and_codec_is_the_array_that_was_written(dtype, codec):
    if codec is not None:
        pytest.importorskip("imagecodecs")
    cases = itertools.product(
        ("grey", "rgb", "planar"), (False, True), ("<", ">"), (False, True), (False, True)
    )
    for colour, tiled, order, predict, big in cases:
        if predict and codec in (None, "packbits"):
            continue
        values = drawn(dtype, {"grey": (H, W), "rgb": (H, W, 3), "planar": (3, H, W)}[colour])
        data = written(
            values,
            photometric="minisblack" if colour == "grey" else "rgb",
            planarconfig={"grey": None, "rgb": "contig", "planar": "separate"}[colour],
            compression=codec,
            predictor=predict or None,
            tile=(16, 32) if tiled else None,
            rowsperstrip=None if tiled else 10,
            byteorder=order,
            bigtiff=big,
        )
        expected = decode(values if colour != "planar" else np.moveaxis(values, 0, 2), "x")
        found = decode(data, "x")
        what = f"{dtype} {codec} {colour} tiled={tiled} {order} predictor={predict} big={big}"
        np.testing.assert_array_equal(found, expected, err_msg=what)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("colour", [False, True])
def test_every_orientation_is_turned_once(orientation, dtype, colour):
    values = drawn(dtype, (H, W, 3) if colour else (H, W))
    tag = [(274, "H", 1, orientation, True)]
    data = written(values, photometric="rgb" if colour else "minisblack", extratags=tag)
    np.testing.assert_array_equal(decode(data, "x"), as_pillow(decode(values, "x"), orientation))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "bool"])
def test_white_at_zero_is_turned_over(dtype):
    values = RNG.random((H, W)) > 0.5 if dtype == "bool" else drawn(dtype, (H, W))
    if dtype == "uint32":
        values = np.uint32(2**32 - 1) - values
    black_at_zero = ~values if values.dtype == bool else np.iinfo(values.dtype).max - values
    data = written(values, photometric="miniswhite")
    np.testing.assert_array_equal(decode(data, "x"), decode(black_at_zero, "x"))


def test_white_at_zero_of_floats_is_refused():
    with pytest.raises(ImageError, match="float32 whose white is zero"):
        decode(written(drawn("float32", (H, W)), photometric="miniswhite"), "x")


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("extra", ["unspecified", "assocalpha", "unassalpha"])
def test_a_fourth_sample_is_opacity_only_where_its_tag_says_so(dtype, planar, extra):
    values = drawn(dtype, (H, W, 4))
    if extra == "assocalpha":  # colours multiplied with it can't exceed it
        values[:, :, :3] = np.minimum(values[:, :, :3], values[:, :, 3:])
    data = written(
        np.moveaxis(values, 2, 0) if planar else values,
        photometric="rgb",
        extrasamples=[extra],
        planarconfig="separate" if planar else "contig",
    )
    eight = decode(values, "x", channels=4).astype(float)
    colours, opacity = eight[:, :, :3], eight[:, :, 3:]
    expected = np.round(colours * opacity / 255) if extra == "unassalpha" else colours
    # Colours that are multiplied already go through Pillow's division and back: a level either way.
    slack = 1 if extra == "assocalpha" else 0
    assert np.abs(decode(data, "x") - expected).max() <= slack
    np.testing.assert_array_equal(decode(data, "x", channels=4), eight)
    chosen = decode(data, "x", reading=Reading(channels=(3, 0, 1)))
    np.testing.assert_array_equal(chosen, eight[:, :, [3, 0, 1]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_four_samples_that_no_tag_speaks_of(dtype):
    values = drawn(dtype, (H, W, 4))
    values[:, :, 3] = 0
    grey = written(values, photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"] * 3)
    with pytest.raises(ImageError, match="nothing says what the fourth is"):
        decode(grey, "x")
    # Photometric RGB names the first three; without the tag the fourth is nothing.
    rgb = bytearray(written(values, photometric="rgb", extrasamples=["unspecified"]))
    at = rgb.index((338).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    rgb[at : at + 2] = (65000).to_bytes(2, "little")
    np.testing.assert_array_equal(decode(bytes(rgb), "x"), decode(values[:, :, :3], "x"))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("extra", ["unspecified", "assocalpha", "unassalpha"])
def test_grey_with_a_second_sample(dtype, extra):
    values = drawn(dtype, (H, W, 2))
    if extra == "assocalpha":
        values[:, :, 0] = values.min(axis=2)
    data = written(values, photometric="minisblack", planarconfig="contig", extrasamples=[extra])
    if extra == "unspecified":
        with pytest.raises(ImageError, match="Give --channels 0|such as --channels 0"):
            decode(data, "x")
        data_rule = decode(data, "x", reading=Reading(channels=(1,)))
        np.testing.assert_array_equal(data_rule, decode(values[:, :, 1], "x"))
        return
    eight = decode(values[:, :, 0], "x").astype(float)
    opacity = decode(values[:, :, 1], "x").astype(float)
    expected = np.round(eight * opacity / 255) if extra == "unassalpha" else eight
    assert np.abs(decode(data, "x") - expected).max() <= (1 if extra == "assocalpha" else 0)


@pytest.mark.parametrize("bits", [2, 4, 10, 12, 14])
def test_packed_bits_reach_white_at_their_own_range(bits):
    pytest.importorskip("imagecodecs")
    most = 2**bits - 1
    values = RNG.integers(0, most + 1, (H, 2 * W)).astype(np.uint8 if bits < 8 else np.uint16)
    values[0, :2] = 0, most
    data = written(values, photometric="minisblack", bitspersample=bits)
    expected = np.round(values / most * 255)
    assert np.abs(decode(data, "x")[:, :, 0] - expected).max() <= (0 if bits > 8 or 255 % most == 0 else 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_palette(dtype):
    n = 2 ** (8 * np.dtype(dtype).itemsize)
    colours = RNG.integers(0, 256, (3, n)).astype(np.uint16) * 257
    values = RNG.integers(0, n, (H, W)).astype(dtype)
    data = written(values, photometric="palette", colormap=colours)
    np.testing.assert_array_equal(decode(data, "x"), (colours // 257).T[values])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_cmyk(dtype):
    values = drawn(dtype, (H, W, 4))
    share = values / np.iinfo(dtype).max
    expected = 255 * (1 - share[:, :, :3]) * (1 - share[:, :, 3:])
    assert np.abs(decode(written(values, photometric="separated"), "x") - expected).max() <= 2


def test_bilevel_fax_jpeg_and_lab_are_what_pillow_wrote():
    mask = Image.fromarray(RNG.random((H, W)) > 0.5)
    for codec in ("group4", "group3", "packbits", "tiff_lzw", "tiff_ccitt"):
        buffer = io.BytesIO()
        mask.save(buffer, "TIFF", compression=codec)
        np.testing.assert_array_equal(
            decode(buffer.getvalue(), "x")[:, :, 0], np.asarray(mask) * np.uint8(255)
        )
    y, x = np.mgrid[:64, :64]
    smooth = np.stack([x * 3, y * 3, 190 - x - y], axis=2).astype(np.uint8)
    for mode in ("RGB", "YCbCr", "LAB"):
        buffer = io.BytesIO()
        converted = Image.fromarray(smooth)
        if mode == "LAB":
            from PIL import ImageCms

            to_lab = ImageCms.buildTransform(
                ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
            )
            converted = ImageCms.applyTransform(converted, to_lab)
        elif mode != "RGB":
            converted = converted.convert(mode)
        converted.save(buffer, "TIFF", **({"compression": "jpeg", "quality": 95} if mode == "RGB" else {}))
        assert np.abs(decode(buffer.getvalue(), "x").astype(int) - smooth).mean() < 3, mode


def test_jpeg_within_tiff_is_what_tifffile_reads():
    pytest.importorskip("imagecodecs")
    y, x = np.mgrid[:64, :96]
    smooth = np.stack([x * 2, y * 3, 190 - x - y], axis=2).astype(np.uint8)
    for photometric in ("rgb", "ycbcr"):
        data = written(smooth, photometric=photometric, compression="jpeg", compressionargs={"level": 95})
        assert np.abs(decode(data, "x").astype(int) - tifffile.imread(io.BytesIO(data))).max() <= 2


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32", "int64"])
def test_integers_follow_one_rule_in_tiff_and_arrays(dtype):
    small = RNG.integers(0, 241, (H, W)).astype(dtype)
    np.testing.assert_array_equal(decode(written(small, photometric="minisblack"), "x")[:, :, 0], small)
    wide = small * np.array(100, dtype)
    for source in (wide, written(wide, photometric="minisblack")):
        with pytest.raises(ImageError, match=rf"{dtype} values from 0 to \d+; .* Give --white {wide.max()}"):
            decode(source, "x")
        found = decode(source, "x", reading=Reading(white=float(wide.max())))
        np.testing.assert_array_equal(found[:, :, 0], np.floor(wide / wide.max() * 255 + 0.5))


def test_the_first_page_is_read():
    pages = drawn("uint16", (3, H, W))
    data = written(pages, photometric="minisblack")
    np.testing.assert_array_equal(decode(data, "x"), decode(pages[0], "x"))


@pytest.mark.parametrize("codec", [None, "deflate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_cut_off_file_is_never_filled(dtype, codec):
    data = written(drawn(dtype, (200, 200)), photometric="minisblack", compression=codec, rowsperstrip=20)
    assert decode(data, "x").shape == (200, 200, 3)
    for end in range(8, len(data) - 8, len(data) // 40):
        with pytest.raises(ImageError, match="x: "):
            decode(data[:end], "x")


def test_a_strip_that_was_never_written_is_not_black():
    data = written(drawn("uint16", (H, W)), photometric="minisblack", rowsperstrip=10)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offset = file.pages.first.tags["StripByteCounts"].valueoffset
    holed = bytearray(data)
    holed[offset : offset + 2] = bytes(2)
    with pytest.raises(ImageError, match="strips or tiles of this TIFF are missing"):
        decode(bytes(holed), "x")


def test_a_size_over_the_limit_is_refused_before_decoding():
    data = written(np.zeros((1, 1), np.uint16), photometric="minisblack")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        places = [file.pages.first.tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    huge = bytearray(data)
    for place in places:
        huge[place : place + 4] = (60000).to_bytes(4, "little")
    with pytest.raises(ImageError, match="over the limit"):
        decode(bytes(huge), "x")


def test_a_codec_that_is_not_there_is_named(monkeypatch):
    pytest.importorskip("imagecodecs")
    data = written(drawn("uint16", (H, W)), photometric="minisblack", compression="lzw")

    def missing(*_, **__):
        raise KeyError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", missing)
    with pytest.raises(ImageError, match=r"16 bits .* LZW, .* Install embedkit-images\[tiff\]"):
        decode(data, "x")


def test_a_length_of_several_numbers_is_damage():
    data = written(drawn("int16", (H, W, 3)), photometric="rgb", rowsperstrip=10)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages.first.tags
        width, length = tags["ImageWidth"], tags["ImageLength"]
    many = bytearray(data)
    many[width.offset + 4 : width.offset + 12] = (500).to_bytes(4, "little") + (8).to_bytes(4, "little")
    many[length.offset + 8 : length.offset + 12] = (3_000_000).to_bytes(4, "little")
    with pytest.raises(ImageError, match="a length that is no number"):
        decode(bytes(many), "x")


def several(*pages: tuple[np.ndarray, dict[str, object]]) -> bytes:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        for values, options in pages:
            file.write(values, metadata=None, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_thumbnail_before_the_image_is_passed_over(dtype):
    image = drawn(dtype, (H, W, 3))
    data = several(
        (image[::4, ::4], {"photometric": "rgb", "subfiletype": 1}), (image, {"photometric": "rgb"})
    )
    np.testing.assert_array_equal(decode(data, ""), decode(image, ""))


@pytest.mark.parametrize("options", [{}, {"imagej": True}, {"ome": True}], ids=["plain", "imagej", "ome"])
def test_channels_of_a_microscope_lie_on_pages(options):
    planes = drawn("uint8", (3, H, W))
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, planes, photometric="minisblack", metadata={"axes": "CYX"}, **options)
    pixels = decode(buffer.getvalue(), "", reading=Reading(channels=(2, 0, 1)))
    np.testing.assert_array_equal(pixels, np.moveaxis(planes[[2, 0, 1]], 0, 2))
    first = decode(buffer.getvalue(), "")
    np.testing.assert_array_equal(first, np.repeat(planes[0][:, :, None], 3, axis=2))
    with pytest.raises(ImageError, match="3 channels, so there is no channel 3"):
        decode(buffer.getvalue(), "", reading=Reading(channels=(3,)))


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", -9999), ("float32", -9999), ("float32", np.nan)])
def test_what_gdal_says_was_not_measured_is_black(dtype, nodata):
    values = drawn(dtype, (H, W))
    values[:5] = nodata
    data = written(values, extratags=[(42113, "s", 0, str(nodata), True)])
    measured = decode(np.where(np.arange(H)[:, None] < 5, 0, values).astype(dtype), "")
    np.testing.assert_array_equal(decode(data, ""), measured)
    with pytest.raises(ImageError):  # without the tag it is a value like others
        decode(written(values), "")


def test_a_pixel_is_missing_where_all_its_samples_are():
    image = drawn("uint8", (H, W, 3)) // 2
    image[0, 0], image[0, 1] = 255, (255, 0, 0)
    data = written(image, photometric="rgb", extratags=[(42113, "s", 0, "255", True)])
    expected = image.copy()
    expected[0, 0] = 0
    np.testing.assert_array_equal(decode(data, ""), expected)


@pytest.mark.parametrize("codec", ["webp", "jpegxl", "jpeg2000"])
def test_codecs_that_pillow_lacks_are_unpacked_and_not_called_damaged(codec):
    pytest.importorskip("imagecodecs")
    image = drawn("uint8", (64, 64, 3))
    options = {} if codec == "jpeg2000" else {"compressionargs": {"lossless": True}}
    data = written(image, photometric="rgb", compression=codec, **options)
    np.testing.assert_array_equal(decode(data, ""), image)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_image_below_a_cameras_thumbnail_is_read(dtype):
    image = drawn(dtype, (H, W, 3))
    data = several(
        (image[::4, ::4], {"photometric": "rgb", "subfiletype": 1, "subifds": 1}),
        (image, {"photometric": "rgb"}),
    )
    np.testing.assert_array_equal(decode(data, ""), decode(image, ""))


def test_a_mask_before_the_image_is_passed_over():
    image = drawn("uint8", (H, W, 3))
    mask = (image[:, :, 0] > 9, {"photometric": "minisblack", "subfiletype": 4})
    np.testing.assert_array_equal(decode(several(mask, (image, {"photometric": "rgb"})), ""), image)


def test_a_palette_of_bytes_is_not_black():
    cv2 = pytest.importorskip("cv2")
    colours = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    values = RNG.integers(0, 256, (H, W)).astype(np.uint8)
    data = written(values, photometric="palette", colormap=colours)
    np.testing.assert_array_equal(decode(data, ""), colours.T[values])
    by_libtiff = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decode(data, ""), by_libtiff)


def test_white_at_zero_with_opacity():
    values = drawn("uint8", (H, W, 2))
    data = written(values, photometric="miniswhite", planarconfig="contig", extrasamples=["unassalpha"])
    expected = (255.0 - values[:, :, 0]) * values[:, :, 1] / 255
    assert np.abs(decode(data, "")[:, :, 0] - expected).max() <= 0.5


def test_inks_that_are_not_the_four_of_printing_are_refused():
    values = drawn("uint8", (H, W, 4))
    data = written(values, photometric="separated", extratags=[(332, "H", 1, 2, True)])
    with pytest.raises(ImageError, match="SEPARATED with 8 bits a sample, which is not read"):
        decode(data, "")
