import io
import resource
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile

from embedkit.errors import ImageError
from embedkit.images.decode import MAX_PIXELS, decode, thumbnail
from embedkit.images.reading import Reading

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(**options: object) -> bytes:
    """A smooth JPEG, as galaxies are."""
    y, x = np.mgrid[:64, :64]
    grey = (200 * np.exp(-((x - 30) ** 2 + (y - 34) ** 2) / 200)).astype(np.uint8)
    return encoded(Image.fromarray(np.stack([grey, grey // 2, grey // 3], axis=2)), "JPEG", **options)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A whole PNG of one colour at one bit a pixel."""
    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8) * 100
    body = b"".join(packer.compress(row) for _ in range(height // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def resized_header(jpeg: bytes, width: int, height: int) -> bytes:
    """The same JPEG with another size in its frame header."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_files_come_back_as_they_were(kind: str) -> None:
    pixels = decode(encoded(Image.fromarray(PIXELS), kind), "x")
    assert pixels.flags.writeable
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, PIXELS)


def test_jpeg_is_what_pillow_decodes() -> None:
    data = photo(quality=90)
    np.testing.assert_array_equal(decode(data, "x"), np.asarray(Image.open(io.BytesIO(data))))


def test_webp_and_avif_are_close() -> None:
    smooth = Image.open(io.BytesIO(photo()))
    for kind in ("WEBP", "AVIF"):
        found = decode(encoded(smooth, kind, quality=95), "x").astype(int)
        assert np.abs(found - np.asarray(smooth).astype(int)).mean() < 3


def test_grey_is_repeated() -> None:
    grey = PIXELS[:, :, 0]
    for data in (encoded(Image.fromarray(grey), "PNG"), grey, grey[:, :, None]):
        found = decode(data, "x")
        for channel in range(3):
            np.testing.assert_array_equal(found[:, :, channel], grey)


def test_sixteen_bit_grey_is_scaled_by_its_range_and_not_clipped() -> None:
    deep = np.array([[0, 128, 257, 30000], [40000, 50000, 65278, 65535]], dtype=np.uint16)
    expected = np.round(deep / 257).astype(np.uint8)
    assert expected.tolist()[1] == [156, 195, 254, 255]
    for data in (
        encoded(Image.fromarray(deep), "PNG"),
        encoded(Image.fromarray(deep), "TIFF"),
        encoded(Image.fromarray(deep), "PPM"),
        deep,
    ):
        np.testing.assert_array_equal(decode(data, "x")[:, :, 1], expected)


def test_big_endian_sixteen_bit() -> None:
    deep = np.array([[0, 65535, 30000]], dtype=">u2")
    assert decode(deep, "x")[0, :, 0].tolist() == [0, 255, 117]


def test_one_bit_and_boolean_are_black_and_white() -> None:
    mask = np.array([[True, False], [False, True]])
    for data in (encoded(Image.fromarray(mask), "PNG"), mask):
        assert decode(data, "x")[:, :, 2].tolist() == [[255, 0], [0, 255]]


def test_palette_gives_its_colours() -> None:
    image = Image.fromarray(PIXELS).quantize(16)
    np.testing.assert_array_equal(decode(encoded(image, "PNG"), "x"), np.asarray(image.convert("RGB")))


def test_transparency_is_laid_over_black() -> None:
    alpha = RNG.integers(0, 256, (20, 30, 1), dtype=np.uint8)
    rgba = np.concatenate([PIXELS, alpha], axis=2)
    expected = np.round(PIXELS.astype(float) * alpha / 255).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(decode(encoded(Image.fromarray(rgba), kind), "x"), expected)


def test_opaque_alpha_changes_nothing() -> None:
    rgba = np.dstack([PIXELS, np.full((20, 30), 255, np.uint8)])
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(rgba), "PNG"), "x"), PIXELS)


def test_transparent_palette_and_transparent_colour() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.putpixel((0, 0), 0)
    assert decode(encoded(image, "PNG", transparency=b"\xff\x00"), "x").max() == 0
    keyed = Image.new("RGB", (2, 1), (9, 9, 9))
    keyed.putpixel((1, 0), (40, 50, 60))
    assert decode(encoded(keyed, "PNG", transparency=(9, 9, 9)), "x").tolist() == [[[0, 0, 0], [40, 50, 60]]]


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow ink are red
    red = decode(encoded(image, "JPEG", quality=95), "x")[8, 8].astype(int)
    assert red[0] > 230
    assert red[1:].max() < 30


def test_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    for kind in ("GIF", "PNG", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        red, green, blue = decode(data, "x")[4, 4].tolist()
        assert (red > 240, green < 15, blue < 15) == (True, True, True)


def test_every_exif_orientation_shows_the_same_scene() -> None:
    # What each orientation stores of the upright scene (EXIF 2.3, tag 0x0112).
    stored = {
        1: PIXELS,
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.swapaxes(0, 1),
        6: np.rot90(PIXELS, 1),
        7: PIXELS[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(PIXELS, -1),
    }
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind, lossless in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
            data = encoded(Image.fromarray(np.ascontiguousarray(pixels)), kind, exif=exif, **lossless)
            np.testing.assert_array_equal(decode(data, "x"), PIXELS, err_msg=f"{kind} {orientation}")
        smooth = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)))
        for kind in ("JPEG", "AVIF"):  # lossy: the scene is nearest to itself of all its turns
            data = encoded(Image.fromarray(smooth), kind, exif=exif, quality=95)
            found = decode(data, "x").astype(int)
            assert found.shape == PIXELS.shape
            off = [
                np.abs(found - np.rot90(PIXELS, k)[:: 1 - 2 * flip]).mean() for k in (0, 2) for flip in (0, 1)
            ]
            assert int(np.argmin(off)) == 0, (kind, orientation)


def test_damaged_exif_is_ignored_without_a_warning() -> None:
    data = photo(exif=b"Exif\0\0" + b"MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12" * 20)
    assert decode(data, "x").shape == (64, 64, 3)


def test_one_pixel_is_an_image() -> None:
    assert decode(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"), "x").tolist() == [[[1, 2, 3]]]


def test_empty_bytes() -> None:
    with pytest.raises(ImageError, match=r"a\.jpg: the file is empty \(0 bytes\)"):
        decode(b"", "a.jpg")


def test_text_named_jpg() -> None:
    with pytest.raises(ImageError, match=r"a\.jpg: not an image.*text that starts with '<html>404"):
        decode(b"<html>404 Not Found</html>", "a.jpg")


def test_foreign_bytes_are_shown_in_hex() -> None:
    with pytest.raises(ImageError, match="starts with 00 01 02"):
        decode(bytes(range(40)), "x")


def test_programs_are_not_started_for_postscript() -> None:
    with pytest.raises(ImageError, match="not an image"):
        decode(encoded(Image.fromarray(PIXELS), "EPS"), "x")


@pytest.mark.parametrize("progressive", [False, True])
def test_every_truncation_of_a_jpeg_is_an_error(progressive: bool) -> None:
    data = photo(progressive=progressive)
    whole = decode(data, "x")
    assert whole.shape == (64, 64, 3)
    for end in range(1, len(data), 7):
        with pytest.raises(ImageError, match="x: "):
            decode(data[:end], "x")


def test_truncated_jpeg_is_an_error_even_where_pillow_is_told_to_fill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = photo()
    with pytest.raises(ImageError, match="cut off"):
        decode(data[: len(data) * 3 // 4], "x")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_half_a_file_is_an_error(kind: str) -> None:
    data = encoded(Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)), kind)
    with pytest.raises(ImageError, match=r"x: .*(cut off|not an image)"):
        decode(data[: len(data) // 2], "x")


def test_bytes_after_the_end_of_a_jpeg_do_no_harm() -> None:
    np.testing.assert_array_equal(decode(photo() + b"\0" * 100, "x"), decode(photo(), "x"))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "after",
    [
        b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40,  # the film of a motion photo
        b"\xff\xda\0\x08" + b"\x55" * 300,  # what looks like the begin of another scan
        b"\xff\xd8\xff\xe0 and no more",
        b"SEFT",
    ],
)
def test_what_follows_a_jpeg_does_not_make_it_cut_off(progressive: bool, after: bytes) -> None:
    data = photo(progressive=progressive)
    np.testing.assert_array_equal(decode(data + after, "x"), decode(data, "x"))


def test_of_jpegs_one_after_another_the_first_is_read() -> None:
    first, second = photo(quality=90), encoded(Image.fromarray(PIXELS), "JPEG")
    np.testing.assert_array_equal(decode(first + second, "x"), decode(first, "x"))
    with pytest.raises(ImageError, match="cut off"):
        decode(first[: len(first) // 2] + second, "x")


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_jpeg() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + encoded(Image.fromarray(PIXELS), "JPEG", quality=20)
    data = photo(exif=exif)
    assert data.count(b"\xff\xd9") == 2
    np.testing.assert_array_equal(decode(data, "x"), decode(photo(), "x"))
    for end in range(data.index(b"\xff\xd9") + 2, len(data) - 1, 29):
        with pytest.raises(ImageError, match="x: "):
            decode(data[:end], "x")


def test_an_mpo_is_its_first_picture() -> None:
    first = Image.open(io.BytesIO(photo()))
    data = encoded(first, "MPO", save_all=True, append_images=[Image.new("RGB", (64, 64), (255, 0, 0))])
    assert np.abs(decode(data, "x").astype(int) - np.asarray(first)).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "PPM", "AVIF", "TIFF", "JPEG2000"])
def test_bytes_after_the_end_of_other_formats_do_no_harm(kind: str) -> None:
    data = encoded(Image.fromarray(PIXELS), kind)
    np.testing.assert_array_equal(decode(data + b"\0ftyp\xff\xd8" * 9, "x"), decode(data, "x"))


def test_decompression_bomb_is_refused_before_decoding() -> None:
    data = bomb(30_000, 30_000)
    assert len(data) < 600_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=r"over the limit of 67,108,864 pixels, so it was not decoded"):
        decode(data, "x")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


@pytest.mark.parametrize("side", [8193, 10_000, 20_000])
def test_size_limit_holds_where_pillow_would_allow_warn_or_refuse(side: int) -> None:
    with pytest.raises(ImageError, match="over the limit"):
        decode(resized_header(photo(), side, side), "x")


def test_array_over_the_limit() -> None:
    with pytest.raises(ImageError, match="over the limit"):
        decode(np.broadcast_to(np.uint8(0), (MAX_PIXELS // 1000, 1001)), "x")


def test_channel_first_arrays() -> None:
    np.testing.assert_array_equal(decode(PIXELS.transpose(2, 0, 1), "x"), PIXELS)
    np.testing.assert_array_equal(decode(PIXELS[None, :, :, 0], "x")[:, :, 0], PIXELS[:, :, 0])


def test_floats_within_0_and_1() -> None:
    values = np.array([[0, 0.5, 1.0, 1.0005]], dtype=np.float64)
    for dtype in (np.float16, np.float32, np.float64):
        assert decode(values.astype(dtype), "x")[0, :, 0].tolist() == [0, 128, 255, 255]


def test_floats_of_another_scale_are_refused() -> None:
    with pytest.raises(ImageError, match=r"floats from 0 to 254, expected 0 to 1\. Divide"):
        decode(np.array([[0.0, 254.0]]), "x")
    with pytest.raises(ImageError, match="floats from -1 to 1"):
        decode(np.array([[-1.0, 1.0]]), "x")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad: float) -> None:
    with pytest.raises(ImageError, match=r"a\.npy\[3\]: 1 of 4 values are NaN or infinite"):
        decode(np.array([[0, bad], [1, 0]]), "a.npy[3]")


def test_float_tiff_follows_the_rule_of_float_arrays() -> None:
    assert decode(encoded(Image.fromarray(np.array([[0, 1]], np.float32)), "TIFF"), "x")[0, 1, 0] == 255
    with pytest.raises(ImageError, match="expected 0 to 1"):
        decode(encoded(Image.fromarray(np.array([[0, 300]], np.float32)), "TIFF"), "x")


def test_wide_integers_only_within_a_byte() -> None:
    assert decode(np.array([[0, 255]]), "x")[0, :, 0].tolist() == [0, 255]
    with pytest.raises(ImageError, match=r"int64 values from 0 to 256; this type has no agreed white"):
        decode(np.array([[0, 256]]), "x")
    with pytest.raises(ImageError, match="int32 values"):
        decode(encoded(Image.fromarray(np.array([[0, 70000]], np.int32)), "TIFF"), "x")


@pytest.mark.parametrize("shape", [(5,), (0, 4), (2, 3, 4, 3), (4, 0, 3)])
def test_shapes_that_are_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="is no image"):
        decode(np.zeros(shape, np.uint8), "x")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_fourth_channel_of_an_array_is_never_guessed(dtype) -> None:
    griz = (RNG.random((20, 30, 4)) * (1 if dtype == np.float32 else np.iinfo(dtype).max)).astype(dtype)
    griz[:, :, 3] = 0  # as opacity it would make everything black
    for array in (griz, griz.transpose(2, 0, 1)):
        with pytest.raises(
            ImageError, match="4 channels, and nothing says what the fourth is.*--channels 0,1,2"
        ):
            decode(array, "x")
        for chosen in ((0, 1, 2), (3, 2, 1)):
            found = decode(array, "x", reading=Reading(channels=chosen))
            np.testing.assert_array_equal(found, decode(np.ascontiguousarray(griz[:, :, chosen]), "x"))
        grey = decode(array, "x", reading=Reading(channels=(1,)))
        np.testing.assert_array_equal(grey, decode(griz[:, :, 1], "x"))
        assert decode(array, "x", channels=4).shape == (20, 30, 4)
    with pytest.raises(ImageError, match="4 channels, so there is no channel 4"):
        decode(griz, "x", reading=Reading(channels=(4,)))


def test_a_fourth_channel_that_is_white_throughout_changes_nothing() -> None:
    for white, dtype in ((255, np.uint8), (65535, np.uint16), (1, np.float32)):
        rgb = (RNG.random((20, 30, 3)) * white).astype(dtype)
        rgba = np.dstack([rgb, np.full((20, 30), white, dtype)])
        np.testing.assert_array_equal(decode(rgba, "x"), decode(rgb, "x"))


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (np.arange(4096, dtype=np.uint16).reshape(64, 64), 4095),
        (np.arange(4096, dtype=np.int32).reshape(64, 64), 4095),
        (np.linspace(0, 300, 4096).reshape(64, 64), 300),
        (np.arange(4096, dtype=np.uint16).reshape(64, 64), 1000),
        (np.linspace(-5, 300, 4096, dtype=np.float32).reshape(64, 64), 250.5),
    ],
)
def test_the_value_that_is_white_can_be_said(values: np.ndarray, white: float) -> None:
    expected = np.floor(np.clip(values / white, 0, 1) * 255 + 0.5)
    found = decode(values, "x", reading=Reading(white=white))[:, :, 0]
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.999


def test_five_bands_need_a_choice() -> None:
    with pytest.raises(ImageError, match=r"no axis of 1, 3 or 4 channels\. Choose the bands"):
        decode(np.zeros((8, 8, 5), np.uint8), "x")


def test_strings_are_no_image() -> None:
    with pytest.raises(ImageError, match="array of <U1 is no image"):
        decode(np.array([["a"]]), "x")


def test_decoding_in_threads_gives_the_same_and_leaves_no_warning_filter() -> None:
    import warnings

    filters = list(warnings.filters)
    data = [photo(quality=q) for q in range(50, 90, 5)]
    expected = [decode(item, "x") for item in data]
    found: dict[int, list[np.ndarray]] = {}

    def work(name: int) -> None:
        found[name] = [decode(item, "x") for item in data * 5]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results in found.values():
        for i, pixels in enumerate(results):
            np.testing.assert_array_equal(pixels, expected[i % len(data)])
    assert list(warnings.filters) == filters


def test_thumbnail_keeps_the_shape_and_never_enlarges() -> None:
    scene = decode(photo(), "x")[:48]
    small = Image.open(io.BytesIO(thumbnail(scene, 32)))
    assert (small.format, small.size) == ("WEBP", (32, 24))
    assert Image.open(io.BytesIO(thumbnail(scene, 500))).size == (64, 48)
    assert abs(np.asarray(small).mean() - scene.mean()) < 3


def test_real_error_tile_is_a_valid_image(shared) -> None:
    data = (shared / "data" / "bad" / "sdss_getframes_failed.jpeg").read_bytes()
    assert decode(data, "x").shape == (423, 423, 3)


def test_a_colour_profile_is_not_applied():
    """As in torchvision and timm: networks were trained on the numbers as they are stored."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", icc_profile=profile)
    assert b"iCCP" in buffer.getvalue()
    assert np.array_equal(decode(buffer.getvalue(), "x.png"), pixels)
