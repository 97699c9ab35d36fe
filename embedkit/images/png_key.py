"""PNG's one transparent colour, which Pillow compares with samples of another depth."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.images.quiet import no_warnings

_DEPTH = 24  # where the bits of a sample stand: the header is the first chunk of any PNG


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
    values = np.asarray(image.convert("L") if image.mode == "1" else image)
    depth = data[_DEPTH]
    if image.mode != "1":  # whose colour Pillow has stretched
        # The bits that a sample doesn't have are not compared, as in libpng.
        most = 2**depth - 1
        key = (np.array(key) & most) * (255 // most if depth < 8 else 1)
    samples: NDArray[np.integer[Any]] = values
    if depth == 16 and image.mode == "RGB":
        samples = values.astype(np.uint16) << 8 | _low_bytes(data)
    clear = samples == key
    if image.mode == "RGB":
        clear = clear.all(axis=2, keepdims=True)
    return Image.fromarray(np.where(clear, 0, values).astype(values.dtype))


def _low_bytes(data: bytes) -> NDArray[np.uint8]:
    """Return what Pillow leaves out (h, w, 3): samples read in the other byte order have it on top."""
    with no_warnings():
        image = Image.open(io.BytesIO(data), formats=("PNG",))
        image.tile = [tile._replace(args="RGB;16L") for tile in image.tile]
        image.load()
    return np.asarray(image)
