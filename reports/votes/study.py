"""All that the page about votes is made of."""

from __future__ import annotations

from dataclasses import dataclass

from reports.map.thumbnails import Thumbnails
from reports.votes.answers import Votes
from reports.votes.losses import Losses
from reports.votes.mergers import MergerFraction
from reports.votes.models import Model
from reports.votes.numbers import Division
from reports.votes.options import VotesOptions
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
    command
        That makes this page, in words.
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
    command: str
    division: Division
    truth: float | None
    reduced: Reduced
    pictures: Thumbnails
    models: tuple[Model, ...] = ()
    losses: tuple[Losses, ...] = ()
    mergers: MergerFraction | None = None
