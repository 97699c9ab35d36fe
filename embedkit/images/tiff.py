"""TIFF: its tags decide what decodes it, and what its numbers mean.

Pillow decodes what has at most 8 bits a sample. Deeper ones it gives wrong in places (planar 16-bit colour,
16 bits with white at zero) or cut to 8 bits, so tifffile reads their numbers, and `embedkit.images.values`
scales them as those of any array.
"""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from embedkit.errors import ImageError
from embedkit.images.values import check_size, to_uint8

_BIG_OF_MOTOROLA = b"MM\0+"
STARTS = (b"II*\0", b"MM\0*", b"II+\0", _BIG_OF_MOTOROLA)

# It logs what it forgives; what matters of that is an ImageError here.
logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_NAMES = {4: "a mask", 32803: "the mosaic of a camera's sensor", 34892: "linear raw of a camera"}
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_PREMULTIPLIED, _STRAIGHT = 1, 2
_MAX_BYTES = 2**31
_ORIENTATION = 274
_SUBFILE = 254
_THUMBNAIL, _MASK = 1, 4
_INK_SET, _OTHER_INKS = 332, 2
_NODATA = 42113  # GDAL's, of GeoTIFF: the value of what was not measured, as text
_JPEG = (6, 7)
# Compressions of Pillow's libtiff in all its wheels; tifffile reads the others.
_OF_PILLOW = frozenset((1, 2, 3, 4, 5, *_JPEG, 8, 32773, 32946, 34925, 50000))
_MOST_PAGES = 64
_LENGTHS = (
    *("imagewidth", "imagelength", "imagedepth", "samplesperpixel", "rowsperstrip"),
    *("tilewidth", "tilelength"),
)

# What each orientation needs to stand upright (TIFF 6.0, tag 274), of (h, w, c).
TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@dataclass(frozen=True)
class Samples:
    """What a TIFF holds, upright.

    Parameters
    ----------
    values : (h, w, c)
        In the file's own type.
    alpha
        Whether the last channel is opacity that the others have not been multiplied with.
    bits
        A sample.
    """

    values: NDArray[Any]
    alpha: bool
    bits: int


@dataclass(frozen=True)
class _Layout:
    photometric: int
    samples: int
    bits: int
    formats: frozenset[int]
    extras: tuple[int, ...]
    planar: bool
    codec: int
    nodata: float | None
    odd: bool = False

    @property
    def plain(self) -> bool:
        """Whether Pillow decodes it right, as tested against what was written and tifffile."""
        if self.formats != {_UNSIGNED} or self.bits not in (1, 2, 4, 8) or self.odd:
            return False
        if self.codec not in _OF_PILLOW or self.nodata not in (None, 0.0):
            return False
        if self.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
            grey = self.photometric == _BLACK_IS_ZERO
            return self.samples == 1 or (grey and self.extras == (_STRAIGHT,) and not self.planar)
        if self.photometric == _RGB:
            n_colours = self.samples - len(self.extras)
            return self.bits == 8 and n_colours == 3 and not (self.extras and self.planar)
        if self.photometric == _PALETTE:
            return self.samples == 1
        return self.bits == 8 and self.photometric in (_CMYK, _YCBCR, _LAB)


def is_tiff(data: bytes) -> bool:
    """Whether bytes are a TIFF or BigTIFF by their first four."""
    return data[:4] in STARTS


