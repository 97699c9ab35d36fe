"""Small galaxies of the ten Galaxy10 DECaLS kinds, drawn from a seed: for tests and first steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.dataset import Dataset, fingerprint
from embedkit.datasets.simulated_galaxies import CLASS_NAMES, DRAWING_VERSION, draw
from embedkit.datasets.simulated_votes import VOTING_VERSION, simulated_votes
from embedkit.files.rows import Rows
from embedkit.files.vote_tree import GALAXY_ZOO_2


@dataclass(frozen=True)
class SimulatedImages:
    """Draw the image of a row from (seed, row) alone."""

    size: int
    seed: int

    def where(self, row: int) -> str:
        """Return the row's place in the dataset."""
        return f"simulated[{row}]"

    def read(self, row: int) -> NDArray[np.uint8]:
        """Return the (size, size, 3) uint8 image of a row; its class is ``row % 10``."""
        return draw(row % len(CLASS_NAMES), size=self.size, rng=np.random.default_rng([self.seed, row]))


def load_simulated(
    *, n: int | None = None, size: int | None = None, seed: int | None = None, votes: bool | None = None
) -> Dataset:
    """Draw `n` (1,000) galaxies of `size` (128) pixels a side; the ten kinds take turns.

    With `votes`, shares of about 40 simulated volunteers are the targets, under the names of the Kaggle
    challenge; see `embedkit.datasets.simulated_votes`. Images and labels are the same without.
    """
    n = 1000 if n is None else n
    size = 128 if size is None else size
    seed = 0 if seed is None else seed
    drawn = simulated_votes(n, seed) if votes else None
    rows = Rows(
        ids=np.array([f"{seed}-{row}" for row in range(n)]),
        labels=np.arange(n) % len(CLASS_NAMES),
        class_names=CLASS_NAMES,
        targets=None if drawn is None else drawn.shares.astype(np.float32),
        target_names=() if drawn is None else GALAXY_ZOO_2.target_names,
        asked=None if drawn is None else drawn.asked,
    )
    images = SimulatedImages(size, seed)
    content: dict[str, Any] = {"drawing": DRAWING_VERSION, "size": size, "seed": seed}
    origin: dict[str, Any] = {"source": "simulated", "n": n, "size": size, "seed": seed}
    if votes:  # what has no votes keeps the fingerprint that it had before there were any
        content["voting"] = VOTING_VERSION
        origin["votes"] = True
    return Dataset(
        name="simulated",
        rows=rows,
        read=images.read,
        where=images.where,
        fingerprint=fingerprint(rows, content),
        origin=origin,
    )
