"""Rows of a feature file as they are laid out, and what the layout left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embedkit.files.store import FeatureFile
from reports.map.columns import Column, Number
from reports.map.fidelity import Fidelity
from reports.map.layout import Map, Plan
from reports.map.neighbours import Neighbours


@dataclass(frozen=True)
class Shown:
    """Features as a map is made of them.

    Parameters
    ----------
    x : (n, d) float32
        Prepared.
    prep, words
        The steps, and what the caption says of them.
    transform
        Does the same to rows of a file of the same features.
    """

    x: NDArray[np.float32]
    prep: str
    words: str
    transform: Callable[[FeatureFile, NDArray[np.int64]], NDArray[np.float32]]


@dataclass(frozen=True)
class Laid:
    """Rows of a feature file, laid out.

    Parameters
    ----------
    map, caption
        Their places, and how they came about.
    faith
        How far these are to be believed, where it is measured.
    neighbours, near
        The nearest of each in the features, and by what.
    metric
        The measure of these, in a word.
    points : (n,) int64
        The rows of the file.
    shown, plan
        What was laid out of them, and how.
    placed
        What is said of images that were placed beside them.
    """

    map: Map
    caption: str
    faith: Fidelity | None
    neighbours: Neighbours
    near: str
    metric: str
    points: NDArray[np.int64]
    shown: Shown
    plan: Plan
    placed: tuple[Column, ...] = ()

    @property
    def columns(self) -> list[Column]:
        """What the map says of its places; how far they are to be believed is known of those laid out."""
        faith = [] if self.faith is None else self.faith.columns()
        return [*self.placed, *(padded(column, len(self.map.xy)) for column in faith)]


def padded(column: Number, n: int) -> Number:
    """Return a column with n rows, in which what is not known of the last ones is missing."""
    missing = np.full(n - len(column.values), np.nan, np.float32)
    return replace(column, values=np.concatenate([column.values, missing])) if len(missing) else column