def n_pages(data: bytes) -> int:
    """How many pages a TIFF has."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return len(file.pages)


def read_tiff(data: bytes, where: str, *, bands: bool = False) -> Samples | None:
    """Read the first page of a TIFF; None where it is one for Pillow.

    Parameters
    ----------
    data
        The file.
    where
        The place that an error message names.
    bands
        Whether all of its samples are wanted, rather than what is to be seen of them.

    Raises
    ------
    ImageError
        Samples that are no picture, a codec that is not there, or data that is cut off.
    """
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = _page(file, where)
        layout = _layout(page)
        coloured = layout.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
        pages = _pages(file, page, where) if bands and coloured and layout.samples == 1 else [page]
        bands = bands and coloured and (layout.samples > 1 or len(pages) > 1)
        pillows = layout.plain and not bands and page is file.pages.first
        if pillows and data[:4] != _BIG_OF_MOTOROLA:  # which Pillow doesn't know
            return None
        _check_whole(pages, len(data), where)
        values = np.concatenate([_values(one, where) for one in pages], axis=2)
        missing = _missing(values, layout.nodata)
        if bands:
            if layout.photometric == _WHITE_IS_ZERO:
                values = _inverted(values, layout.bits, where)
            samples = Samples(values, False, layout.bits)
        else:
            samples = _meaning(values, layout, page, where)
        if missing is not None:  # black, as of FITS
            samples.values[missing] = 0
        turn = TURNS.get(_first(page, _ORIENTATION, 1), TURNS[1])
    return Samples(turn(samples.values), samples.alpha, samples.bits)


def _page(file: tifffile.TiffFile, where: str) -> Any:
    """Return the first page that is no thumbnail or mask of another; of none, one that belongs to a page."""
    page: Any = file.pages.first
    first: Any = page
    if _is_aside(first):
        pages: list[Any] = list(itertools.islice(file.pages, _MOST_PAGES))
        # Cameras keep the image itself below its thumbnail (TIFF/EP, DNG).
        below = (one for page in pages if page.subifds for one in itertools.islice(page.pages, _MOST_PAGES))
        page = next((one for one in itertools.chain(pages, below) if not _is_aside(one)), first)
    _check_lengths(page, where)
    return page


def _is_aside(page: Any) -> bool:
    return bool(_first(page, _SUBFILE, 0) & (_THUMBNAIL | _MASK))


def _pages(file: tifffile.TiffFile, like: Any, where: str) -> list[Any]:
    """Return the pages of one size and type with a page: the channels of a microscope's, or planes."""
    pages = list(itertools.islice(file.pages, _MOST_PAGES))
    same = [page for page in pages if (page.shape, page.dtype) == (like.shape, like.dtype)]
    for page in same:
        _check_lengths(page, where)
    return same or [like]


def _check_lengths(page: Any, where: str) -> None:
    # tifffile takes what stands there; several lengths for one would be multiplied out as a tuple.
    if not all(isinstance(getattr(page, name), int) for name in _LENGTHS):
        raise ImageError(f"{where}: damaged (a length that is no number). Restore the file.")
    check_size(page.imagewidth, page.imagelength, where)
    if page.imagedepth > 1:
        raise ImageError(f"{where}: a TIFF of {page.imagedepth} planes in depth. Store one of them.")


