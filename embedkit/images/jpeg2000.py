"""JPEG 2000 of other than 8 bits a sample, which Pillow cuts to 8 or shifts, and wraps around at white.

A white of 65,535 in three channels becomes 256 there, which a byte holds as 0. Signed samples it moves up by
half their range, and those of fewer than 8 bits it leaves short of white.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import ImageError
from embedkit.images.values import MANY, MAX_PIXELS, check_size

_STREAM = b"\xff\x4f\xff\x51"
_BOXED = b"\0\0\0\x0cjP  \r\n\x87\n"
_SRGB, _GREY = 16, 17


@dataclass(frozen=True)
class Header:
    """What the start of a JPEG 2000 declares.

    Parameters
    ----------
    width, height
        Of the image, in pixels.
    bits
        Of each component.
    signed
        Whether one of them is.
    plain
        Whether its components are greys or red, green and blue, and not indices, inks or YCC.
    """

    width: int
    height: int
    bits: tuple[int, ...]
    signed: bool
    plain: bool

    def for_pillow(self, *, as_stored: bool) -> bool:
        """Whether Pillow decodes it right: 8 bits, or of one component its 9 to 16 bits stretched to 16."""
        if self.signed:
            return False
        return set(self.bits) == {8} or (not as_stored and len(self.bits) == 1 and 8 < self.bits[0] <= 16)


def header_of(data: bytes) -> Header | None:
    """Return what a JPEG 2000 declares; None of other bytes, and where Pillow is to say what is wrong."""
    if not data.startswith((_STREAM, _BOXED)):
        return None
    try:
        plain = True if data.startswith(_STREAM) else _is_plain(data)
        at = data.index(_STREAM) + len(_STREAM)
        _, _, right, below, left, above = struct.unpack_from(">HHIIII", data, at)
        (n,) = struct.unpack_from(">H", data, at + 36)
        depths = [data[at + 38 + 3 * i] for i in range(n)]
    except (ValueError, IndexError, struct.error):
        return None
    if not depths:
        return None
    bits = tuple((depth & 0x7F) + 1 for depth in depths)
    return Header(right - left, below - above, bits, any(depth & 0x80 for depth in depths), plain)


def _is_plain(data: bytes) -> bool:
    """Look whether colours are indices, inks or YCC, by the boxes ``pclr`` and ``colr`` (T.800, I.5.3)."""
    if b"pclr" in data[: data.index(_STREAM)]:
        return False
    at = data.find(b"colr")
    if at < 0 or data[at + 4] != 1:  # by a profile
        return True
    return struct.unpack_from(">I", data, at + 7)[0] in (_SRGB, _GREY)


def read_jpeg2000(data: bytes, header: Header, where: str) -> NDArray[Any]:
    """Read samples in the file's own type.

    Returns
    -------
    values : (h, w, c)

    Raises
    ------
    ImageError
        Too large, of colours that are not grey or RGB, or imagecodecs is not there.
    """
    check_size(header.width, header.height, where)
    bits = max(header.bits)
    if len(header.bits) > MANY or len(header.bits) * header.width * header.height > 4 * MAX_PIXELS:
        raise ImageError(f"{where}: {len(header.bits):,} components, too many for one image. Store fewer.")
    if not header.plain or len(set(header.bits)) > 1:
        raise ImageError(
            f"{where}: a JPEG 2000 of {bits} bits a sample in other colours than grey or RGB, or of several "
            "depths, which is not read. Convert it."
        )
    try:
        import imagecodecs
    except ImportError as error:
        kind = "signed " if header.signed else ""
        raise ImageError(
            f"{where}: a JPEG 2000 of {kind}{bits} bits a sample, which needs another package. Install "
            "embedkit-images[tiff], or store it with 8 bits."
        ) from error
    values: NDArray[Any] = np.asarray(imagecodecs.jpeg2k_decode(data))
    return values[:, :, None] if values.ndim == 2 else values
