"""Batches of images that are close on the sky, and how much more alike they are than random ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.errors import DataError
from pretrain.finetune.batches import Order, shuffled
from pretrain.noise import background

# Background counts as sky up to this many of its standard deviations.
CUT = 3.0
CHUNK = 512


def check_positions(
    positions: NDArray[np.float64] | None, rows: NDArray[np.int64], ids: NDArray[np.str_], name: str
) -> NDArray[np.float64]:
    """Return the right ascension and declination of all images, if those of `rows` are known.

    Raises
    ------
    DataError
        Images without a position, or with one that is none.
    """
    if positions is None:
        raise DataError(
            f"{name}: no positions, which --sky-cell orders images by. Give a dataset with columns ra and "
            "dec in degrees, or leave out --sky-cell."
        )
    ra, dec = positions[rows].T
    bad = ~(np.isfinite(ra) & (np.abs(dec) <= 90))  # NaN is not at most 90 either
    if bad.any():
        raise DataError(
            f"{name}: {int(bad.sum()):,} of {len(rows):,} labelled images have no position in degrees, such "
            f"as {str(ids[rows[np.argmax(bad)]])!r}. Leave them out of the dataset, or leave out --sky-cell."
        )
    return positions


def sky_ordered(
    rows: torch.Tensor,
    positions: NDArray[np.float64],
    *,
    cell: float,
    size: Callable[[int], int],
    seed: int,
) -> Order:
    """Return the order of an epoch: batches of neighbours on the sky, the batches in random order.

    Parameters
    ----------
    rows : (n,) int64
        Those to train on.
    positions : (m, 2) float64
        Right ascension and declination of all images, in degrees.
    cell
        Side of a cell in degrees.
    size
        Epoch -> images of its batches.

    Notes
    -----
    Bands of declination are cut into cells of equal width, and a path leads through them, east in one band
    and west in the next, so that cells in a row are neighbours. Each epoch places the bands and cells anew,
    shuffles each cell and begins at a random place. Batches are cut from the path, and then shuffled. Every
    row is there once; what is left over of the last batch is at the end.
    """
    ra, dec = positions[rows.numpy()].T

    def order(epoch: int) -> torch.Tensor:
        rng = np.random.default_rng([seed, epoch])
        east, north = rng.random(2)
        band = np.floor((dec + 90) / cell + north)
        middle = np.clip((band - north + 0.5) * cell - 90, -90, 90)
        n_cells = np.maximum(1, np.round(360 * np.cos(np.radians(middle)) / cell))
        place = np.floor((ra / 360 + east) % 1 * n_cells)
        path = np.where(band % 2 == 0, place, n_cells - 1 - place)
        along = np.lexsort((rng.random(len(rows)), path, band))
        along = np.roll(along, -int(rng.integers(len(rows))))
        length = size(epoch)
        whole = len(rows) // length * length
        batches = along[:whole].reshape(-1, length)[rng.permutation(whole // length)]
        return rows[torch.from_numpy(np.concatenate([batches.ravel(), along[whole:]]))]

    return order


def spread_sentence(
    pixels: torch.Tensor,
    rows: torch.Tensor,
    positions: NDArray[np.float64],
    *,
    cell: float,
    size: int,
    seed: int,
) -> str:
    """Say how much less images of a batch differ in background and size than in random order.

    Parameters
    ----------
    pixels : (m, 3, h, h) uint8
        Of all images.
    size
        Images of a batch.
    """
    by_sky = sky_ordered(rows, positions, cell=cell, size=lambda _: size, seed=seed)
    sky, radius = measures(pixels[rows])
    place = {int(row): i for i, row in enumerate(rows)}
    said = []
    for what, values, unit in (("background", sky, "of 255"), ("size", radius, "pixels")):
        of_all = np.zeros(len(pixels))
        of_all[[*place]] = values
        here, there = (
            np.mean([within(of_all, order(epoch).numpy(), size) for epoch in range(5)])
            for order in (by_sky, shuffled(rows, seed))
        )
        share = 100 * (1 - here / there) if there else 0.0
        words = f"{abs(share):.1f} % {'less' if share >= 0 else 'more'}"
        said.append(f"{what} {here:.2f} {unit} instead of {there:.2f} ({words})")
    return (
        f"Batches of {size} from cells of {cell:g} degrees: standard deviation within a batch, {said[0]}; "
        f"{said[1]}, against random order."
    )


def within(values: NDArray[np.float64], order: NDArray[np.int64], size: int) -> float:
    """Return the standard deviation of values within batches: the root of the mean of their variances."""
    whole = len(order) // size * size
    batches = values[order[:whole]].reshape(-1, size)
    return float(np.sqrt(batches.var(axis=1, ddof=1).mean())) if size > 1 else 0.0


def measures(pixels: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the background level of images (n, 3, h, h), 0 to 255, and the radius of what stands above it.

    The background is the median along the upper and lower edge, the mean of the three channels. The radius in
    pixels is that of a circle of as many pixels as lie three standard deviations of the edge above it.
    """
    levels, radii = [], []
    for part in torch.split(pixels, CHUNK):
        sky, std = background(part)
        level, noise = sky.mean(dim=1), std.mean(dim=1).clamp(min=1.0)
        above = part.float().mean(dim=1) > (level + CUT * noise)[:, None, None]
        levels.append(level.double())
        radii.append((above.flatten(1).sum(dim=1) / torch.pi).double().sqrt())
    return torch.cat(levels).numpy(), torch.cat(radii).numpy()


def sizes_by_epoch(sizes: Sequence[int], ends: Sequence[int]) -> Callable[[int], int]:
    """Return the size of an epoch's batches, of the size of every step and the steps that end epochs."""
    return lambda epoch: sizes[ends[epoch] - 1]
