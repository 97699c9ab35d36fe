"""What people give beside plain images: named, or with the value that its standard says."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from embedkit.errors import ImageError
from embedkit.images.decode import decode

GREY = (np.arange(12 * 16).reshape(12, 16) * 300).astype(np.uint16)


# First row, first column and steps of the passes of an interlaced PNG.
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def png(samples: np.ndarray, bits: int, clear: tuple[int, ...], *, turn: int = 1, passes: bool = False):
    """Write a PNG of (h, w) or (h, w, 3) with one transparent colour, chunk by chunk after the standard."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, 2 * (samples.ndim == 3), 0, 0, passes)
    lines = []
    for top, left, down, right in ADAM7 if passes else [(0, 0, 1, 1)]:
        for line in samples[top::down, left::right]:
            every = (line.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1
            lines.append(np.packbits(every.astype(bool).ravel()).tobytes())
    exif = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, turn, 0) + bytes(4)
    chunks = [
        (b"IHDR", header),
        (b"tRNS", struct.pack(f">{len(clear)}H", *clear)),
        *([(b"eXIf", exif)] if turn > 1 else []),
        (b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines))),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("high", [False, True])
def test_the_transparent_grey_of_a_png_lies_over_black(bits, high):
    """Of each depth, all of its bits count and no others; 11.3.2.1 of the standard, and libpng."""
    samples = np.random.default_rng(bits).integers(0, 2**bits, (12, 17), dtype=np.uint16)
    samples[3:5, 4:9] = key = int(samples[0, 0]) or 2**bits - 1
    known = png(samples, bits, (key + (2**bits if high and bits in (2, 4, 8) else 0),), passes=high)
    grey = np.where(samples == key, 0, samples).astype(float) * 255 / (2**bits - 1)
    np.testing.assert_array_equal(decode(known, ""), np.rint(grey)[:, :, None].repeat(3, axis=2))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("passes", [False, True])
def test_the_transparent_colour_of_a_png_lies_over_black(bits, turn, passes):
    """Colours of 16 bits that differ in a low byte alone are not transparent."""
    samples = np.random.default_rng(bits).integers(0, 2**bits, (12, 17, 3), dtype=np.uint16)
    samples[3:5, 4:9] = key = samples[0, 0]
    samples[7, 1:9] = key
    samples[7, 2:9, 1] ^= np.arange(1, 8, dtype=np.uint16)
    clear = (samples == key).all(axis=2, keepdims=True)
    expected = np.where(clear, 0, samples >> (bits - 8))
    expected = np.rot90(expected, -1) if turn == 6 else expected
    data = png(samples, bits, tuple(key.tolist()), turn=turn, passes=passes)
    assert 0 < clear.sum() < 20
    np.testing.assert_array_equal(decode(data, ""), expected)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_transparent_colours_of_16_bits_against_libpng(shape):
    codecs = pytest.importorskip("imagecodecs")
    samples = np.random.default_rng(0).integers(0, 4, shape, dtype=np.uint16) + 1000
    key = samples[5, 5].ravel().tolist()
    data = png(samples, 16, tuple(key))
    theirs = codecs.png_decode(data)  # libpng makes the colour an alpha of 0
    assert theirs.shape[2] == {2: 2, 3: 4}[len(shape)]
    assert 0 < (theirs[..., -1] == 0).sum() < theirs[..., -1].size
    clear = theirs[..., -1:] == 0
    expected = np.where(
        clear, 0, np.rint(theirs[..., :-1] / 257) if len(shape) == 2 else theirs[..., :-1] >> 8
    )
    np.testing.assert_array_equal(decode(data, ""), np.broadcast_to(expected, (40, 50, 3)))


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


