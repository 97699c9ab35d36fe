"""Small sound pictures of every kind, and headers that lie about what follows them."""

from __future__ import annotations

import gzip
import io
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.hostile.mutations import Random

U8 = NDArray[np.uint8]
Kind = tuple[str, Callable[[U8], bytes]]
WHOLE = (0, 1, 2, 255, 65535, 65536, 100_000, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


def _pillow(form: str, mode: str = "RGB", **options: Any) -> Callable[[U8], bytes]:
    def make(pixels: U8) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(stream, form, **options)
        return stream.getvalue()

    return make


def _frames(form: str, **options: Any) -> Callable[[U8], bytes]:
    def make(pixels: U8) -> bytes:
        first, *others = [Image.fromarray(np.roll(pixels, 3 * i, axis=0)) for i in range(3)]
        stream = io.BytesIO()
        first.save(stream, form, save_all=True, append_images=others, **options)
        return stream.getvalue()

    return make


def _deep_png(pixels: U8) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(stream, "PNG")
    return stream.getvalue()


def _tiff(change: Callable[[U8], Any] = lambda pixels: pixels, **options: Any) -> Callable[[U8], bytes]:
    def make(pixels: U8) -> bytes:
        import tifffile

        stream = io.BytesIO()
        tifffile.imwrite(stream, np.ascontiguousarray(change(pixels)), **options)
        return stream.getvalue()

    return make


def _fits(kind: str) -> Callable[[U8], bytes]:
    def make(pixels: U8) -> bytes:
        from astropy.io import fits

        grey = pixels[..., 0]
        image = {
            "int": grey.astype(np.int16),
            "float": np.where(grey > 250, np.nan, grey.astype(np.float32)),
            "cube": np.moveaxis(pixels, 2, 0).astype(np.float64),
        }.get(kind, grey.astype(np.int32))
        parts = [fits.PrimaryHDU(image)]
        if kind in ("RICE_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"):
            parts = [fits.PrimaryHDU(), fits.CompImageHDU(image, compression_type=kind)]
        stream = io.BytesIO()
        fits.HDUList(parts).writeto(stream)
        return stream.getvalue()

    return make


def _packed(make: Callable[[U8], bytes]) -> Callable[[U8], bytes]:
    return lambda pixels: gzip.compress(make(pixels))


def _deep(pixels: U8) -> Any:
    return pixels.astype(np.uint16) * 257


KINDS: tuple[Kind, ...] = (
    ("png", _pillow("PNG")),
    ("png", _pillow("PNG", "P")),
    ("png", _pillow("PNG", "RGBA")),
    ("png", _pillow("PNG", "1")),
    ("png", _deep_png),
    ("jpg", _pillow("JPEG")),
    ("jpg", _pillow("JPEG", "L", progressive=True)),
    ("jpg", _pillow("JPEG", "CMYK")),
    ("tif", _pillow("TIFF")),
    ("tif", _pillow("TIFF", compression="tiff_lzw")),
    ("tif", _pillow("TIFF", compression="jpeg")),
    ("tif", _frames("TIFF")),
    ("tif", _tiff(_deep)),
    ("tif", _tiff(_deep, compression="zlib", predictor=True, byteorder=">")),
    ("tif", _tiff(lambda pixels: pixels / np.float32(255), photometric="rgb")),
    ("tif", _tiff(lambda pixels: np.moveaxis(pixels, 2, 0), photometric="rgb", planarconfig="separate")),
    ("tif", _tiff(tile=(16, 16), compression="zstd", bigtiff=True)),
    ("tif", _tiff(lambda pixels: pixels[..., 0] > 99, bitspersample=1)),
    ("webp", _pillow("WEBP")),
    ("webp", _pillow("WEBP", "RGBA", lossless=True)),
    ("webp", _frames("WEBP")),
    ("gif", _pillow("GIF")),
    ("gif", _frames("GIF", loop=0)),
    ("bmp", _pillow("BMP")),
    ("bmp", _pillow("BMP", "P")),
    ("ppm", _pillow("PPM")),
    ("pgm", lambda pixels: b"P5 24 20 65535\n" + _deep(pixels)[..., 0].astype(">u2").tobytes()),
    ("jp2", _pillow("JPEG2000")),
    ("fits", _fits("int")),
    ("fits", _fits("float")),
    ("fits", _fits("cube")),
    ("fits", _fits("RICE_1")),
    ("fits", _fits("GZIP_2")),
    ("fits", _fits("HCOMPRESS_1")),
    ("fits.gz", _packed(_fits("float"))),
)


def lie(random: Random, ending: str, data: bytes) -> bytes:
    """Return a picture whose header declares other sizes, depths or places than what follows has."""
    changed = bytearray(data)
    if ending == "fits.gz":
        return gzip.compress(lie(random, "fits", gzip.decompress(data)))
    if ending == "fits":
        return _lie_in_cards(random, changed)
    if ending in ("ppm", "pgm"):
        return re.sub(rb"\d+", lambda _: str(random.choice(WHOLE)).encode(), data[:15]) + data[15:]
    if ending == "tif":
        return _lie_in_tags(random, changed)
    places = {
        "png": (">I", (16, 20)),
        "gif": ("<H", (6, 8)),
        "bmp": ("<I", (10, 14, 18, 22, 28, 30, 34, 46)),
        "webp": ("<I", (4, 16, 20, 24, 26)),
        "jpg": (
            ">H",
            tuple(found.start() + at for found in re.finditer(b"\xff[\xc0-\xc4]", data) for at in (2, 5, 7)),
        ),
        "jp2": (">I", tuple(data.find(b"\xff\x51") + at for at in (6, 10, 14, 18, 22, 26))),
    }
    kind, at = places[ending]
    for place in random.sample(at, min(len(at), random.choice((1, 1, 2)))):
        size = struct.calcsize(kind)
        value = random.choice([one for one in WHOLE if one < 2 ** (8 * size)])
        if place + size <= len(changed):
            struct.pack_into(kind, changed, place, value)
    if ending == "png":  # with the sum that belongs to it
        if random.random() < 0.3:
            changed[24:29] = bytes(random.choice((0, 1, 2, 3, 4, 6, 8, 16, 99)) for _ in range(5))
        struct.pack_into(">I", changed, 29, zlib.crc32(changed[12:29]))
    return bytes(changed)


def _lie_in_tags(random: Random, data: bytearray) -> bytes:
    """Change entries of the first directory of a TIFF: their number, type, count or value."""
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    (start,) = struct.unpack_from(f"{order}{'Q' if big else 'I'}", data, 8 if big else 4)
    (n,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, start)
    for _ in range(random.choice((1, 1, 2))):
        at = start + (8 + 20 * random.randrange(n) if big else 2 + 12 * random.randrange(n))
        kind = random.randrange(5)
        whole, width = ("Q", 8) if big else ("I", 4)
        if kind == 0:
            struct.pack_into(
                f"{order}H", data, at, random.choice((254, 256, 258, 262, 273, 277, 320, 322, 339, 65535))
            )
        elif kind == 1:
            struct.pack_into(f"{order}H", data, at + 2, random.randrange(20))
        elif kind == 2:
            struct.pack_into(f"{order}{whole}", data, at + 4, random.choice(WHOLE))
        else:
            struct.pack_into(f"{order}{whole}", data, at + 4 + width, random.choice(WHOLE))
    if random.random() < 0.1:  # the next directory is this one
        after = start + (8 + 20 * n if big else 2 + 12 * n)
        struct.pack_into(f"{order}{'Q' if big else 'I'}", data, after, start)
    return bytes(data)


_VALUES = (
    *(
        "0",
        "-1",
        "1",
        "7",
        "-32",
        "64",
        "99999",
        "2147483648",
        "9" * 30,
        "1.5",
        "NaN",
        "T",
        "'text'",
        "'RICE_1'",
    ),
    *("1E400", "", "'unclosed", "(1,2)"),
)


def _lie_in_cards(random: Random, data: bytearray) -> bytes:
    """Change the values of cards of a FITS header, which are 80 characters each."""
    cards = [at for at in range(0, len(data), 80) if re.match(rb"[A-Z0-9_-]{1,8} *= ", data[at : at + 10])]
    for at in random.sample(cards, min(len(cards), random.choice((1, 1, 2)))):
        data[at + 10 : at + 80] = random.choice(_VALUES).rjust(20).ljust(70).encode()
    return bytes(data)
