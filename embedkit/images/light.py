"""How the light of a picture lies above its background: how wide it is, how long, and which way it points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
# Light counts from so many standard deviations of the border above the background: with less, the noise of
# the whole frame adds up and every object is as large as the frame.
THRESHOLD = 3.0
BORDER = 0.05
GAUSSIAN_MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


@dataclass(frozen=True)
class Light:
    """Second moments of the light of b pictures; NaN where none shows light above its background.

    Parameters
    ----------
    background : (b,)
        Median of the border.
    size : (b,)
        Root of the second moment, as a fraction of the shorter side.
    orientation : (b, 2)
        ``e cos 2a`` and ``e sin 2a`` for the angle ``a`` of the longer axis, counted from the x axis (right)
        towards the y axis (down), and the ellipticity ``e`` from 0 (round) to 1 (a line). An angle and its
        opposite are one orientation, hence twice the angle; a round object has none, hence the weight.
    """

    background: Floats
    size: Floats
    orientation: Floats

    @property
    def axis_ratio(self) -> Floats:
        """The shorter axis over the longer one (b,): 1 is round, 0 a line.

        The moments along the axes of an ellipse are as their squares, so ``e`` is (1 - q^2) / (1 + q^2).
        """
        e = np.minimum(np.hypot(*self.orientation.T), 1)
        return np.asarray(np.sqrt((1 - e) / (1 + e)))

    @property
    def angle(self) -> Floats:
        """Of the longer axis (b,), in degrees from the horizontal, anticlockwise as one sees it, 0 to 180."""
        c, s = self.orientation.T
        return np.asarray(-np.rad2deg(np.arctan2(s, c)) / 2 % 180)


def light_of(grey: Floats) -> Light:
    """Measure pictures (b, h, w) of one size with values from 0 to 1.

    Moments are taken inside the largest circle around the middle, because the corners of a square have a
    direction of their own.
    """
    _, height, width = grey.shape
    side, kind = min(height, width), grey.dtype
    y = np.arange(height, dtype=kind) - kind.type((height - 1) / 2)
    x = np.arange(width, dtype=kind) - kind.type((width - 1) / 2)
    ring = max(1, round(BORDER * side))
    edges = (grey[:, :ring], grey[:, -ring:], grey[:, :, :ring], grey[:, :, -ring:])
    border = np.concatenate([edge.reshape(len(grey), -1) for edge in edges], axis=1)
    background = np.median(border, axis=1)
    noise = GAUSSIAN_MAD * np.median(np.abs(border - background[:, None]), axis=1)
    light = grey - background[:, None, None]
    # A grey level above the background is none yet, however the difference of two is rounded.
    least = 1.001 * np.maximum(THRESHOLD * noise, 1 / 255).astype(kind)
    light *= (light > least[:, None, None]) & (np.hypot(x, y[:, None]) <= side / 2)
    across, down = light.sum(axis=1), light.sum(axis=2)  # (b, w), (b, h)
    total = across.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mx, my = across @ x / total, down @ y / total
        xx, yy = across @ (x * x) / total - mx * mx, down @ (y * y) / total - my * my
        xy = (light @ x) @ y / total - mx * my
        trace = xx + yy
        # A single pixel has no width, but for rounding; one in 255 beside it makes 4e-3.
        point = trace <= 1e-3
        e = np.where(point, 0, np.array([xx - yy, 2 * xy]) / trace).T
    size = np.where(point, 0, np.sqrt(np.maximum(trace, 0))) / side
    dark = ~(total > 0)
    size[dark], e[dark] = np.nan, np.nan
    return Light(background, size, e)
