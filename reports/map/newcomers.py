"""The images of another feature file on a map that stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedkit.console import counted
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.files.identity import check_alike, identity
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile
from reports.map.columns import Category, Column, Number
from reports.map.neighbours import Neighbours, neighbours_among
from reports.map.placing import Placed, place
from reports.report_options import NONE, ReportOptions

if TYPE_CHECKING:
    from reports.map.laid import Laid

# Keys of the columns that tell them from the known images.
SET, APART = "set", "distance-to-known"


@dataclass(frozen=True)
class Newcomers:
    """Images that are placed on the map of a feature file.

    Parameters
    ----------
    file
        Of their features, open.
    points : (m,) int64
        Its rows that are placed.
    """

    file: FeatureFile
    points: NDArray[np.int64]

    @property
    def rows(self) -> Rows:
        """What is known of them."""
        return self.file.rows.take(self.points)


def newcomers(
    known: FeatureFile, new: FeatureFile, options: ReportOptions, say: Callable[[str], None]
) -> Newcomers:
    """Choose the rows that are placed; all whose image could be read, or so many as the map has at most.

    Raises
    ------
    UsageError
        Features of another kind, or an image that is in both files.
    EmbedkitError
        No image could be read.
    """
    flag = f"--transform {options.transform}"
    try:
        remarks = check_alike(identity(known), new, model="map", again="make a map of them alone")
    except DataError as error:
        raise UsageError(f"{flag}: {error}") from error
    for text in remarks:
        say(f"{flag}: {text}")
    both = set(known.rows.ids.tolist()).intersection(new.rows.ids.tolist())
    if both:
        first = next(name for name in new.rows.ids.tolist() if name in both)
        raise UsageError(
            f"{flag}: {len(both):,} of its {new.n:,} images, such as {first!r}, are in {known.path} too. "
            "Give images that are not on the map yet."
        )
    points = np.flatnonzero(new.ok)
    if not len(points):
        raise EmbedkitError(f"{new.path}: no row could be read when it was extracted: nothing to place.")
    if n_bad := new.n - len(points):
        say(f"{flag}: {counted(n_bad, 'image')} that could not be read left out.")
    if len(points) > options.max_points:
        say(
            f"{flag}: {options.max_points:,} of {len(points):,} images are placed, drawn at random with seed "
            f"{options.seed}; --max-points takes more."
        )
        random = np.random.default_rng(options.seed)
        points = np.sort(random.choice(points, options.max_points, replace=False))
    return Newcomers(new, points)


def placed_on(laid: Laid, known: FeatureFile, new: Newcomers, options: ReportOptions) -> Laid:
    """Return a map with new images after the known ones, which stay where they were."""
    try:
        x = laid.shown.transform(new.file, new.points)
        placed = place(laid.shown.x, x, laid.plan, laid.map)
    except DataError as error:
        raise EmbedkitError(f"{new.file.path}: {error}") from error
    searched = NONE if options.prep is None else options.prep
    if searched == laid.shown.prep:
        bank, asked = laid.shown.x, x
    else:
        bank, asked = np.asarray(known.read(laid.points)), np.asarray(new.file.read(new.points))
    near = neighbours_among(bank, asked, laid.neighbours.k, metric=laid.metric)
    neighbours = Neighbours(
        np.concatenate([laid.neighbours.index, near.index]),
        np.concatenate([laid.neighbours.distance, near.distance]),
    )
    m = len(new.points)
    ringed = (
        f"The {m:,} image{'s' * (m != 1)} of {new.file.path.name}, ringed, came later and moved no other."
    )
    caption = f"{laid.caption} {ringed} {placed.describe()}"
    whole = replace(laid.map, xy=np.concatenate([laid.map.xy, placed.xy]))
    columns = placed_columns(placed, known, new)
    return replace(laid, map=whole, neighbours=neighbours, caption=caption, placed=tuple(columns))


def placed_columns(placed: Placed, known: FeatureFile, new: Newcomers) -> list[Column]:
    """Return which images are new, and how far each image is from the nearest known one."""
    n, m = len(placed.known_apart), len(placed.apart)
    codes = np.repeat(np.array([-1, 0], np.int64), [n, m])
    apart = (np.concatenate([placed.known_apart, placed.apart]) / placed.unit).astype(np.float32)
    name = f"new: {new.file.path.stem}"
    return [
        Category(SET, "known or new", "Map", codes, (name,), missing=f"known: {known.path.stem}"),
        Number(APART, "distance to the nearest known image, over its median", "Map", apart),
    ]
