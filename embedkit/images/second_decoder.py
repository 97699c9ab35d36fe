"""The same image by imagecodecs, where that is installed: a fault of Pillow's shows in nothing else."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.images.jpeg2000 import header_of
from embedkit.images.quiet import no_warnings
from embedkit.images.tiff import TURNS
from embedkit.images.values import over_black

NAME = "imagecodecs"
_ORIENTATION = 274
# Not BMP: damaged ones end the process there.
_DECODERS = {"JPEG": "jpeg8", "PNG": "png", "WEBP": "webp", "JPEG2000": "jpeg2k"}


def decoded_again(data: bytes) -> NDArray[np.uint8] | None:
    """Decode an image file otherwise than `embedkit.images.decode.decode` does.

    Returns
    -------
    pixels : (h, w, 3) uint8
        None where imagecodecs is missing, or does not know the format or this kind of it.
    """
    try:
        import imagecodecs

        with no_warnings():
            image = Image.open(io.BytesIO(data), formats=tuple(_DECODERS))
            turn = image.getexif().get(_ORIENTATION, 1) if image.format in ("JPEG", "PNG", "WEBP") else 1
        header = header_of(data)
        if header is not None and (set(header.bits) != {8} or header.signed or not header.plain):
            return None
        values = getattr(imagecodecs, f"{_DECODERS[image.format or '']}_decode")(data)
        return _pixels(TURNS.get(turn, TURNS[1])(np.asarray(values)), image.format == "JPEG")
    except Exception:  # of any type, from any of its codecs: then there is no second opinion
        return None


def _pixels(values: NDArray[Any], is_jpeg: bool) -> NDArray[np.uint8] | None:
    if values.dtype == np.uint16:
        values = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if values.dtype != np.uint8 or values.ndim not in (2, 3):
        return None
    values = values[:, :, None] if values.ndim == 2 else values
    n = values.shape[2]
    if n in (2, 4) and not is_jpeg:  # whose fourth is ink
        return over_black(values[:, :, [0, 0, 0, 1]] if n == 2 else values)
    if n not in (1, 3):
        return None
    return np.repeat(values, 3, axis=2) if n == 1 else values
