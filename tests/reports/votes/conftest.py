"""The fixture of the tests about votes."""

import numpy as np
import pytest
from PIL import Image
from votes_world import N_TRAIN, N, VotesWorld, write_applied, write_predictions, write_votes

from embedkit.datasets.simulated_votes import simulated_votes


@pytest.fixture(scope="session")
def gz(tmp_path_factory) -> VotesWorld:
    folder = tmp_path_factory.mktemp("votes")
    votes = simulated_votes(N, 3)
    ids = [f"{100100 - i}.jpg" for i in range(N)]
    rng = np.random.default_rng(0)
    for name in ids:
        pixels = rng.integers(0, 255, (60, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    table = write_votes(folder / "solutions.csv", ids, votes.shares)
    held, true = ids[N_TRAIN:], votes.shares[N_TRAIN:]
    predicted = votes.probabilities[N_TRAIN:]
    good = write_predictions(folder / "good.csv", held, true, predicted)
    mean = np.broadcast_to(votes.shares[:N_TRAIN].mean(axis=0), true.shape)
    poor = write_predictions(folder / "poor.csv", held, true, 0.5 * mean + 0.5 * predicted)
    unlabelled = write_applied(folder / "second.csv", ["7.jpg", "30.jpg", "200.jpg"], predicted[:3])
    return VotesWorld(folder, table, votes, ids, good, poor, predicted, unlabelled)
