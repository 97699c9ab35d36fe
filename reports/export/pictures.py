"""Pictures of a report's images as files of their own, and as one square of them."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.images.decode import shrunk
from reports.map.sheets import Sheets, cut

QUALITY = 90
# What TensorBoard's projector takes: a larger picture it refuses.
MOST_SIDE = 8192
# JPEG codes blocks of so many pixels by themselves: a picture in whole ones doesn't run into the next.
_BLOCK = 8
_BACKGROUND = 255  # a point is multiplied with its picture's colour


def files(sheets: Sheets) -> dict[int, bytes]:
    """Return the picture of each row that has one, as a JPEG."""
    return {row: _jpeg(pixels) for row, pixels in cut(sheets)}


def sprite(sheets: Sheets) -> tuple[bytes, int]:
    """Return all n rows' pictures in one square, row by row, and the side of each.

    The square has as many places a side as hold all rows, whether or not these have a picture.
    """
    n = len(sheets.place)
    across = places_across(n)
    side = cell_side(n, sheets.size)
    square = np.full((across * side, across * side, 3), _BACKGROUND, np.uint8)
    for row, pixels in cut(sheets):
        small = np.asarray(shrunk(pixels, side, gap=1.0)) if max(pixels.shape[:2]) > side else pixels
        height, width = small.shape[:2]
        top = row // across * side + (side - height) // 2
        left = row % across * side + (side - width) // 2
        square[top : top + height, left : left + width] = small
    return _jpeg(square), side


def places_across(n: int) -> int:
    """Return how many places a side has in a square that holds n."""
    return max(1, int(np.ceil(np.sqrt(n))))


def cell_side(n: int, size: int) -> int:
    """Return the side of a place, in whole blocks: `size` at most, or what `MOST_SIDE` leaves; 0 for none."""
    most = min(MOST_SIDE // places_across(n), -(-size // _BLOCK) * _BLOCK)
    return most // _BLOCK * _BLOCK


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=QUALITY, subsampling=0)
    return stream.getvalue()
