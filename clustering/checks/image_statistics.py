"""Four things about a picture that are not its class: brightness, background, size and orientation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.images.light import light_of

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class ImageStatistics:
    """Simple statistics of n images; NaN where an image shows no light above its background.

    Parameters
    ----------
    brightness : (n,) float64
        Mean of the pixels, 0 to 1.
    background : (n,) float64
        Median of the border, 0 to 1.
    size : (n,) float64
        Root of the second moment of the light above the background, as a fraction of the shorter side.
    orientation : (n, 2) float64
        ``e cos 2a`` and ``e sin 2a`` for the angle ``a`` of the longer axis, counted from the x axis (right)
        towards the y axis (down), and the ellipticity ``e`` from 0 (round) to 1 (a line). An angle and its
        opposite are one orientation, hence twice the angle; a round object has none, hence the weight.
    """

    brightness: F64
    background: F64
    size: F64
    orientation: F64

    def __post_init__(self) -> None:
        n = len(self.brightness)
        for name in ("background", "size", "orientation"):
            values = getattr(self, name)
            expected = (n, 2) if name == "orientation" else (n,)
            if values.shape != expected:
                raise DataError(f"{name} of shape {values.shape}, expected {expected}.")

    def __len__(self) -> int:
        return len(self.brightness)

    @property
    def columns(self) -> dict[str, F64]:
        """Every statistic by name as (n, 1), or (n, 2) for the orientation."""
        scalars = {name: getattr(self, name)[:, np.newaxis] for name in ("brightness", "background", "size")}
        return scalars | {"orientation": self.orientation}

    def take(self, rows: NDArray[np.int64]) -> ImageStatistics:
        """Return the statistics of some rows."""
        return ImageStatistics(
            self.brightness[rows], self.background[rows], self.size[rows], self.orientation[rows]
        )


def image_statistics(images: Iterable[NDArray[np.uint8]]) -> ImageStatistics:
    """Measure images one at a time.

    Moments are taken inside the largest circle around the middle, because the corners of a square have a
    direction of their own.

    Parameters
    ----------
    images
        Pixels (h, w, 3) uint8, as `embedkit.images.decode.decode` gives them; sizes may differ.

    Raises
    ------
    DataError
        An array that is no image.
    """
    values = [_measure(pixels) for pixels in images]
    table = np.array(values, dtype=np.float64).reshape(len(values), 5)
    return ImageStatistics(table[:, 0], table[:, 1], table[:, 2], table[:, 3:])


def _measure(pixels: NDArray[np.uint8]) -> tuple[float, float, float, float, float]:
    if pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape[:2]) < 3:
        raise DataError(f"pixels of shape {pixels.shape}, expected (h, w, 3) of at least 3 by 3.")
    grey = pixels.mean(axis=2, dtype=np.float64) / 255
    found = light_of(grey[None])
    c, s = found.orientation[0]
    return float(grey.mean()), float(found.background[0]), float(found.size[0]), float(c), float(s)
