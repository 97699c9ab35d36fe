"""Another feature set of a page's images: its map laid over the first one, and how its neighbours differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.map.neighbours import Neighbours

_BLOCK = 4096


@dataclass(frozen=True)
class LinkedSet:
    """Another feature set of the same n images.

    Parameters
    ----------
    name
        What it is called.
    xy : (n, 2) float32
        Its map, laid over the first one.
    caption, faith
        How that came about, and how far it is to be believed.
    neighbours, near
        The nearest of each in its features, and by what.
    shared : (n,) int64
        How many of these are also among the nearest in the first file.
    column
        Key of the column that holds these counts.
    says
        How far the two sets agree, in sentences; the first needs no labels.
    """

    name: str
    xy: NDArray[np.float32]
    caption: str
    faith: str
    neighbours: Neighbours
    near: str
    shared: NDArray[np.int64]
    column: str
    says: tuple[str, ...]


def aligned(xy: NDArray[np.floating], onto: NDArray[np.floating]) -> tuple[NDArray[np.float32], float]:
    """Shift, turn and mirror one map onto another, and give it the other's size (Procrustes).

    The scale that brings the points nearest would shrink a map the more, the less alike the two are: to
    sqrt(1 - disparity) of the other's size. Here both have the same spread.

    Parameters
    ----------
    xy, onto : (n, 2) float
        Places of the same n images.

    Returns
    -------
    (n, 2) float32
        `xy`, moved.
    float
        Disparity, as `scipy.spatial.procrustes` has it: 0 where they are the same map, 1 where nothing is
        alike.
    """
    from scipy.linalg import orthogonal_procrustes

    target, moving = (np.asarray(one, np.float64) for one in (onto, xy))
    middle = target.mean(axis=0)
    if not np.ptp(target, axis=0).any() or not np.ptp(moving, axis=0).any():
        return np.broadcast_to(middle, target.shape).astype(np.float32), 1.0
    target, moving = target - middle, moving - moving.mean(axis=0)
    size, own = np.linalg.norm(target), np.linalg.norm(moving)
    turn, alike = orthogonal_procrustes(moving / own, target / size)
    # Rounding alone takes the likeness of a map to itself past 1.
    apart = max(0.0, 1.0 - float(alike) ** 2)
    return (moving / own @ turn * size + middle).astype(np.float32), apart


def shared_neighbours(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the rows that each line of `a` (n, k) has in common with that of `b` (n, k)."""
    found = np.zeros(len(a), np.int64)
    for start in range(0, len(a), _BLOCK):
        at = slice(start, start + _BLOCK)
        found[at] = (a[at, :, np.newaxis] == b[at, np.newaxis, :]).sum(axis=(1, 2))
    return found


def overlap_words(shared: NDArray[np.int64], k: int, a: str, b: str) -> str:
    """Say how many neighbours two sets share, and how many chance would give.

    Of k rows drawn from the n - 1 others, k / (n - 1) of each k are shared by chance.
    """
    n = len(shared)
    if not k:
        return "There are too few images to have neighbours."
    mean, chance = shared.mean(), k * k / (n - 1)
    none, every = int((shared == 0).sum()), int((shared == k).sum())
    return (
        f"Of the {k} images nearest to each in {a}, {mean:.1f} on average ({mean / k:.0%}) are among the {k} "
        f"nearest in {b} too; chance gives {chance:.1f} ({chance / k:.0%}). {none:,} "
        f"{'image keeps' if none == 1 else 'images keep'} none of them, {every:,} "
        f"{'keeps' if every == 1 else 'keep'} all."
    )
