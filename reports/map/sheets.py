"""Pictures of the map's points on a few large sheets, which a browser decodes one at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedkit.datasets.dataset import Dataset
from embedkit.images.decode import shrunk
from embedkit.images.light import light_of
from reports.map.columns import Column, Number
from reports.map.thumbnails import Reading

# 16 x 16 pictures of 64 pixels are 1,024 x 1,024: decoded in some milliseconds, 4 MB in memory.
COLUMNS = 16
# JPEG codes blocks of 16 pixels by themselves: a picture that fills whole blocks keeps to itself. WebP is
# half as large, but takes 20 times as long to write, nearly as long as decoding the images.
BLOCK = 16
MEDIA_TYPE = "image/jpeg"
# Fewer pixels have no shape; of what is rounder than that, no direction is told.
LEAST, ROUND = 8, 0.9
_BACKGROUND = 8  # nearly black, as the page's tiles


@dataclass(frozen=True)
class Sheets:
    """Pictures by row, in an order in which the first few are spread over the whole map.

    Parameters
    ----------
    size
        The longer side of a picture, in pixels.
    sheets
        Images of type `media_type`, of `COLUMNS` x `COLUMNS` pictures each.
    place : (n,) int32
        Number of each row's picture, counted through the sheets; -1 where there is none.
    width, height : (n,) uint16
        Of each picture.
    brightness : (n,) float32
        Mean of each image's pixels, 0 to 255; NaN where there is none.
    extent, axis_ratio, angle : (n,) float32
        Of the light above the background, as `embedkit.images.light` measures it in the pictures; NaN where
        there is none, and the angle of those that are round.
    notes
        What is missing, and why.
    """

    size: int
    sheets: tuple[bytes, ...]
    place: NDArray[np.int32]
    width: NDArray[np.uint16]
    height: NDArray[np.uint16]
    brightness: NDArray[np.float32]
    extent: NDArray[np.float32]
    axis_ratio: NDArray[np.float32]
    angle: NDArray[np.float32]
    notes: tuple[str, ...] = ()
    media_type: str = field(default=MEDIA_TYPE)

    @classmethod
    def none(cls, n: int, size: int) -> Self:
        """Return the sheets of n rows without pictures."""
        sides = np.zeros(n, np.uint16)
        unknown = np.full(n, np.nan, np.float32)
        return cls(size, (), np.full(n, -1, np.int32), sides, sides, unknown, unknown, unknown, unknown)

    @property
    def pitch(self) -> int:
        """Pixels from one picture to the next."""
        return pitch_of(self.size)

    def light_columns(self) -> list[Column]:
        """Return what is known of the light of any picture, as columns to colour by."""
        # Targets may well be called size or angle.
        every = (
            Number("light-size", "size of the light (share of the side)", "Images", self.extent),
            Number("light-axis-ratio", "axis ratio of the light (1 is round)", "Images", self.axis_ratio),
            Number("light-angle", "angle of the light's longer axis (°)", "Images", self.angle, period=180),
        )
        return [one for one in every if np.isfinite(one.values).any()]

    @property
    def n_pictures(self) -> int:
        """Rows with a picture."""
        return int((self.place >= 0).sum())


def together(first: Sheets, second: Sheets) -> Sheets:
    """Return the pictures of the rows of both, one size; those of the second stand before the others'."""
    if first.size != second.size:
        raise ValueError(f"pictures of {first.size} and of {second.size} pixels")
    later = np.where(first.place < 0, -1, first.place + len(second.sheets) * COLUMNS**2).astype(np.int32)
    return Sheets(
        first.size,
        (*second.sheets, *first.sheets),
        np.concatenate([later, second.place]),
        np.concatenate([first.width, second.width]),
        np.concatenate([first.height, second.height]),
        np.concatenate([first.brightness, second.brightness]),
        np.concatenate([first.extent, second.extent]),
        np.concatenate([first.axis_ratio, second.axis_ratio]),
        np.concatenate([first.angle, second.angle]),
        (*first.notes, *second.notes),
    )


