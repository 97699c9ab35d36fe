"""An array of any type and layout to 8-bit pixels: one rule, whatever the array came in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import ImageError
from embedkit.images.reading import PLAIN, Reading

# 8192 x 8192, 201 MB as RGB: room for a wide-field mosaic, and few enough bytes that a batch of worker
# processes survives the worst file. A 30,000 x 30,000 PNG of one colour is 3 MB on disk and 2.7 GB decoded.
MAX_PIXELS = 2**26

CHANNELS = (1, 3, 4)
MANY = 64  # an axis that is longer than this holds no channels


def check_size(width: int, height: int, where: str) -> None:
    """Refuse more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise ImageError(too_large(where, f"{width:,} x {height:,} pixels,"))


def too_large(where: str, size: str) -> str:
    """Say that an image is over the limit."""
    return (
        f"{where}: {size} over the limit of {MAX_PIXELS:,} pixels, so it was not decoded. Cut or shrink it."
    )


def to_pixels(
    values: NDArray[Any],
    where: str,
    *,
    reading: Reading = PLAIN,
    channels: int = 3,
    alpha: bool = False,
    bits: int | None = None,
) -> NDArray[np.uint8]:
    """Turn an array into pixels.

    Parameters
    ----------
    values
        (h, w), or (h, w, c) or (c, h, w) of few channels.
    where
        The place that an error message names.
    reading
        Which channels are used, and which value is white.
    channels
        How many the model takes: of another number than 1 and 3, the array must have as many.
    alpha
        Whether the last of 2 or 4 channels is known to be opacity.
    bits
        How many bits of an unsigned integer are used, where that is known.

    Returns
    -------
    pixels : (h, w, 3) uint8, or (h, w, channels)
        Writable and contiguous.

    Raises
    ------
    ImageError
        An array that is no image, or more channels than it is known what to do with.
    """
    values = channels_last(values, where, channels)
    check_size(values.shape[1], values.shape[0], where)
    if reading.channels is not None:
        values, alpha = choose_channels(values, reading.channels, where), False
    elif channels in (1, 3):
        _check_meaning(values, where, alpha)
    n = values.shape[2]
    if alpha and n in (2, 4) and reading.white is not None:  # which is of colours
        colours = to_uint8(values[:, :, :-1], where, white=reading.white)
        pixels = np.concatenate([colours, to_uint8(values[:, :, -1:], where, bits=bits)], axis=2)
    else:
        pixels = to_uint8(values, where, white=reading.white, bits=bits)
    if n == channels and n != 1:
        return np.array(pixels, order="C")
    if n == 1:
        return np.repeat(pixels, 3, axis=2)
    if n == 2 and alpha:
        pixels = pixels[:, :, [0, 0, 0, 1]]
    if n in (2, 4) and alpha:
        return over_black(pixels)
    return np.array(pixels[:, :, :3] if n == 4 and channels in (1, 3) else pixels, order="C")


def channels_last(values: NDArray[Any], where: str, channels: int = 3) -> NDArray[Any]:
    """Return (h, w, c): the channels are the axis of 1, 3 or 4, else the shorter of the first and last."""
    shape = values.shape
    if values.ndim not in (2, 3) or 0 in shape:
        raise ImageError(f"{where}: an array of shape {shape} is no image. Give (h, w) or (h, w, 3).")
    if values.ndim == 2:
        return values[:, :, None]
    wanted = CHANNELS if channels in (1, 3) else (channels, *CHANNELS)
    for n in (wanted, range(min(shape[0], shape[2]), MANY + 1)):
        if shape[2] in n and (n is wanted or shape[2] <= shape[0]):
            return values
        if shape[0] in n:
            return np.moveaxis(values, 0, 2)
    raise ImageError(
        f"{where}: an array of shape {shape} has no axis of 1, 3 or 4 channels. Choose the bands that stand "
        "for red, green and blue, and store (h, w, 3)."
    )


def choose_channels(values: NDArray[Any], chosen: tuple[int, ...], where: str) -> NDArray[Any]:
    """Return those channels of (h, w, c) that were asked for."""
    n = values.shape[2]
    if max(chosen) >= n:
        raise ImageError(
            f"{where}: {n} channels, so there is no channel {max(chosen)}. They are counted from 0 in "
            "--channels."
        )
    return values[:, :, list(chosen)]


