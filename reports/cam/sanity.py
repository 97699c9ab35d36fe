"""Whether maps say something of the network: pixels removed, images turned, weights drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import Advance, progress
from embedkit.console.foretelling import Foretold
from embedkit.scoring.paired import Difference, paired_difference

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
# Images and classes to maps, and images to probabilities.
Mapping = Callable[[U8, I64], F32]
Telling = Callable[[U8], F64]

CELLS = 16  # squares a side that are removed as one
FEWER = "--n-sanity examines fewer."
STEPS = 10
OWN, UNTRAINED, CENTRE = "own", "untrained", "centre"
RANDOM, SCATTERED = "random", "scattered"
LEAST = 10  # images, for an interval that means anything


@dataclass(frozen=True)
class Sanity:
    """What became of n images.

    Parameters
    ----------
    curves : order to (n, STEPS + 1) float64
        Probability of the predicted class after each step, from nothing removed to all.
    turned : whose maps to (n,) float64
        Rank correlation of an image's map with that of the image turned by 90 degrees, turned back.
    untrained, other : (n,) float64
        Rank correlation of the network's map with that of random weights, and with that of another image.
    empty
        Maps that are 0 everywhere.
    """

    curves: dict[str, F64]
    turned: dict[str, F64]
    untrained: F64
    other: F64
    empty: int

    @property
    def n(self) -> int:
        """Images."""
        return len(self.untrained)

    def areas(self, order: str) -> F64:
        """(n,): area under the curve of an order; the lower, the more its pixels matter to the network."""
        return area(self.curves[order])

    def gain(self, order: str, over: str = RANDOM) -> Difference:
        """How much lower the area of an order is than that of another."""
        return paired_difference(self.areas(order), self.areas(over))

    @property
    def follows(self) -> bool | None:
        """Whether the maps follow the network; None where too few images say so either way."""
        if self.n < LEAST:
            return None
        gains = (self.gain(OWN), self.gain(OWN, UNTRAINED))
        if all(one.low > 0 for one in gains):
            return True
        return None if all(one.value > 0 for one in gains) else False


def examine(
    maps_of: Mapping, untrained_maps_of: Mapping, tell: Telling, pixels: U8, classes: I64, *, seed: int
) -> Sanity:
    """Look at some images in all the ways that `Sanity` holds.

    Parameters
    ----------
    maps_of, untrained_maps_of
        Of the network, and of the same one with random weights.
    tell
        Probabilities that the network gives.
    pixels : (n, s, s, 3) uint8
    classes : (n,)
        That the network predicts.
    seed
        Of the random order, and of which of equal pixels goes first.

    References
    ----------
    Deletion: Petsiuk et al. 2018, RISE, BMVC. Random weights: Adebayo et al. 2018, NeurIPS.
    """
    maps = {OWN: maps_of(pixels, classes), UNTRAINED: untrained_maps_of(pixels, classes)}
    quarter = np.ascontiguousarray(np.rot90(pixels, axes=(1, 2)))
    back = {
        OWN: np.rot90(maps_of(quarter, classes), -1, axes=(1, 2)),
        UNTRAINED: np.rot90(untrained_maps_of(quarter, classes), -1, axes=(1, 2)),
    }
    n, s = maps[OWN].shape[:2]
    middle = (np.arange(s) - (s - 1) / 2) ** 2
    centre = np.broadcast_to(-(middle[:, None] + middle[None, :]), (n, s, s))
    random = np.random.default_rng(seed)
    orders = {**maps, CENTRE: centre, RANDOM: moved(maps[OWN], random), SCATTERED: random.random((n, s, s))}
    n_steps = len(orders) * (STEPS + 1)
    with progress("remove pixels", n_steps, unit="steps") as advance:
        timed = Foretold(advance, n_steps, f"examining the maps of {n:,} images", FEWER)
        curves = {
            name: deletion(tell, pixels, classes, hottest_first(heat, random), timed)
            for name, heat in orders.items()
        }
    return Sanity(
        curves,
        {name: rank_correlations(maps[name], back[name]) for name in maps},
        rank_correlations(maps[OWN], maps[UNTRAINED]),
        rank_correlations(maps[OWN], np.roll(maps[OWN], 1, axis=0)),
        int((maps[OWN].max(axis=(1, 2)) <= 0).sum()),
    )


def moved(maps: F32, random: np.random.Generator) -> F32:
    """Return each map (s, s) turned, and moved around the image, at random.

    What it removes has the shape that the map's own places have, elsewhere. Squares scattered at random are
    no such control: many small holes upset a network more than a large one, wherever they are.
    """
    s = maps.shape[1]
    return np.stack(
        [
            np.roll(np.rot90(one, int(random.integers(4))), random.integers(s, size=2).tolist(), axis=(0, 1))
            for one in maps
        ]
    )


def hottest_first(heat: NDArray[Any], random: np.random.Generator) -> I64:
    """Return the order (n, k) of the cells of maps (n, s, s), by their mean; equal ones at random."""
    s = heat.shape[1]
    cells = cell_of(s).ravel()
    size = np.bincount(cells)
    means = np.stack([np.bincount(cells, one.ravel(), len(size)) / size for one in heat])
    # Much of a map is exactly 0: without chance among equals it would be removed from the top.
    tie = random.random(means.shape)
    return np.stack([np.lexsort((tie[i], -means[i])) for i in range(len(heat))])


def cell_of(s: int) -> I64:
    """Return the number of the cell (s, s) that each pixel lies in."""
    k = min(s, CELLS)
    place = np.arange(s) * k // s
    return place[:, None] * k + place[None, :]


def deletion(tell: Telling, pixels: U8, classes: I64, order: I64, advance: Advance) -> F64:
    """Return the probability (n, STEPS + 1) of the classes while cells are removed in an order.

    What is removed is filled with the image's own median of each channel.
    """
    n, s = pixels.shape[:2]
    fill = np.median(pixels, axis=(1, 2)).round().astype(np.uint8)[:, None, None, :]
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), axis=1)
    ranks = rank[:, cell_of(s)]  # (n, s, s)
    curve = np.empty((n, STEPS + 1))
    for step in range(STEPS + 1):
        removed = ranks < round(step / STEPS * order.shape[1])
        p = tell(np.where(removed[..., None], fill, pixels))
        curve[:, step] = p[np.arange(n), classes]
        advance()
    return curve


def area(curves: F64) -> F64:
    """(n, steps) -> (n,): the area under each curve over the share removed, by trapezoids."""
    found: F64 = ((curves[:, 1:] + curves[:, :-1]) / 2).mean(axis=1)
    return found


def rank_correlations(a: NDArray[Any], b: NDArray[Any]) -> F64:
    """Return Spearman's correlation (n,) of maps (n, s, s); 0 where one is the same everywhere."""
    from scipy.stats import rankdata

    found = np.zeros(len(a))
    for i in range(len(a)):
        x, y = (rankdata(one[i]).ravel() for one in (a, b))
        x, y = x - x.mean(), y - y.mean()
        scale = np.sqrt((x @ x) * (y @ y))
        found[i] = (x @ y) / scale if scale > 0 else 0.0
    return found
