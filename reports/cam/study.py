"""All that the page about what a network looks at is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.backbones.saved_network import About
from reports.cam.answers import I64, Said, SaidVotes
from reports.cam.layer import Layer
from reports.cam.sanity import CELLS, Sanity


@dataclass(frozen=True)
class Shown:
    """Images with their maps.

    Parameters
    ----------
    places : (k,)
        Among those that the network was asked about.
    pixels : (k, s, s, 3) uint8
        As the network sees them.
    maps : (k, s, s) float32
        Grad-CAM.
    attention : (k, rows, columns) float32, optional
        Of the last block, mean over its heads.
    """

    places: I64
    pixels: NDArray[np.uint8]
    maps: NDArray[np.float32]
    attention: NDArray[np.float32] | None


@dataclass(frozen=True)
class Study:
    """All that the page is made of.

    Parameters
    ----------
    about
        The network.
    dataset
        Name of the images.
    said
        What the network says of them: their classes, or one answer of votes.
    layer
        That the maps are of.
    sanity
        What became of some images.
    examined : (n,)
        Places of these.
    shown
        Images with maps.
    per_class
        As asked.
    classes
        Which of the network's classes are shown; none of a network of votes.
    seed
        As asked.
    """

    about: About
    dataset: str
    said: Said | SaidVotes
    layer: Layer
    sanity: Sanity
    examined: I64
    shown: Shown
    per_class: int
    classes: tuple[int, ...]
    seed: int

    @property
    def what(self) -> str:
        """What the network gives: a probability, or a share of votes."""
        return "predicted share" if isinstance(self.said, SaidVotes) else "probability"

    @property
    def explained(self) -> str:
        """What the maps speak of, in words."""
        if isinstance(self.said, SaidVotes):
            return f"the answer {self.said.name}"
        target = self.said.target
        return "the predicted class" if target is None else f"the class {self.said.class_names[target]}"

    @property
    def cells(self) -> str:
        """What is removed as one."""
        k = min(self.about.preprocessing.image_size, CELLS)
        return f"{k} x {k} squares"
