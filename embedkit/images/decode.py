"""From the bytes of an image file, or an array, to pixels: the only place that decodes.

What is done with images that are not plain 8-bit RGB stands in docs/reference/datasets.md.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from embedkit.errors import ImageError

# 8192 x 8192, 201 MB as RGB: room for a wide-field mosaic, and few enough bytes that a batch of worker
# processes survives the worst file. A 30,000 x 30,000 PNG of one colour is 3 MB on disk and 2.7 GB decoded.
MAX_PIXELS = 2**26

# A list, because Pillow would otherwise try every plugin it has, some of which start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")

THUMBNAIL_TYPE = "image/webp"

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
_CHANNELS = (1, 3, 4)
_DAMAGED = "Restore the file or remove it, or leave such images out with --on-error skip."

_one_at_a_time = threading.Lock()


@contextmanager
def _no_warnings() -> Iterator[None]:
    # Pillow warns about odd metadata and large sizes; what matters of that is an ImageError here. The
    # filters are global to the process, so only one thread may swap them at a time.
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode(source: bytes | NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Decode one image.

    Parameters
    ----------
    source
        The bytes of an image file, or an array: (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), or with the
        channels first. uint8 as it is, uint16 by the type's range, floats within 0 to 1, booleans, and
        other integers within 0 to 255.
    where
        The place that an error message names.

    Returns
    -------
    pixels : (h, w, 3) uint8
        Writable and contiguous. Grey is repeated, transparency is laid over black.

    Raises
    ------
    ImageError
        Empty, truncated or foreign bytes, more than `MAX_PIXELS`, or an array that is no image.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, where)
    return _from_bytes(source, where)


def center(pixels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return the central (size, size, 3) square; of an axis that is shorter, all there is."""
    # Half a pixel goes to the even side, as in torchvision.
    top, left = (max(0, round((length - size) / 2)) for length in pixels.shape[:2])
    return pixels[top : top + size, left : left + size]


def crop(pixels: NDArray[np.uint8], side: int | None) -> NDArray[np.uint8]:
    """Return the central square of `side` pixels; the whole image where it is smaller, or `side` is None."""
    return pixels if side is None or side > min(pixels.shape[:2]) else center(pixels, side)


