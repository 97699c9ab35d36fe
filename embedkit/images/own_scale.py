"""Numbers of more than 8 bits as a file has them, for a white that was said on that scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.errors import ImageError
from embedkit.images.png_samples import DEPTH, deep_colours


def highest(image: Image.Image, data: bytes) -> int:
    """Return the highest number that the header of a PNG or PPM declares; 255 of other images.

    The image must not be loaded yet.
    """
    if image.format == "PNG":
        return 65535 if data[DEPTH] == 16 else 255
    tiles = getattr(image, "tile", None)
    if image.format != "PPM" or not tiles:
        return 255
    args = tiles[0].args
    if isinstance(args, tuple) and isinstance(args[-1], int):
        return max(args[-1], 255)  # of fewer, Pillow makes bytes
    return 65535 if args == "I;16B" else 255


def on_own_scale(image: Image.Image, data: bytes, most: int, where: str) -> NDArray[np.uint16]:
    """Return the numbers of a loaded image (h, w), (h, w, 3) or (h, w, 4) from 0 to `most`.

    Raises
    ------
    ImageError
        Pillow has cut them to 8 bits.
    """
    if image.mode.startswith("I"):
        values: NDArray[Any] = np.asarray(image)
        if image.format == "PPM":  # stretched to 16 bits
            values = (values.astype(np.int64) * most + 32767) // 65535
        return values.astype(np.uint16)
    colours = deep_colours(image, data)
    if colours is None:
        raise ImageError(
            f"{where}: numbers up to {most:,}, of which 8 bits can be read, so that --white does not reach "
            "them. Store it as TIFF."
        )
    return colours
