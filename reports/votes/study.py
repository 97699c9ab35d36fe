"""All that the page about votes is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reports.map.thumbnails import Thumbnails
from reports.sections import Made
from reports.votes.answers import Votes
from reports.votes.losses import Losses
from reports.votes.mergers import MergerFraction
from reports.votes.models import Model
from reports.votes.numbers import Division, noise_floor
from reports.votes.options import VOLUNTEERS, VotesOptions
from reports.votes.reduced import Reduced


@dataclass(frozen=True)
class Study:
    """All that the page is made of.

    Parameters
    ----------
    votes
        Of the dataset.
    options
        As asked.
    made
        What makes the page.
    division
        The split.
    truth
        The RMSE that the true shares are expected to have, where the votes are simulated and it is known.
    reduced
        Some images with fewer pixels.
    pictures
        By row, of those that are shown.
    models, losses, mergers
        What was given besides.
    """

    votes: Votes
    options: VotesOptions
    made: Made
    division: Division
    truth: float | None
    reduced: Reduced
    pictures: Thumbnails
    models: tuple[Model, ...] = ()
    losses: tuple[Losses, ...] = ()
    mergers: MergerFraction | None = None

    @property
    def counted(self) -> NDArray[np.float64] | None:
        """(n, t) how many people each share is of, as the dataset says it; None where one number stands."""
        return self.votes.looked if self.options.volunteers is None else None

    @property
    def n_volunteers(self) -> int:
        """How many people an image has; where they are counted, the median."""
        if self.counted is None:
            return self.options.volunteers or VOLUNTEERS
        return int(np.nanmedian(self.counted))

    @property
    def volunteers(self) -> str:
        """The same in words."""
        if self.counted is None:
            return f"{self.n_volunteers} volunteers an image"
        low, high = np.nanmin(self.counted), np.nanmax(self.counted)
        return f"the {low:,.0f} to {high:,.0f} volunteers that the dataset counts of an image"

    def floor(self, rows: NDArray[np.int64] | None = None, column: int | None = None) -> float:
        """Return the RMSE that sampling leaves on some rows, of one target or all; NaN of no shares."""
        shares = self.votes.shares
        if not self.votes.are_shares:
            return float("nan")
        chosen = np.ix_(
            np.arange(len(shares)) if rows is None else rows,
            np.arange(shares.shape[1]) if column is None else np.array([column]),
        )
        return noise_floor(
            shares[chosen], self.n_volunteers if self.counted is None else self.counted[chosen]
        )
