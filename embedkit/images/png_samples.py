"""What Pillow leaves of a PNG: the low bytes of 16-bit colours, and one colour that is transparent."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.images.quiet import no_warnings

DEPTH, _KIND = 24, 25  # where the bits of a sample and the kind of colour stand: the header is always first
_GREY_WITH_OPACITY = 4


def deep_colours(image: Image.Image, data: bytes) -> NDArray[np.uint16] | None:
    """Return the samples (h, w, 3) or (h, w, 4) of a loaded PNG of 16-bit colours; None of another image.

    Its one transparent colour is black.
    """
    if image.format != "PNG" or image.mode not in ("RGB", "RGBA") or data[DEPTH] != 16:
        return None
    if data[_KIND] == _GREY_WITH_OPACITY:  # which Pillow makes RGBA, and reads in one byte order only
        return None
    # Pillow keeps the high byte. Samples read in the other byte order have the low one there.
    with no_warnings():
        other = Image.open(io.BytesIO(data), formats=("PNG",))
        other.tile = [tile._replace(args=f"{image.mode};16L") for tile in other.tile]
        other.load()
    samples: NDArray[np.uint16] = np.asarray(image).astype(np.uint16) << 8 | np.asarray(other)
    key = image.info.get("transparency")
    if image.mode == "RGB" and key is not None:
        samples[(samples == np.array(key)).all(axis=2)] = 0
    return samples


def over_black_by_key(image: Image.Image, data: bytes) -> Image.Image:
    """Draw a loaded PNG's one transparent colour black; other images are returned as they are.

    Pillow gives the colour as it stands in the file. Samples of two and four bits it has stretched to a byte,
    and of colours of 16 bits it has kept the high byte, in which others look the same [1]_.

    References
    ----------
    .. [1] Portable Network Graphics (PNG) Specification, W3C 2003, 11.3.2.1 tRNS: all 16 bits count.
    """
    key = image.info.get("transparency")
    if image.format != "PNG" or image.mode not in ("1", "L", "I;16", "RGB") or key is None:
        return image
    deep = deep_colours(image, data)
    if deep is not None:
        return Image.fromarray((deep >> 8).astype(np.uint8))
    values = np.asarray(image.convert("L") if image.mode == "1" else image)
    depth = data[DEPTH]
    if image.mode != "1":  # whose colour Pillow has stretched
        # The bits that a sample doesn't have are not compared, as in libpng.
        most = 2**depth - 1
        key = (np.array(key) & most) * (255 // most if depth < 8 else 1)
    clear = values == key
    if image.mode == "RGB":
        clear = clear.all(axis=2, keepdims=True)
    return Image.fromarray(np.where(clear, 0, values).astype(values.dtype))
