"""Four things about a picture that are not its class: brightness, background, size and orientation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError

F64 = NDArray[np.float64]
# Light counts from so many standard deviations of the border above the background: with less, the noise of
# the whole frame adds up and every object is as large as the frame.
THRESHOLD = 3.0
BORDER = 0.05
GAUSSIAN_MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


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
    height, width = grey.shape
    side = min(height, width)
    y, x = np.mgrid[:height, :width]
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    ring = max(1, round(BORDER * side))
    border = np.concatenate(
        [grey[:ring].ravel(), grey[-ring:].ravel(), grey[:, :ring].ravel(), grey[:, -ring:].ravel()]
    )
    background = float(np.median(border))
    noise = GAUSSIAN_MAD * float(np.median(np.abs(border - background)))
    light = np.where(grey > background + max(THRESHOLD * noise, 1 / 255), grey - background, 0.0)
    light[np.hypot(x, y) > side / 2] = 0
    total = float(light.sum())
    brightness = float(grey.mean())
    if total <= 0:
        return brightness, background, np.nan, np.nan, np.nan
    x, y = x - (light * x).sum() / total, y - (light * y).sum() / total
    xx, yy, xy = ((light * product).sum() / total for product in (x * x, y * y, x * y))
    trace = float(xx + yy)
    if trace <= 0:
        return brightness, background, 0.0, 0.0, 0.0
    return (
        brightness,
        background,
        float(np.sqrt(trace)) / side,
        float((xx - yy) / trace),
        float(2 * xy / trace),
    )
