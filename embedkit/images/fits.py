"""FITS: the numbers of a telescope, which have no white, to pixels by a stated stretch."""

from __future__ import annotations

import gzip
import io
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import ImageError
from embedkit.images.quiet import no_warnings
from embedkit.images.reading import PERCENTILES, STRETCH, Reading
from embedkit.images.unpack_fits import unpack
from embedkit.images.values import MANY, MAX_PIXELS, check_size, choose_channels, to_uint8

_START = b"SIMPLE  ="
_GZIP = b"\x1f\x8b"
_MAX_BYTES = 2**31
_COUNT = re.compile(rb"(?:Z?NAXIS|TFIELDS) *= *(\d+)")
_MOST_AXES = 999  # of the standard; astropy would count through any number of them
_ASINH_A = 0.1
_LOG_A = 1000.0
MISSING = "FITS needs astropy. Install embedkit-images[fits]."


def has_astropy() -> bool:
    """Whether what reads FITS is there."""
    from importlib.util import find_spec

    return find_spec("astropy") is not None


def is_fits(data: bytes) -> bool:
    """Whether bytes are FITS, or compressed by gzip as no other image is."""
    return data[:9] == _START or data[:2] == _GZIP


def read_fits(data: bytes, where: str, reading: Reading) -> NDArray[np.uint8]:
    """Read the image of a FITS file and stretch it.

    Parameters
    ----------
    data
        The file.
    where
        The place that an error message names.
    reading
        Which part and channels, and the stretch: by default asinh from the 0.5th to the 99.5th percentile
        of all finite values. Values that are not finite are drawn black.

    Returns
    -------
    pixels : (h, w, c) uint8
        In the order of the file's rows.

    Raises
    ------
    ImageError
        No image in it, or one of too many pixels or axes.
    """
    values = _image(data, where, reading.hdu)
    values = np.squeeze(
        values, axis=tuple(axis for axis in range(values.ndim - 2) if values.shape[axis] == 1)
    )
    if values.ndim == 3 and _colours_last(values.shape):
        pass
    elif values.ndim == 3 and values.shape[0] <= MANY:  # a cube: its planes are the channels
        values = np.moveaxis(values, 0, 2)
    elif values.ndim != 2:
        raise ImageError(
            f"{where}: a FITS image of shape {values.shape} is no picture or cube of few planes. Choose "
            "another with --hdu."
        )
    else:
        values = values[:, :, None]
    if reading.channels is not None:
        values = choose_channels(values, reading.channels, where)
    if reading.white is not None:
        return to_uint8(np.where(np.isfinite(values), values, 0), where, white=reading.white)
    return stretched(values, where, reading.stretch or STRETCH, reading.percentiles or PERCENTILES)


def _colours_last(shape: tuple[int, ...]) -> bool:
    """Whether an array of (h, w, 3) was written as it is: planes three pixels wide are no cube."""
    return len(shape) == 3 and shape[2] == 3 and min(shape[:2]) > 4


def stretched(
    values: NDArray[Any], where: str, stretch: str, percentiles: tuple[float, float]
) -> NDArray[np.uint8]:
    """Draw values between two percentiles of the finite ones; formulas and constants are astropy's."""
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise ImageError(f"{where}: no value of it is finite.")
    low, high = np.percentile(values[finite], percentiles)
    x = np.clip((np.where(finite, values, low) - low) / ((high - low) or 1.0), 0, 1)
    if stretch == "asinh":
        x = np.arcsinh(x / _ASINH_A) / np.arcsinh(1 / _ASINH_A)
    elif stretch == "log":
        x = np.log1p(_LOG_A * x) / np.log1p(_LOG_A)
    elif stretch == "sqrt":
        x = np.sqrt(x)
    pixels: NDArray[np.uint8] = (x * 255 + 0.5).astype(np.uint8)
    return pixels


def image_parts(data: bytes, where: str) -> list[str]:
    """Name the parts of a FITS file that hold images."""
    with no_warnings(), _opened(_plain(data, where), where) as parts:
        return [f"{number} {part.name}".strip() for number, part in enumerate(parts) if _is_image(part)]


def _plain(data: bytes, where: str) -> bytes:
    """Return the bytes of the file itself, where gzip compressed it."""
    if data[:2] != _GZIP:
        return data
    with gzip.open(io.BytesIO(data)) as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES or data[:9] != _START:
        raise ImageError(f"{where}: what is compressed in it is no FITS image. Give the image itself.")
    return data


def _opened(data: bytes, where: str) -> Any:
    try:
        from astropy.io import fits
    except ImportError as error:
        raise ImageError(f"{where}: {MISSING}") from error
    if any(int(found[1]) > _MOST_AXES for found in _COUNT.finditer(data) if found.start() % 80 == 0):
        raise ImageError(f"{where}: damaged (a header of more than {_MOST_AXES} axes). Restore the file.")
    return fits.open(io.BytesIO(data), memmap=False, ignore_missing_simple=False, ignore_blank=False)


def _image(data: bytes, where: str, hdu: str | None) -> NDArray[Any]:
    data = _plain(data, where)
    with no_warnings(), _opened(data, where) as parts:
        part = _chosen(parts, where, hdu)
        shape = part.shape
        n_planes = int(np.prod(shape[:-2], dtype=object)) if len(shape) > 2 else 1
        if _colours_last(shape):
            n_planes, shape = shape[2], (shape[2], *shape[:2])
        check_size(shape[-1], shape[-2], where)
        if n_planes > MANY or n_planes * shape[-1] * shape[-2] > 4 * MAX_PIXELS:
            raise ImageError(f"{where}: a FITS cube of shape {shape}. Store the planes that are to be seen.")
        blank = _blank(part)
        compressed = hasattr(part, "compression_type")
        values = unpack(data, parts.index(part), where) if compressed else part.data
        if values is None or values.shape != part.shape:
            raise ImageError(f"{where}: damaged or cut off (its data are missing). Restore the file.")
        array: NDArray[Any] = np.asarray(values)
    if blank is not None and array.dtype.kind in "iu":
        # astropy makes NaN of them in signed integers, and leaves them in unsigned ones.
        array = np.where(array.astype(np.float64) == blank, np.nan, array.astype(np.float64))
    return array


def _blank(part: Any) -> float | None:
    """Return the value of what was not measured, as astropy gives it; the header has it as stored."""
    header = part.header
    stored = header.get("BLANK", header.get("ZBLANK"))
    if isinstance(stored, bool) or not isinstance(stored, int):
        return None
    scale, zero = header.get("BSCALE", 1), header.get("BZERO", 0)
    return (
        float(stored * scale + zero)
        if isinstance(scale, (int, float)) and isinstance(zero, (int, float))
        else None
    )


def _chosen(parts: Any, where: str, hdu: str | None) -> Any:
    if hdu is None:
        for part in parts:
            if _is_image(part):
                return part
        raise ImageError(f"{where}: no image in this FITS file.")
    known = [f"{number} {part.name}".strip() for number, part in enumerate(parts)]
    try:
        part = parts[int(hdu) if hdu.lstrip("-").isdigit() else hdu]
    except (KeyError, IndexError) as error:
        raise ImageError(f"{where}: no part {hdu!r} for --hdu. Its parts are {', '.join(known)}.") from error
    if not _is_image(part):
        raise ImageError(f"{where}: its part {hdu!r} is no image. Its parts are {', '.join(known)}.")
    return part


def _is_image(part: Any) -> bool:
    return bool(part.is_image) and len(part.shape) >= 2 and 0 not in part.shape
