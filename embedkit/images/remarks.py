"""What a look at a few images shows and pixels don't say: dark 16-bit data, pages, colour profiles."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.images.decode import FORMATS
from embedkit.images.jpeg2000 import header_of, read_jpeg2000
from embedkit.images.own_scale import highest, on_own_scale
from embedkit.images.profiles import other_profile
from embedkit.images.quiet import no_warnings
from embedkit.images.tiff import is_tiff, n_pages, read_tiff

# Data of a range and more below that of the type is the doing of a 10-, 12- or 14-bit sensor.
_DARK = 2**14

# Numbers of classes, or images that were divided by 255 before they became bytes.
_FAINT = 8

_PNG = b"\x89PNG"
_PPM = (b"P2", b"P3", b"P5", b"P6")
_WHITE = 65535


def remarks(sources: Iterable[bytes | NDArray[Any]]) -> list[str]:
    """Return what should be said of a dataset, of some of its images.

    Parameters
    ----------
    sources
        Images as a dataset's `read` gives them. What can't be read is passed over.

    Returns
    -------
    said
        Sentences without an end, for a message that begins with the dataset's name.
    """
    tops, pages, faint, profiles = [], 1, [], set()
    for source in sources:
        try:
            top, n = _top(source), n_pages(source) if isinstance(source, bytes) and is_tiff(source) else 1
        except Exception:  # it is said where the image is decoded
            continue
        pages = max(pages, n)
        faint.append(_top_of_bytes(source))
        if isinstance(source, bytes) and (profile := other_profile(source, FORMATS)):
            profiles.add(profile)
        if top is not None:
            tops.append(top)
    said = []
    if tops and 0 < max(tops) < _DARK:
        bits = max(tops).bit_length()
        said.append(
            f"values up to {max(tops):,} of 65,535 in the images looked at: it seems to be {bits}-bit data "
            "in 16 "
            f"bits, and stays dark. --white {2**bits - 1} mends that"
        )
    most = max((top for top in faint if top is not None), default=0)
    if None not in faint and 0 < most < _FAINT:
        said.append(
            f"values up to {most} of 255 in the images looked at, which is nearly black, as of masks or "
            f"images from 0 to 1 that were cut to whole numbers. --white {most} draws the highest white"
        )
    if pages > 1:
        said.append(
            f"TIFF of up to {pages:,} pages, of which the first that is no thumbnail is read; --channels "
            "0,1,2 takes pages of one channel for channels"
        )
    if profiles:
        named = " or ".join(map(repr, sorted(profiles)))
        said.append(
            f"images carry the colour profile {named}, which is not applied: "
            "their numbers are taken for sRGB, as in training. Convert them where colours count"
        )
    return said


def _top(source: bytes | NDArray[Any]) -> int | None:
    """Return the largest value of a 16-bit image; None of another."""
    if isinstance(source, np.ndarray):
        values, bits = source, 16
    elif is_tiff(source):
        samples = read_tiff(source, "")
        if samples is None:
            return None
        values, bits = samples.values, samples.bits
    elif source[:4] == _PNG or source[:2] in _PPM:
        with no_warnings():
            image = Image.open(io.BytesIO(source), formats=("PNG", "PPM"))
            most = highest(image, source)
            image.load()
        if most != _WHITE:
            return None
        values, bits = on_own_scale(image, source, most, ""), 16
        values = values[:, :, :3] if values.ndim == 3 else values
    elif (header := header_of(source)) is not None and set(header.bits) == {16}:
        values, bits = read_jpeg2000(source, header, ""), 16
    else:
        return None
    if values.dtype.kind != "u" or values.dtype.itemsize != 2 or bits != 16 or not values.size:
        return None
    return int(values.max())


def _top_of_bytes(source: bytes | NDArray[Any]) -> int | None:
    """Return the largest value of an image of 8 bits without a palette or opacity; None of another."""
    if isinstance(source, np.ndarray):
        return int(source.max()) if source.dtype == np.uint8 and source.size else None
    if source[:4] != _PNG:
        return None
    try:
        with no_warnings():
            image = Image.open(io.BytesIO(source), formats=("PNG",))
            return int(np.asarray(image).max()) if image.mode in ("L", "RGB") else None
    except Exception:  # it is said where the image is decoded
        return None
