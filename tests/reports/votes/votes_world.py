"""A table with real votes of simulated volunteers, small pictures, and predictions of two models."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedkit.datasets.simulated_votes import SimulatedVotes
from embedkit.files.tables import APPLIED_TARGETS, TARGET_PREDICTIONS, write_table
from embedkit.files.vote_tree import GALAXY_ZOO_2

NAMES = GALAXY_ZOO_2.target_names
N, N_TRAIN = 60, 30


@dataclass
class VotesWorld:
    folder: Path
    table: Path
    votes: SimulatedVotes
    ids: list[str]
    good: Path
    poor: Path
    predicted: np.ndarray  # of good, on the last rows
    unlabelled: Path

    @property
    def options(self):
        return {"target_columns": NAMES, "root": str(self.folder)}


def write_votes(path, ids, shares, names=NAMES):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file", *names])
        writer.writerows([name, *(f"{v:.9g}" for v in row)] for name, row in zip(ids, shares, strict=True))
    return path


def write_predictions(path, ids, true, predicted, names=NAMES, parts="test"):
    columns = {"id": ids, "split": np.broadcast_to(parts, len(ids)), "fold": np.ones(len(ids), int)}
    for j, name in enumerate(names):
        columns |= {f"true:{name}": true[:, j], f"predicted:{name}": predicted[:, j]}
    columns["squared_error"] = ((true - predicted) ** 2).mean(axis=1)
    return write_table(path, TARGET_PREDICTIONS, columns)


def write_applied(path, ids, predicted, names=NAMES):
    columns = {f"predicted:{name}": predicted[:, j] for j, name in enumerate(names)}
    return write_table(path, APPLIED_TARGETS, {"id": ids} | columns)
