"""From the bytes of an image file, or an array, to pixels: the only place that decodes.

What is done with images that are not plain 8-bit RGB stands in docs/reference/datasets.md.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from embedkit.errors import ImageError
from embedkit.images.bmp import blackened, with_its_depth
from embedkit.images.fits import is_fits, read_fits
from embedkit.images.jpeg import end_of_jpeg
from embedkit.images.jpeg2000 import header_of, read_jpeg2000
from embedkit.images.other_formats import begun_as, named
from embedkit.images.own_scale import highest, on_own_scale
from embedkit.images.png_samples import over_black_by_key
from embedkit.images.png_text import without_text
from embedkit.images.quiet import no_warnings
from embedkit.images.reading import PLAIN, Reading
from embedkit.images.tiff import TURNS, is_tiff, read_tiff
from embedkit.images.values import MAX_PIXELS, check_size, over_black, to_pixels, too_large

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "MAX_PIXELS",
    "THUMBNAIL_TYPE",
    "center",
    "crop",
    "decode",
    "decode_small",
    "thumbnail",
]

# More than any image under `MAX_PIXELS` takes; what is larger is no image, or not meant to be one.
MAX_BYTES = 2**31

# A list, because Pillow would otherwise try every plugin it has, some of which start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")

THUMBNAIL_TYPE = "image/webp"
# A block at the edge of a scaled JPEG counts as a whole one, so there are to be many of them.
LEAST_BLOCKS = 32
Scale = Callable[[int, int], int]

_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGED = "Restore the file or remove it."


def decode(
    source: bytes | NDArray[Any],
    where: str,
    *,
    reading: Reading = PLAIN,
    channels: int = 3,
    jpeg_scale: Scale | None = None,
) -> NDArray[np.uint8]:
    """Decode one image.

    Parameters
    ----------
    source
        The bytes of an image file, or an array: (h, w), (h, w, 1) or (h, w, 3), or with the channels first.
        uint8 as it is, uint16 by the type's range, floats within 0 to 1, booleans, and other integers
        within 0 to 255.
    where
        The place that an error message names.
    reading
        What is said of numbers that are not plainly pixels.
    channels
        How many the model takes. Of another number than 1 and 3, the image must have as many, and none of
        them is taken for opacity.
    jpeg_scale
        Of a JPEG's width and height: decode it at one part in 1, 2, 4 or 8 of its size, which libjpeg does in
        less time. It is not asked of other images.

    Returns
    -------
    pixels : (h, w, 3) uint8, or (h, w, channels)
        Writable and contiguous. Grey is repeated, transparency that a file declares is laid over black.

    Raises
    ------
    ImageError
        Empty, truncated or foreign bytes, more than `MAX_PIXELS`, or an array that is no image.
    """
    if isinstance(source, np.ndarray):
        return to_pixels(source, where, reading=reading, channels=channels)
    return _from_bytes(source, where, reading, channels, jpeg_scale)


def decode_small(
    source: bytes | NDArray[Any], where: str, *, side: int, center_crop: int | None = None
) -> NDArray[np.uint8]:
    """Decode for a picture whose longer side is `side`: no finer than it takes, which of a JPEG saves time.

    Parameters
    ----------
    source, where
        As in `decode`.
    side
        Pixels of the picture.
    center_crop
        Show only the central square of that many of the image's own pixels, if it has as many.

    Returns
    -------
    pixels : (h, w, 3) uint8
        Of a longer side of at least `side`, where the image has as many.
    """
    crop_to, k, cropped = center_crop or MAX_PIXELS, 1, False

    def scale(width: int, height: int) -> int:
        nonlocal k, cropped
        cropped = crop_to <= min(width, height)
        seen = crop_to if cropped else max(width, height)
        shorter = min(width, height)
        k = next((k for k in (8, 4, 2) if seen >= k * side and shorter >= k * LEAST_BLOCKS), 1)
        return k

    pixels = decode(source, where, jpeg_scale=scale)
    if k == 1:
        return crop(pixels, center_crop)
    return center(pixels, round(crop_to / k)) if cropped else pixels


def center(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the central (size, size, 3) square; of an axis that is shorter, all there is."""
    # Half a pixel goes to the even side, as in torchvision.
    top, left = (max(0, round((length - size) / 2)) for length in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


def crop(pixels: NDArray[np.uint8], side: int | None) -> NDArray[np.uint8]:
    """Return the central square of `side` pixels; the whole image where it is smaller, or `side` is None."""
    return pixels if side is None or side > min(pixels.shape[:2]) else center(pixels, side)


def shrunk(pixels: NDArray[np.uint8], size: int, *, gap: float = 2.0) -> Image.Image:
    """Shrink pixels (h, w, 3) until the longer side is at most `size`; never enlarges.

    Parameters
    ----------
    pixels, size
        As in `thumbnail`.
    gap
        How much larger than `size` they still are after whole pixels were averaged, before the rest is
        interpolated: 1 is the fastest.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=gap)
    return image


def thumbnail(pixels: NDArray[np.uint8], size: int) -> bytes:
    """Shrink to at most `size` pixels a side and encode as WebP (`THUMBNAIL_TYPE`); never enlarges.

    Parameters
    ----------
    pixels : (h, w, 3) uint8
        What `decode` returned.
    size
        The longer side, in pixels.
    """
    buffer = io.BytesIO()
    shrunk(pixels, size).save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()


def _from_bytes(
    data: bytes, where: str, reading: Reading, channels: int, jpeg_scale: Scale | None
) -> NDArray[np.uint8]:
    if not data:
        raise ImageError(f"{where}: the file is empty (0 bytes). {_DAMAGED}")
    try:
        if is_fits(data):
            return to_pixels(read_fits(data, where, reading), where, channels=channels)
        if is_tiff(data):
            bands = reading.channels is not None or channels not in (1, 3)
            samples = read_tiff(data, where, bands=bands)
            if samples is not None:
                return to_pixels(
                    samples.values,
                    where,
                    reading=reading,
                    channels=channels,
                    alpha=samples.alpha,
                    bits=samples.bits,
                )
        header = header_of(data)
        scaled = reading.white is not None
        if header is not None and not header.for_pillow(as_stored=scaled):
            return to_pixels(
                read_jpeg2000(data, header, where),
                where,
                reading=reading,
                channels=channels,
                alpha=len(header.bits) in (2, 4),  # as Pillow takes those of 8 bits
                bits=header.bits[0],
            )
        values = _through_pillow(data, where, as_stored=scaled, jpeg_scale=jpeg_scale)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        kind = begun_as(data)
        if kind:
            raise ImageError(
                f"{where}: damaged or cut off (a {kind} by its first bytes). {_DAMAGED}"
            ) from error
        raise ImageError(
            f"{where}: not an image that can be read ({named(data) or _first_bytes(data)}). Known are "
            f"{', '.join(FORMATS)} and FITS; convert it."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(too_large(where, "far")) from error
    except MemoryError as error:
        raise ImageError(f"{where}: not enough memory to decode it. Shrink it, or free some.") from error
    except Exception as error:  # Pillow's plugins raise nearly any type on damaged input
        raise ImageError(f"{where}: damaged or cut off ({_reason(error)}). {_DAMAGED}") from error
    if values.ndim == 3 and reading == PLAIN:
        return values
    return to_pixels(values, where, reading=reading, channels=channels, alpha=values.shape[2:] == (4,))


def _through_pillow(data: bytes, where: str, *, as_stored: bool, jpeg_scale: Scale | None) -> NDArray[Any]:
    try:
        return _as_pillow_has_it(data, where, as_stored=as_stored, jpeg_scale=jpeg_scale)
    except (ValueError, UnidentifiedImageError):  # its words for too much text, or a damaged one
        lean = without_text(data)
        if lean is None:
            raise
        return _as_pillow_has_it(lean, where, as_stored=as_stored, jpeg_scale=jpeg_scale)


def _as_pillow_has_it(data: bytes, where: str, *, as_stored: bool, jpeg_scale: Scale | None) -> NDArray[Any]:
    """Return pixels (h, w, 3), or numbers of grey (h, w); with `as_stored` all numbers of over 8 bits."""
    bitmap = with_its_depth(data)
    data = data if bitmap is None else bitmap
    with no_warnings():
        image = Image.open(io.BytesIO(data), formats=FORMATS)  # reads the header only
        # Pillow turns a TIFF itself, and loads a PNG to look for it: one that fails then passes for loaded.
        turn = 1 if image.format in ("TIFF", "PNG") else _orientation(image)
    check_size(image.width, image.height, where)
    most = highest(image, data) if as_stored else 255
    if image.format in ("JPEG", "MPO"):
        # Pillow refuses a cut-off one unless somebody has set its global LOAD_TRUNCATED_IMAGES.
        if end_of_jpeg(data) is None:
            raise ImageError(f"{where}: cut off (a JPEG without its end marker). {_DAMAGED}")
        if jpeg_scale is not None and (k := jpeg_scale(*image.size)) > 1:
            image.draft(None, (image.width // k, image.height // k))
        image.load()  # cannot warn, and so threads may decode side by side
    else:
        with no_warnings():
            image.load()
            turn = _orientation(image) if image.format == "PNG" else turn
    if most > 255:
        return TURNS[turn](on_own_scale(image, data, most, where))
    pixels = _to_rgb(over_black_by_key(image, data), _TURNS.get(turn))
    return pixels if bitmap is None else blackened(pixels)


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged metadata says nothing of the pixels, which are checked on their own
        return 1
    return found if found in _TURNS else 1


def _to_rgb(image: Image.Image, turn: Image.Transpose | None) -> NDArray[Any]:
    mode = image.mode
    if turn is not None:
        image = image.transpose(turn)
    if mode == "RGB" and "transparency" not in image.info:
        return np.array(image)
    if mode.startswith("I") or mode == "F":
        values = np.asarray(image)
        # Those of a PPM are scaled by the file's own white to 16 bits.
        return values.astype(np.uint16) if mode == "I" and image.format == "PPM" else values
    if image.has_transparency_data:
        with no_warnings():
            rgba = np.asarray(image.convert("RGBA"))
        if image.format == "BMP" and not rgba[:, :, 3].any():  # written by who knew of no opacity
            return np.ascontiguousarray(rgba[:, :, :3])
        return over_black(rgba)
    if mode in ("L", "1"):
        return np.repeat(np.asarray(image.convert("L"))[:, :, None], 3, axis=2)
    return np.array(image.convert("RGB"))


def _first_bytes(data: bytes) -> str:
    head = data[:12]
    if all(32 <= byte < 127 or byte in b"\r\n\t" for byte in data[:64]):
        return f"it is text that starts with {data[:24].decode()!r}"
    return f"it starts with {head.hex(' ')}"


def _reason(error: Exception) -> str:
    return f"{error}".strip().rstrip(".") or type(error).__name__
