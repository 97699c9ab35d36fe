"""Where names of categories stand on a map: where each lies most densely, and never over one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

# Cells along each side of the map, in which its points are counted.
CELLS = 32
# Directions that a name is moved in, straight up and down first, and how often farther.
_DIRECTIONS = (90, 270, 45, 135, 225, 315, 0, 180)
_RINGS = 4
GAP = 2.0


@dataclass(frozen=True)
class Anchor:
    """Where a category lies most densely, and how many points it has."""

    code: int
    x: float
    y: float
    n: int


@dataclass(frozen=True)
class Box:
    """A rectangle by its lower left corner."""

    left: float
    low: float
    wide: float
    high: float

    def meets(self, other: Box, gap: float = GAP) -> bool:
        """Whether two of them are nearer than `gap`."""
        return (
            self.left < other.left + other.wide + gap
            and other.left < self.left + self.wide + gap
            and self.low < other.low + other.high + gap
            and other.low < self.low + self.high + gap
        )


def anchors(xy: NDArray[np.floating], codes: NDArray[np.int64]) -> list[Anchor]:
    """Find the densest place of each category, the largest first.

    Parameters
    ----------
    xy : (n, 2) float
        Places on the map.
    codes : (n,) int64
        Category of each; -1 for none.
    """
    if not len(xy):
        return []
    low = xy.min(axis=0).astype(np.float64)
    extent = float((xy.max(axis=0) - low).max()) or 1.0
    column, row = np.minimum(np.floor((xy - low) / extent * CELLS), CELLS - 1).astype(np.int64).T
    found = []
    for code in np.unique(codes[codes >= 0]):
        mine = np.flatnonzero(codes == code)
        counts = np.zeros((CELLS + 2, CELLS + 2), np.int64)
        np.add.at(counts, (row[mine] + 1, column[mine] + 1), 1)
        # With the eight around it, so that a scattered category is not named at any pair of its points.
        around = sliding_window_view(counts, (3, 3)).sum(axis=(2, 3))
        best_row, best_column = np.unravel_index(around.argmax(), around.shape)
        near = (abs(row[mine] - best_row) <= 1) & (abs(column[mine] - best_column) <= 1)
        x, y = xy[mine[near]].mean(axis=0, dtype=np.float64)
        found.append(Anchor(int(code), float(x), float(y), len(mine)))
    return sorted(found, key=lambda one: (-one.n, one.code))


def place(
    points: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], area: tuple[float, float]
) -> list[Box | None]:
    """Place a box near each point, inside the area and over no other; None where there is no room.

    Parameters
    ----------
    points
        What each stands for, the most important first.
    sizes
        Width and height of each.
    area
        Width and height; its lower left corner is the origin.
    """
    found: list[Box | None] = []
    taken: list[Box] = []
    for point, size in zip(points, sizes, strict=True):
        box = next(
            (one for one in _around(point, size, area) if not any(one.meets(other) for other in taken)), None
        )
        found.append(box)
        if box is not None:
            taken.append(box)
    return found


def _around(point: tuple[float, float], size: tuple[float, float], area: tuple[float, float]) -> list[Box]:
    (x, y), (wide, high), (width, height) = point, size, area
    if wide > width or high > height:
        return []
    boxes = []
    for ring in range(1, _RINGS + 1):
        for degrees in _DIRECTIONS:
            across, up = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            # Beside a point a box has to move by half its width before it uncovers it.
            left = x - wide / 2 + across * (wide / 2 + high * ring)
            low = y - high / 2 + up * high * 1.1 * ring
            boxes.append(
                Box(min(max(left, 0.0), width - wide), min(max(low, 0.0), height - high), wide, high)
            )
    return boxes