def _check_meaning(values: NDArray[Any], where: str, alpha: bool) -> None:
    """Refuse channels that say nothing of what they are."""
    n = values.shape[2]
    if n in (1, 3) or (alpha and n in (2, 4)) or (n == 4 and _opaque(values[:, :, 3])):
        return
    if n == 4:
        raise ImageError(
            f"{where}: 4 channels, and nothing says what the fourth is. Give --channels 0,1,2 with those "
            "that "
            "stand for red, green and blue, or store (h, w, 3)."
        )
    raise ImageError(
        f"{where}: {n} channels, and no axis of 1, 3 or 4 channels. Choose the bands that stand for red, "
        "green "
        f"and blue, such as --channels {'0,1,2' if n > 2 else 0}, or store (h, w, 3)."
    )


def _opaque(values: NDArray[Any]) -> bool:
    # White throughout it changes nothing as opacity, and tells nothing as a band.
    kind, white = values.dtype.kind, 1
    if kind == "u":
        white = int(np.iinfo(values.dtype).max)
    elif kind == "i":
        white = 255
    return bool((values == white).all())


def to_uint8(
    values: NDArray[Any], where: str, *, white: float | None = None, bits: int | None = None
) -> NDArray[np.uint8]:
    """Scale to 8 bits: uint8 as it is, uint16 by its range, floats from 0 to 1, others within 0 to 255.

    With `white`, that value becomes 255, 0 stays 0, and what lies outside is cut.
    """
    kind = values.dtype.kind
    if kind not in "buif":
        raise ImageError(f"{where}: an array of {values.dtype} is no image. Store uint8, uint16 or floats.")
    if kind == "f":
        _check_finite(values, where)
    if white is not None:
        scaled = np.clip(values.astype(np.float64) * (255 / white), 0, 255) + 0.5
        return scaled.astype(np.uint8)
    if kind == "u" and bits is not None and bits not in (8, 16, 32, 64):
        most = (1 << bits) - 1
        return ((values.astype(np.uint64) * 255 + most // 2) // most).astype(np.uint8)
    if values.dtype == np.uint8:
        return values
    if kind == "u" and values.dtype.itemsize == 2:  # of either byte order
        deep: NDArray[np.uint32] = (values.astype(np.uint32) * 255 + 32767) // 65535
        return deep.astype(np.uint8)
    if kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if kind == "f":
        return _from_floats(values, where)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 255:
        raise ImageError(
            f"{where}: {values.dtype} values from {low} to {high}; this type has no agreed white. Give "
            "--white "
            f"{max(high, 1)} to have that value white, or store uint8 or uint16, or floats from 0 to 1."
        )
    return values.astype(np.uint8)


def _check_finite(values: NDArray[Any], where: str) -> None:
    low, high = float(values.min()), float(values.max())  # NaN if there is one NaN
    if not (np.isfinite(low) and np.isfinite(high)):
        n_bad = int((~np.isfinite(values)).sum())
        raise ImageError(
            f"{where}: {n_bad:,} of {values.size:,} values are NaN or infinite. Fill them before."
        )


def _from_floats(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    low, high = float(values.min()), float(values.max())
    # 1e-3 forgives the rounding of a resize; more is another scale, which must not be guessed an image.
    if low < -1e-3 and high < 20:  # as of x - mean / std; a white would cut off its dark half
        raise ImageError(
            f"{where}: floats from {low:g} to {high:g}, expected 0 to 1. They seem to be normalised: undo "
            "that (x * std + mean), or store the images from before."
        )
    if low < -1e-3 or high > 1 + 1e-3:
        raise ImageError(
            f"{where}: floats from {low:g} to {high:g}, expected 0 to 1. Divide by the full range (255 "
            f"for 8 bits), store uint8, or give --white with the value that is white."
        )
    rounded: NDArray[np.uint8] = (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
    return rounded


def over_black(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay (h, w, 4) over black."""
    alpha = rgba[:, :, 3:].astype(np.uint16)
    pixels: NDArray[np.uint8] = ((rgba[:, :, :3] * alpha + 127) // 255).astype(np.uint8)
    return pixels
