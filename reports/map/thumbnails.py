"""Small pictures of the images behind a feature file, read from the dataset again."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from embedkit.console import progress
from embedkit.datasets.dataset import Dataset
from embedkit.errors import EmbedkitError
from embedkit.images.decode import THUMBNAIL_TYPE, decode_small, thumbnail

T = TypeVar("T")


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
    """Shrink the images of some rows, each to a file of its own.

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
    brightness = np.full(len(ids), np.nan, np.float32)
    pictures: dict[int, str] = {}
    reading = Reading(dataset, ids, rows, size, center_crop)
    for row, (picture, mean) in reading.each(
        lambda pixels: (base64.b64encode(thumbnail(pixels, size)).decode(), float(pixels.mean()))
    ):
        pictures[row], brightness[row] = picture, mean
    return Thumbnails(size, pictures, brightness, tuple(reading.notes))


class Reading:
    """The images of some rows, decoded by a few threads and given in the order of the rows.

    Parameters
    ----------
    dataset, ids, rows, size, center_crop
        As in `read_thumbnails`.
    """

    def __init__(
        self,
        dataset: Dataset,
        ids: Sequence[str],
        rows: Sequence[int],
        size: int,
        center_crop: int | None = None,
    ):
        place = {str(name): number for number, name in enumerate(dataset.rows.ids)}
        self.dataset, self.size, self.center_crop, self.n_asked = dataset, size, center_crop, len(rows)
        self.wanted = [(row, place[ids[row]]) for row in rows if ids[row] in place]
        self.notes: list[str] = []
        if rows and not self.wanted:
            raise EmbedkitError(
                f"{dataset.name}: none of its ids, such as {str(dataset.rows.ids[0])!r}, is in the feature "
                f"file, which has {ids[rows[0]]!r}."
                if len(dataset)
                else f"{dataset.name}: it holds no images."
            )

    def each(self, make: Callable[[NDArray[np.uint8]], T]) -> Iterator[tuple[int, T]]:
        """Yield each row that can be read with what `make` makes of its pixels, (h, w, 3) uint8.

        A JPEG is decoded no finer than a picture of `size` takes. When all are through, `notes` say what is
        missing, and why.
        """
        problems: list[str] = []

        def one(number: int) -> tuple[T] | str:
            try:
                source, where = self.dataset.read(number), self.dataset.where(number)
                pixels = decode_small(source, where, side=self.size, center_crop=self.center_crop)
                return (make(pixels),)
            except (EmbedkitError, OSError) as error:
                return str(error)

        # Pillow decodes without the interpreter's lock; a few threads keep a slow disk busy as well.
        workers = min(8, (os.cpu_count() or 1) + 1)
        with (
            ThreadPoolExecutor(workers) as pool,
            progress("Reading images", len(self.wanted), unit="images") as advance,
        ):
            for start in range(0, len(self.wanted), 256):
                block = self.wanted[start : start + 256]
                numbers = [number for _, number in block]
                for (row, _), found in zip(block, pool.map(one, numbers), strict=True):
                    if isinstance(found, str):
                        problems.append(found)
                    else:
                        yield row, found[0]
                    advance()
        n_gone = self.n_asked - len(self.wanted)
        if n_gone:
            self.notes.append(f"{n_gone} of {self.n_asked} images are not in {self.dataset.name} any more.")
        if problems:
            self.notes.append(f"{len(problems)} images can't be read, the first: {problems[0]}")


def choose_rows(n: int, limit: int, first: Sequence[int], *, seed: int) -> list[int]:
    """Choose at most `limit` of n rows: those in `first`, then others at random; in increasing order."""
    if n <= limit:
        return list(range(n))
    chosen = list(dict.fromkeys(first))[:limit]
    others = np.setdiff1d(np.arange(n), chosen)
    random = np.random.default_rng(seed).choice(others, limit - len(chosen), replace=False)
    return sorted([*chosen, *(int(row) for row in random)])
