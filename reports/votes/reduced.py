"""Images with fewer pixels, beside the images themselves, and what both take."""

from __future__ import annotations

import base64
import io
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.datasets.dataset import Dataset, spread_rows
from embedkit.errors import EmbedkitError
from embedkit.images.decode import THUMBNAIL_TYPE, decode, thumbnail

N_SHOWN = 4
SHOWN = 224  # pixels, of the original in the page


@dataclass(frozen=True)
class Pair:
    """One image before and after.

    Parameters
    ----------
    name
        Its id.
    before, after
        Base64 of an image of `THUMBNAIL_TYPE`; the original is shrunk for the page where it is large.
    shape, small : (height, width)
        In pixels.
    n_encoded
        Bytes of the file; 0 of an array.
    """

    name: str
    before: str
    after: str
    shape: tuple[int, int]
    small: tuple[int, int]
    n_encoded: int


@dataclass(frozen=True)
class Reduced:
    """Some images before and after.

    Parameters
    ----------
    pairs
        Spread evenly over the dataset.
    bytes_before, bytes_after
        Of one image in memory as 8-bit colour, mean over these.
    seconds
        To read and decode one, mean over these on this machine.
    notes
        What can't be read, and why.
    """

    pairs: tuple[Pair, ...]
    bytes_before: float
    bytes_after: float
    seconds: float
    notes: tuple[str, ...] = ()


def reduce(pixels: NDArray[np.uint8], times: float) -> NDArray[np.uint8]:
    """Shrink (h, w, 3) to so many times fewer pixels, each the mean of those that it stands for."""
    height, width = pixels.shape[:2]
    size = (max(1, round(width / times**0.5)), max(1, round(height / times**0.5)))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def reduced(dataset: Dataset, times: float) -> Reduced:
    """Read some images of a dataset, and shrink them."""
    pairs, notes, seconds = [], [], 0.0
    for row in spread_rows(len(dataset), N_SHOWN):
        start = time.perf_counter()
        try:
            source = dataset.read(int(row))
            pixels = decode(source, dataset.where(int(row)))
        except (EmbedkitError, OSError) as error:
            notes.append(str(error))
            continue
        seconds += time.perf_counter() - start
        small = reduce(pixels, times)
        buffer = io.BytesIO()
        Image.fromarray(small).save(buffer, THUMBNAIL_TYPE.rpartition("/")[2].upper(), lossless=True)
        pairs.append(
            Pair(
                str(dataset.rows.ids[row]),
                base64.b64encode(thumbnail(pixels, SHOWN)).decode(),
                base64.b64encode(buffer.getvalue()).decode(),
                (pixels.shape[0], pixels.shape[1]),
                (small.shape[0], small.shape[1]),
                len(source) if isinstance(source, bytes) else 0,
            )
        )
    n = max(len(pairs), 1)
    before = sum(3 * one.shape[0] * one.shape[1] for one in pairs) / n
    after = sum(3 * one.small[0] * one.small[1] for one in pairs) / n
    return Reduced(tuple(pairs), before, after, seconds / n, tuple(notes))