def thumbnail(pixels: NDArray[np.uint8], size: int) -> bytes:
    """Shrink to at most `size` pixels a side and encode as WebP (`THUMBNAIL_TYPE`); never enlarges.

    Parameters
    ----------
    pixels : (h, w, 3) uint8
        What `decode` returned.
    size
        The longer side, in pixels.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()


def _from_bytes(data: bytes, where: str) -> NDArray[np.uint8]:
    if not data:
        raise ImageError(f"{where}: the file is empty (0 bytes). {_DAMAGED}")
    try:
        with _no_warnings():
            image = Image.open(io.BytesIO(data), formats=FORMATS)  # reads the header only
            turn = _turn(image)
        _check_size(image.width, image.height, where)
        if image.format in ("JPEG", "MPO"):
            _check_jpeg_end(data, where)
            image.load()  # cannot warn, and so threads may decode side by side
        else:
            with _no_warnings():
                image.load()
        pixels = _to_rgb(image, where, turn)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{where}: not an image that can be read ({_first_bytes(data)}). Known are "
            f"{', '.join(FORMATS)}; convert it, or leave such files out with --on-error skip."
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(where, "far")) from error
    except MemoryError as error:
        raise ImageError(f"{where}: not enough memory to decode it. Use fewer --workers.") from error
    except Exception as error:  # Pillow's plugins raise nearly any type on damaged input
        raise ImageError(f"{where}: damaged or cut off ({_reason(error)}). {_DAMAGED}") from error
    return pixels


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # damaged metadata says nothing of the pixels, which are checked on their own
        return None


def _check_size(width: int, height: int, where: str) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(_too_large(where, f"{width:,} x {height:,} pixels,"))


def _too_large(where: str, size: str) -> str:
    return (
        f"{where}: {size} over the limit of {MAX_PIXELS:,} pixels, so it was not decoded. Cut or shrink it, "
        "or leave such images out with --on-error skip."
    )


def _check_jpeg_end(data: bytes, where: str) -> None:
    # libjpeg fills what is missing with grey. Pillow refuses that unless somebody has set its global
    # LOAD_TRUNCATED_IMAGES, so the marker is checked: entropy-coded data cannot contain either pattern.
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise ImageError(f"{where}: cut off (a JPEG without its end marker). {_DAMAGED}")


def _to_rgb(image: Image.Image, where: str, turn: Image.Transpose | None) -> NDArray[np.uint8]:
    mode = image.mode
    if turn is not None:
        image = image.transpose(turn)
    if mode == "RGB" and "transparency" not in image.info:
        return np.array(image)
    if mode.startswith("I") or mode == "F":
        values = np.asarray(image)
        if mode == "I" and values.min() >= 0 and values.max() <= 65535:
            values = values.astype(np.uint16)  # how Pillow gives 16-bit PGM
        return _from_array(values, where)
    if image.has_transparency_data:
        with _no_warnings():
            return _over_black(np.asarray(image.convert("RGBA")))
    if mode in ("L", "1"):
        return _repeat(np.asarray(image.convert("L")))
    return np.array(image.convert("RGB"))


def _from_array(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    shape = values.shape
    if values.ndim not in (2, 3) or 0 in shape:
        raise ImageError(f"{where}: an array of shape {shape} is no image. Give (h, w) or (h, w, 3).")
    if values.ndim == 3 and shape[2] not in _CHANNELS:
        if shape[0] not in _CHANNELS:
            raise ImageError(
                f"{where}: an array of shape {shape} has no axis of 1, 3 or 4 channels. Choose the bands "
                "that stand for red, green and blue, and store (h, w, 3)."
            )
        values = np.moveaxis(values, 0, 2)
    _check_size(values.shape[1], values.shape[0], where)
    pixels = _to_uint8(values, where)
    if pixels.ndim == 2:
        return _repeat(pixels)
    if pixels.shape[2] == 1:
        return _repeat(pixels[:, :, 0])
    if pixels.shape[2] == 4:
        return _over_black(pixels)
    return np.array(pixels, order="C")


def _to_uint8(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    kind = values.dtype.kind
    if values.dtype == np.uint8:
        return values
    if kind == "u" and values.dtype.itemsize == 2:  # of either byte order
        scaled: NDArray[np.uint32] = (values.astype(np.uint32) * 255 + 32767) // 65535
        return scaled.astype(np.uint8)
    if kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if kind == "f":
        low, high = float(values.min()), float(values.max())  # NaN if there is one NaN
        if not (np.isfinite(low) and np.isfinite(high)):
            n_bad = int((~np.isfinite(values)).sum())
            raise ImageError(
                f"{where}: {n_bad:,} of {values.size:,} values are NaN or infinite. Fill them before, or "
                "leave such images out with --on-error skip."
            )
        # 1e-3 forgives the rounding of a resize; more is another scale, which must not be guessed an image.
        if low < -1e-3 or high > 1 + 1e-3:
            raise ImageError(
                f"{where}: floats from {low:g} to {high:g}, expected 0 to 1. Divide by the full range (255 "
                "for 8 bits), or store uint8."
            )
        rounded: NDArray[np.uint8] = (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
        return rounded
    if kind in "iu":
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 255:
            raise ImageError(
                f"{where}: {values.dtype} values from {low} to {high}; this type has no agreed white. Store "
                "uint8 or uint16, or floats from 0 to 1."
            )
        return values.astype(np.uint8)
    raise ImageError(f"{where}: an array of {values.dtype} is no image. Store uint8, uint16 or floats.")


def _repeat(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(grey[:, :, None], 3, axis=2)


def _over_black(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    alpha = rgba[:, :, 3:].astype(np.uint16)
    pixels: NDArray[np.uint8] = ((rgba[:, :, :3] * alpha + 127) // 255).astype(np.uint8)
    return pixels


def _first_bytes(data: bytes) -> str:
    head = data[:12]
    if all(32 <= byte < 127 or byte in b"\r\n\t" for byte in data[:64]):
        return f"it is text that starts with {data[:24].decode()!r}"
    return f"it starts with {head.hex(' ')}"


def _reason(error: Exception) -> str:
    return f"{error}".strip().rstrip(".") or type(error).__name__
