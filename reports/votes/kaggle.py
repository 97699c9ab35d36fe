"""Predictions as the Galaxy Zoo challenge of Kaggle takes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.vote_tree import GALAXY_ZOO_2
from reports.votes.answers import F64, Votes


def submission(ids: Sequence[str] | NDArray[np.str_], predicted: F64, votes: Votes, where: str) -> str:
    """Return the file: ``GalaxyID`` and the 37 columns in the challenge's order, by increasing id.

    Parameters
    ----------
    ids : (m,)
        Numbers of galaxies; the ending of a file's name is left out.
    predicted : (m, t)
        In the order of the dataset's targets.
    where
        The table of predictions, for messages.

    Raises
    ------
    UsageError
        The targets are not the 37 answers of the challenge.
    EmbedkitError
        An id that is no number, or twice there.
    """
    if votes.tree is None or votes.tree.name != GALAXY_ZOO_2.name:
        of = "targets of no known tree" if votes.tree is None else f"answers of {votes.tree.name}"
        raise UsageError(
            f"--kaggle: the challenge takes the {len(GALAXY_ZOO_2.answers)} answers of {GALAXY_ZOO_2.name}, "
            f"but {votes.name} has {len(votes.target_names)} {of}. Leave --kaggle out."
        )
    numbers = [str(one).removesuffix(".jpg") for one in ids]
    for number in numbers:
        if not (number.isascii() and number.isdecimal()):
            raise EmbedkitError(
                f"{where}: {number!r} is no GalaxyID, which is a number. Predict for the challenge's images."
            )
    if len(set(numbers)) < len(numbers):
        twice = next(one for one in numbers if numbers.count(one) > 1)
        raise EmbedkitError(f"{where}: {twice} is there twice. Give predictions with one row an image.")
    own = [one.name for one in votes.tree.answers]
    order = [own.index(one.name) for one in GALAXY_ZOO_2.answers]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["GalaxyID", *(one.column for one in GALAXY_ZOO_2.answers)])
    for row in sorted(range(len(numbers)), key=lambda row: int(numbers[row])):
        writer.writerow([numbers[row], *(f"{value:.6g}" for value in predicted[row, order])])
    return stream.getvalue()
