"""Small pictures of the images behind a feature file, read from the dataset again."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embedkit.console import progress
from embedkit.datasets.dataset import Dataset
from embedkit.errors import EmbedkitError
from embedkit.images.decode import THUMBNAIL_TYPE, crop, decode, thumbnail


@dataclass(frozen=True)
class Thumbnails:
    """Pictures by row.

    Parameters
    ----------
    size
        The longer side, in pixels.
    pictures
        Row to the base64 of an image of type `media_type`.
    brightness : (n,) float32
        Mean of each picture's pixels, 0 to 255; NaN where there is none.
    notes
        What is missing, and why.
    """

    size: int
    pictures: Mapping[int, str]
    brightness: NDArray[np.float32]
    notes: tuple[str, ...] = ()
    media_type: str = field(default=THUMBNAIL_TYPE)


def read_thumbnails(
    dataset: Dataset, ids: Sequence[str], rows: Sequence[int], *, size: int, center_crop: int | None = None
) -> Thumbnails:
    """Shrink the images of some rows.

    Parameters
    ----------
    dataset
        Where the images are; its rows are found by id.
    ids
        Of all n rows of the feature file.
    rows
        Rows to read.
    size
        The longer side of a picture, in pixels.
    center_crop
        Show only the central square of that many pixels, which is what the backbone saw.

    Raises
    ------
    EmbedkitError
        None of the ids is in the dataset.
    """
    place = {str(name): number for number, name in enumerate(dataset.rows.ids)}
    wanted = [(row, place[ids[row]]) for row in rows if ids[row] in place]
    if rows and not wanted:
        raise EmbedkitError(
            f"{dataset.name}: none of its ids, such as {str(dataset.rows.ids[0])!r}, is in the feature file, "
            f"which has {ids[rows[0]]!r}."
            if len(dataset)
            else f"{dataset.name}: it holds no images."
        )
    brightness = np.full(len(ids), np.nan, np.float32)
    pictures: dict[int, str] = {}
    problems: list[str] = []

    def shrink(number: int) -> tuple[str, float] | str:
        try:
            pixels = crop(decode(dataset.read(number), dataset.where(number)), center_crop)
        except (EmbedkitError, OSError) as error:
            return str(error)
        return base64.b64encode(thumbnail(pixels, size)).decode(), float(pixels.mean())

    # Pillow decodes without the interpreter's lock; a few threads keep a slow disk busy as well.
    workers = min(8, (os.cpu_count() or 1) + 1)
    with (
        ThreadPoolExecutor(workers) as pool,
        progress("Reading images", len(wanted), unit="images") as advance,
    ):
        for start in range(0, len(wanted), 256):
            block = wanted[start : start + 256]
            for (row, _), found in zip(block, pool.map(shrink, [number for _, number in block]), strict=True):
                if isinstance(found, str):
                    problems.append(found)
                else:
                    pictures[row], brightness[row] = found
                advance()
    notes = []
    if len(wanted) < len(rows):
        notes.append(f"{len(rows) - len(wanted)} of {len(rows)} images are not in {dataset.name} any more.")
    if problems:
        notes.append(f"{len(problems)} images can't be read, the first: {problems[0]}")
    return Thumbnails(size, pictures, brightness, tuple(notes))


def choose_rows(n: int, limit: int, first: Sequence[int], *, seed: int) -> list[int]:
    """Choose at most `limit` of n rows: those in `first`, then others at random; in increasing order."""
    if n <= limit:
        return list(range(n))
    chosen = list(dict.fromkeys(first))[:limit]
    others = np.setdiff1d(np.arange(n), chosen)
    random = np.random.default_rng(seed).choice(others, limit - len(chosen), replace=False)
    return sorted([*chosen, *(int(row) for row in random)])
