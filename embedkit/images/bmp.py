"""BMP of grey palettes: Pillow drops such a palette, and with it how many bits an index has.

Of two colours it makes one bit a pixel, of more eight, whatever the header says: an 8-bit mask of black and
white comes out as noise.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_FILE_HEADER = 14
_OLD = 12  # bytes of OS/2's header, whose colours have three bytes
_ALMOST_BLACK = (0, 0, 1)


def with_its_depth(data: bytes) -> bytes | None:
    """Return the file with a first colour that is not quite black, where Pillow would read another depth.

    Such a palette it keeps. None of other files; `blackened` takes the colour back.
    """
    try:
        if data[:2] != b"BM":
            return None
        (size,) = struct.unpack_from("<I", data, _FILE_HEADER)
        (bits,) = struct.unpack_from("<H", data, 24 if size == _OLD else 28)
        used = 0 if size == _OLD else struct.unpack_from("<I", data, 46)[0]
    except struct.error:
        return None
    n, each = used or 1 << min(bits, 8), 3 if size == _OLD else 4
    start = _FILE_HEADER + size
    colours = np.frombuffer(data[start : start + n * each], np.uint8)
    if bits not in (1, 4, 8) or not 1 < n <= 256 or len(colours) < n * each:
        return None
    greys = np.array((0, 255)) if n == 2 else np.arange(n)
    if bits == (1 if n == 2 else 8) or (colours.reshape(n, each)[:, :3] != greys[:, None]).any():
        return None
    return data[:start] + b"\1" + data[start + 1 :]  # blue comes first


def blackened(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw black what `with_its_depth` has made almost black, in (h, w, 3)."""
    pixels[(pixels == np.array(_ALMOST_BLACK)).all(axis=2)] = 0
    return pixels