def _missing(values: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """(h, w): where no sample of a pixel was measured."""
    if nodata is None:
        return None
    same = np.isnan(values) if np.isnan(nodata) and values.dtype.kind == "f" else values == nodata
    missing: NDArray[np.bool_] = same.all(axis=2)
    return missing


def _layout(page: Any) -> _Layout:
    bits = _all(page, 258, (1,))
    return _Layout(
        photometric=_first(page, 262, _BLACK_IS_ZERO),
        samples=page.samplesperpixel,
        bits=max(bits),
        formats=frozenset(_all(page, 339, (_UNSIGNED,))),
        extras=_all(page, 338, ()),
        planar=_first(page, 284, 1) == 2,
        codec=int(page.compression),
        nodata=_nodata(page),
        odd=_has_bytes_for_colours(page) or _first(page, _INK_SET, 1) == _OTHER_INKS,
    )


def _has_bytes_for_colours(page: Any) -> bool:
    """Whether a palette of 16 bits holds 8: Pillow draws it black, libtiff takes it for what it is."""
    colours = getattr(page, "colormap", None)
    return colours is not None and 0 < colours.max() < 256


def _nodata(page: Any) -> float | None:
    found = page.tags.get(_NODATA)
    try:
        return None if found is None else float(str(found.value).strip(" \0"))
    except ValueError:  # text that is no number says nothing
        return None


def _all(page: Any, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
    found = page.tags.get(tag)
    if found is None:
        return default
    return tuple(map(int, found.value)) if isinstance(found.value, (tuple, list)) else (int(found.value),)


def _first(page: Any, tag: int, default: int) -> int:
    return next(iter(_all(page, tag, (default,))), default)


def _check_whole(pages: list[Any], n_bytes: int, where: str) -> None:
    size = sum(page.nbytes for page in pages)
    if size > _MAX_BYTES:
        raise ImageError(f"{where}: {size:,} bytes of samples, too many for one image. Store fewer bands.")
    for page in pages:
        # tifffile fills strips and tiles that are not there with zeros.
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
        n = int(np.prod(page.chunked)) if page.chunked else len(ends)
        empty = 0 in page.databytecounts or 0 in page.dataoffsets
        if len(ends) < n or empty or max(ends, default=0) > n_bytes:
            raise ImageError(
                f"{where}: damaged or cut off (strips or tiles of this TIFF are missing). Restore the file."
            )


def _values(page: Any, where: str) -> NDArray[Any]:
    """(h, w, c) in the file's own type."""
    try:
        values = page.asarray(maxworkers=1)
    except (KeyError, ValueError) as error:
        if "imagecodecs" not in str(error):
            raise
        name = getattr(page.compression, "name", page.compression)
        raise ImageError(
            f"{where}: a TIFF of {page.bitspersample} bits a sample compressed with {name}, which needs "
            "another "
            "package. Install embedkit-images[tiff], or store it uncompressed or with deflate."
        ) from error
    axes = page.axes
    if axes[:1] == "S":
        values = np.moveaxis(values, 0, -1)
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3:
        raise ImageError(
            f"{where}: a TIFF of axes {axes}, shape {values.shape}, is no image. Store one plane."
        )
    array: NDArray[Any] = values
    return array


def _meaning(values: NDArray[Any], layout: _Layout, page: Any, where: str) -> Samples:
    """Sort out what the tags say of the samples: which are colours, which is opacity, where white lies."""
    bits, photometric, extras = layout.bits, layout.photometric, layout.extras
    n_colours = layout.samples - len(extras)
    alpha = extras[:1] == (_STRAIGHT,)
    if photometric == _RGB:
        # Three samples are colours by definition; what comes after them without a meaning is not shown.
        return Samples(values[:, :, : 4 if alpha else 3], alpha, bits)
    if photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        if photometric == _WHITE_IS_ZERO:
            values = np.concatenate([_inverted(values[:, :, :1], bits, where), values[:, :, 1:]], axis=2)
        if n_colours == 1 and extras == (_PREMULTIPLIED,):
            values = values[:, :, :1]
        return Samples(values, n_colours == 1 and extras == (_STRAIGHT,), bits)
    if photometric == _PALETTE and page.colormap is not None and values.shape[2] == 1:
        colours = np.moveaxis(page.colormap, 0, -1) * np.uint16(257 if _has_bytes_for_colours(page) else 1)
        return Samples(colours[values[:, :, 0]], False, 16)
    if photometric == _CMYK and values.shape[2] >= 4 and _first(page, _INK_SET, 1) != _OTHER_INKS:
        inks = np.ascontiguousarray(to_uint8(values[:, :, :4], where, bits=bits))
        return Samples(np.array(Image.fromarray(inks, mode="CMYK").convert("RGB")), False, 8)
    if photometric == _YCBCR and layout.codec in _JPEG and values.shape[2] == 3:
        return Samples(values, False, bits)  # tifffile has made it RGB
    what = _NAMES.get(photometric) or str(getattr(page.photometric, "name", photometric))
    raise ImageError(
        f"{where}: a TIFF of {what} with {bits} bits a sample, which is not read. Convert it to grey or RGB."
    )


def _inverted(values: NDArray[Any], bits: int, where: str) -> NDArray[Any]:
    if values.dtype.kind == "u":
        inverted: NDArray[Any] = values.dtype.type((1 << bits) - 1) - values
        return inverted
    if values.dtype.kind == "b":
        return ~values
    raise ImageError(
        f"{where}: a TIFF of {values.dtype} whose white is zero, which leaves its black open. Store it "
        "with black at "
        "zero."
    )