def bitmap(indices: np.ndarray, colours: list[int], bits: int, *, declared: bool = True) -> bytes:
    """A BMP of a grey palette, by its header of 40 bytes."""
    height, width = indices.shape
    packed = (indices[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = [np.packbits(row.astype(np.uint8)).tobytes() for row in packed[::-1]]
    body = b"".join(row + bytes(-len(row) % 4) for row in rows)
    palette = b"".join(bytes((grey, grey, grey, 0)) for grey in colours)
    start = 54 + len(palette)
    used = len(colours) if declared else 0
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(body), 0, 0, used, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + palette + body


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_a_grey_palette_of_a_bmp_leaves_it_its_depth(bits):
    n = 2**bits
    random = np.random.default_rng(0)
    for colours in ([0, 255], [255, 0], list(range(n)), list(range(max(2, n // 2)))):
        indices = random.integers(0, len(colours), (21, 38)).astype(np.uint8)
        for declared in {True, len(colours) < n}:
            found = decode(bitmap(indices, colours, bits, declared=declared), "x")
            np.testing.assert_array_equal(found[:, :, 0], np.array(colours)[indices])
            np.testing.assert_array_equal(found.min(axis=2), found.max(axis=2))


def test_much_text_in_a_png_is_no_damage():
    colours = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    text = PngImagePlugin.PngInfo()
    text.add_itxt("workflow", "x" * 2_000_000, zip=True)
    exif = Image.Exif()
    exif[274] = 3
    for more in ({"pnginfo": text}, {"icc_profile": bytes(2_000_000)}):
        buffer = io.BytesIO()
        Image.fromarray(colours).save(buffer, "PNG", exif=exif, **more)
        np.testing.assert_array_equal(decode(buffer.getvalue(), "x"), colours[::-1, ::-1])
        with pytest.raises(ImageError, match="damaged or cut off"):
            decode(buffer.getvalue()[:-300], "x")


def test_a_damaged_text_in_a_png_is_passed_over_as_by_libpng_and_other_damage_named():
    colours = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    text = PngImagePlugin.PngInfo()
    text.add_text("author", "somebody")
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG", pnginfo=text)
    data = buffer.getvalue().replace(b"somebody", b"somebodY")
    np.testing.assert_array_equal(decode(data, "x"), colours)
    for kind, start in (("PNG", data[:20]), ("GIF", b"GIF89a"), ("WebP", b"RIFF\4\0\0\0WEBP")):
        with pytest.raises(ImageError, match=rf"damaged or cut off \(a {kind} by its first bytes"):
            decode(start + bytes(9), "x")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "I;16"])
def test_a_png_that_pillow_finds_damaged_is_damaged_wherever_a_bit_has_changed(mode):
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (40, 30)).astype(np.uint8)
    deep = mode == "I;16"
    image = Image.fromarray(grey.astype(np.uint16) * 257) if deep else Image.fromarray(grey).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    whole = buffer.getvalue()
    n_damaged = 0
    for place in random.integers(whole.index(b"IDAT") + 4, len(whole) - 12, 60):
        data = bytearray(whole)
        data[place] ^= 1 << int(random.integers(8))
        try:
            Image.open(io.BytesIO(data)).load()
        except (OSError, SyntaxError):
            n_damaged += 1
            with pytest.raises(ImageError, match="x: damaged or cut off"):
                decode(bytes(data), "x")
    assert n_damaged > 40


def test_a_bitmap_that_is_clear_throughout_is_opaque():
    """As browsers and OpenCV have it: most who write such files leave the fourth byte at 0."""
    colours = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    for opacity, expected in ((0, colours), (255, colours), (128, np.round(colours * (128 / 255)))):
        body = np.dstack([colours[::-1, :, ::-1], np.full((12, 16), opacity, np.uint8)]).tobytes()
        masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        head = struct.pack("<IiiHHIIiiII", 108, 16, 12, 1, 32, 3, len(body), 0, 0, 0, 0)
        head += masks + b"BGRs" + bytes(48)
        start = struct.pack("<IHHI", 14 + len(head) + len(body), 0, 0, 14 + len(head))
        found = decode(b"BM" + start + head + body, "x")
        np.testing.assert_array_equal(found, expected)