def cut(sheets: Sheets) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield each row with a picture and its pixels (h, w, 3), in the order of the sheets."""
    opened, number = np.empty((0, 0, 3), np.uint8), -1
    for row in np.argsort(sheets.place, kind="stable"):
        if (slot := int(sheets.place[row])) < 0:
            continue
        sheet, at = divmod(slot, COLUMNS**2)
        if sheet != number:
            with Image.open(io.BytesIO(sheets.sheets[sheet])) as image:
                opened, number = np.asarray(image.convert("RGB")), sheet
        top, left = at // COLUMNS * sheets.pitch, at % COLUMNS * sheets.pitch
        yield int(row), opened[top : top + sheets.height[row], left : left + sheets.width[row]]


def pitch_of(size: int) -> int:
    """Return the pixels from one picture of a sheet to the next: whole blocks."""
    return -(-size // BLOCK) * BLOCK


def read_sheets(
    dataset: Dataset, ids: Sequence[str], rows: Sequence[int], *, size: int, center_crop: int | None = None
) -> Sheets:
    """Shrink the images of some rows onto sheets, in the order of `rows`.

    Parameters
    ----------
    dataset, ids, rows, size, center_crop
        As in `reports.map.thumbnails.read_thumbnails`.

    Raises
    ------
    EmbedkitError
        None of the ids is in the dataset.
    """
    n, pitch = len(ids), pitch_of(size)
    place = np.full(n, -1, np.int32)
    width, height = np.zeros((2, n), np.uint16)
    brightness = np.full(n, np.nan, np.float32)
    light = np.full((3, n), np.nan, np.float32)
    reading = Reading(dataset, ids, rows, size, center_crop)
    done: list[tuple[NDArray[np.int64], Future[tuple[bytes, NDArray[np.float32]]]]] = []  # rows of a sheet
    slots = np.full(COLUMNS**2, -1)  # whose pictures lie on the sheet

    def shrink(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
        # Of whole numbers, so that it is the mean to the last bit.
        mean = int(pixels.sum(dtype=np.uint32 if pixels.size < 2**24 else np.uint64)) / pixels.size
        return np.asarray(shrunk(pixels, size, gap=1.0)), mean

    sheet = _blank(pitch)
    # A full sheet is encoded while the next images are read.
    with ThreadPoolExecutor(1) as pool:
        for slot, (row, (picture, mean)) in enumerate(reading.each(shrink)):
            at = slot % COLUMNS**2
            if slot and at == 0:
                done.append((slots, pool.submit(_finished, sheet, height[slots], width[slots])))
                sheet, slots = _blank(pitch), np.full(COLUMNS**2, -1)
            height[row], width[row] = picture.shape[:2]
            top, left = at // COLUMNS * pitch, at % COLUMNS * pitch
            sheet[top : top + height[row], left : left + width[row]] = picture
            place[row], brightness[row], slots[at] = slot, mean, row
        if (place >= 0).any():
            done.append((slots, pool.submit(_finished, sheet, height[slots], width[slots])))
    sheets = []
    for slots, finished in done:
        encoded, measured = finished.result()
        sheets.append(encoded)
        there = slots >= 0
        light[:, slots[there]] = measured[:, there]
    extent, axis_ratio, angle = light
    return Sheets(
        size, tuple(sheets), place, width, height, brightness, extent, axis_ratio, angle, tuple(reading.notes)
    )


def _finished(
    sheet: NDArray[np.uint8], height: NDArray[np.uint16], width: NDArray[np.uint16]
) -> tuple[bytes, NDArray[np.float32]]:
    """Encode a sheet, and measure size, axis ratio and angle of the light (3, pictures) in its pictures."""
    return _encoded(sheet), _light(sheet, height, width)


def _light(
    sheet: NDArray[np.uint8], height: NDArray[np.uint16], width: NDArray[np.uint16]
) -> NDArray[np.float32]:
    pitch = len(sheet) // COLUMNS
    red, green, blue = np.moveaxis(sheet, 2, 0)  # added one by one: a sum over three takes 14 times as long
    grey = (red.astype(np.uint16) + green + blue).astype(np.float32) / np.float32(3 * 255)
    cells = grey.reshape(COLUMNS, pitch, COLUMNS, pitch).swapaxes(1, 2).reshape(-1, pitch, pitch)
    found = np.full((3, len(cells)), np.nan, np.float32)
    for h, w in {(int(h), int(w)) for h, w in zip(height, width, strict=True) if min(h, w) >= LEAST}:
        same = np.flatnonzero((height == h) & (width == w))
        seen = light_of((cells if len(same) == len(cells) else cells[same])[:, :h, :w])
        found[:, same] = seen.size, seen.axis_ratio, np.where(seen.axis_ratio < ROUND, seen.angle, np.nan)
    return found


def _encoded(sheet: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _blank(pitch: int) -> NDArray[np.uint8]:
    return np.full((COLUMNS * pitch, COLUMNS * pitch, 3), _BACKGROUND, np.uint8)


def thinning_order(xy: NDArray[np.floating]) -> NDArray[np.int64]:
    """Order points such that the first m, for every m, are spread over the whole map.

    Ever finer grids are laid over the map; each gives one point of every cell that has none yet, the one
    nearest to the cell's middle. So a page that draws the first of those that would overlap keeps the same
    pictures as it comes nearer, and from afar needs few sheets.

    Parameters
    ----------
    xy : (n, 2) float
        Places on the map.

    Returns
    -------
    (n,) int64
        Row numbers.
    """
    n = len(xy)
    low = xy.min(axis=0).astype(np.float64) if n else np.zeros(2)
    extent = float((xy.max(axis=0) - low).max()) if n else 0.0
    unit = (xy - low) / (extent or 1.0)
    left = np.arange(n)
    found: list[NDArray[np.int64]] = []
    cells = 4
    while len(left) and cells <= 2**14:
        taken = np.concatenate(found) if found else np.empty(0, np.int64)
        number = _cell(unit, cells)
        left = left[~np.isin(number[left], number[taken])]
        middle = (np.floor(unit[left] * cells) + 0.5) / cells
        off = ((unit[left] - middle) ** 2).sum(axis=1)
        nearest = left[np.lexsort((left, off, number[left]))]
        _, first = np.unique(number[nearest], return_index=True)
        found.append(nearest[first])
        left = np.setdiff1d(np.arange(n), np.concatenate(found))
        cells *= 2
    return np.concatenate([*found, left]) if n else left


def _cell(unit: NDArray[np.float64], cells: int) -> NDArray[np.int64]:
    """Number the cells so that those near to one another mostly have near numbers (Morton's order)."""
    column, row = np.minimum(np.floor(unit * cells), cells - 1).astype(np.int64).T
    number = np.zeros(len(unit), np.int64)
    for bit in range(int(cells).bit_length()):
        number |= ((column >> bit) & 1) << (2 * bit) | ((row >> bit) & 1) << (2 * bit + 1)
    return number
