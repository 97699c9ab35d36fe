"""Losses of trainings, as their ``log.csv`` keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.text_table import read_table
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.regular import resolved
from reports.votes.options import named_file

F64 = NDArray[np.float64]
COLUMNS = ("epoch", "images", "loss", "validation_loss")
OPTIONAL = ("validation_rmse", "fold", "phase")


@dataclass(frozen=True)
class Losses:
    """Of one training.

    Parameters
    ----------
    name
        What it is called.
    epoch, images, loss, validation_loss, validation_rmse : (e,) float64
        Columns of its log; NaN where a cell is empty, or the log lacks the last of them.
    """

    name: str
    epoch: F64
    images: F64
    loss: F64
    validation_loss: F64
    validation_rmse: F64

    @property
    def best(self) -> int | None:
        """The row with the lowest validation loss; None where there is none."""
        return None if np.isnan(self.validation_loss).all() else int(np.nanargmin(self.validation_loss))


def read_losses(texts: Sequence[str]) -> tuple[Losses, ...]:
    """Read logs by ``NAME=FILE``; a file alone is called after its folder.

    Of several folds the first is taken, and the phases of a training are joined.

    Raises
    ------
    EmbedkitError
        A column is missing, or images seen that don't grow.
    UsageError
        Two logs of one name.
    """
    found: list[Losses] = []
    for text in texts:
        name, path = named_file(text)
        if not path.is_file():
            raise EmbedkitError(f"{path}: no such file. Name the log.csv of a training with --log.")
        table = read_table(path)
        if missing := [column for column in COLUMNS if column not in table.columns]:
            raise EmbedkitError(
                f"{path}: no column {' and no column '.join(missing)}. A training's log has "
                f"{', '.join(COLUMNS)}."
            )
        known = {
            name: table.numbers(name, "--log") for name in (*COLUMNS, *OPTIONAL) if name in table.columns
        }
        if "fold" in known and len(table):
            first = known["fold"] == known["fold"][0]
            known = {name: column[first] for name, column in known.items()}
        known["images"] = _joined(known["images"], known.get("phase"))
        if not len(table) or np.isnan(known["images"]).any() or (np.diff(known["images"]) < 0).any():
            raise EmbedkitError(f"{path}: the images seen don't grow from line to line. Restore the file.")
        name = name or resolved(path).parent.name
        if any(one.name == name for one in found):
            raise UsageError(f"--log: two trainings are called {name!r}. Give NAME=FILE.")
        epoch, images, loss, validation = (known[column] for column in COLUMNS)
        rmse = known.get("validation_rmse", np.full(len(epoch), np.nan))
        found.append(Losses(name, epoch, images, loss, validation, rmse))
    return tuple(found)


def _joined(images: F64, phase: F64 | None) -> F64:
    """Count the images of each phase on from those of the phases before."""
    joined = images.copy()
    if phase is not None:
        for start in np.flatnonzero(np.diff(phase) != 0) + 1:
            if joined[start] < joined[start - 1]:
                joined[start:] += joined[start - 1]
    return joined
