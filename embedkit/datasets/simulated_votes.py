"""Votes on simulated galaxies by simulated volunteers, whose probabilities follow from what was drawn.

So the truth behind the votes is known, and with it the smallest error that any model can have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.datasets.simulated_galaxies import CLASS_NAMES, Drawn, parameters
from embedkit.files.vote_tree import GALAXY_ZOO_2, cumulative

# Part of the fingerprint of datasets with votes: raise it when the same (seed, row) gives other votes.
VOTING_VERSION = 1

# How many look at a galaxy; the challenge says 40 to 50, and not always as many.
VOLUNTEERS = (36, 44)

_SMOOTH, _SPIRAL, _EDGE_ON, _DISTURBED, _MERGING = "smooth", "spiral", "edge-on", "disturbed", "merging"
_FAMILIES = (
    _DISTURBED,
    _MERGING,
    *(_SMOOTH, _SMOOTH, _SMOOTH),
    *(_SPIRAL, _SPIRAL, _SPIRAL),
    *(_EDGE_ON, _EDGE_ON),
)
_BARRED = CLASS_NAMES.index("Barred Spiral")
_WITH_BULGE = CLASS_NAMES.index("Edge-on with Bulge")


@dataclass(frozen=True)
class SimulatedVotes:
    """Votes on n simulated galaxies, and the truth behind them.

    Parameters
    ----------
    probabilities : (n, 37) float64
        Probability that somebody who looks at the galaxy gives each answer of `GALAXY_ZOO_2`, in its order.
    volunteers : (n,) int64
        How many looked.
    shares : (n, 37) float64
        Which share of them gave each answer. Only those who gave an answer are asked what follows it, so
        there are fewer down the tree.
    """

    probabilities: NDArray[np.float64]
    volunteers: NDArray[np.int64]
    shares: NDArray[np.float64]

    def take(self, rows: NDArray[Any]) -> SimulatedVotes:
        """Return those of some rows (numbers, or a boolean mask)."""
        return SimulatedVotes(self.probabilities[rows], self.volunteers[rows], self.shares[rows])

    @property
    def asked(self) -> NDArray[np.float64]:
        """(n, 37): how many were asked the question of each answer."""
        found = np.empty(self.shares.shape)
        for branch in GALAXY_ZOO_2.branches:
            of_all = 1.0 if branch.parent is None else self.shares[:, branch.parent]
            found[:, list(branch.columns)] = np.rint(self.volunteers * of_all)[:, None]
        return found

    def noise_floor(self) -> float:
        """Return the RMSE, over all rows and answers, that the true probabilities are expected to have.

        The number of volunteers who give an answer is binomial, whatever was asked before it. So the expected
        squared error is p (1 - p) / N, and no prediction from the images has a smaller one.
        """
        p = self.probabilities
        return float(np.sqrt((p * (1 - p) / self.volunteers[:, None]).mean()))

    def best_rmse(self) -> float:
        """Return the RMSE that the true probabilities have against the votes as they were drawn."""
        return float(np.sqrt(((self.probabilities - self.shares) ** 2).mean()))


def simulated_votes(n: int, seed: int) -> SimulatedVotes:
    """Draw votes on the first n galaxies of a seed, by a random stream of their own.

    The images have the stream (seed, row); here the third word tells another one.
    """
    within = np.empty((n, len(GALAXY_ZOO_2.target_names)))
    for row in range(n):
        kind = row % len(CLASS_NAMES)
        within[row] = chances(kind, parameters(kind, np.random.default_rng([seed, row])))
    volunteers = np.empty(n, dtype=np.int64)
    counts = np.zeros(within.shape, dtype=np.int64)
    for row in range(n):
        rng = np.random.default_rng([seed, row, 37])
        volunteers[row] = rng.integers(VOLUNTEERS[0], VOLUNTEERS[1], endpoint=True)
        for branch in GALAXY_ZOO_2.branches:
            columns = list(branch.columns)
            asked = volunteers[row] if branch.parent is None else counts[row, branch.parent]
            counts[row, columns] = rng.multinomial(asked, within[row, columns])
    return SimulatedVotes(
        probabilities=cumulative(within, GALAXY_ZOO_2),
        volunteers=volunteers,
        shares=counts / volunteers[:, None],
    )


def votes_behind(origin: Mapping[str, Any]) -> SimulatedVotes | None:
    """Return the truth behind a dataset's votes by its ``origin``, as feature files keep it too; or None.

    Its rows are those of the dataset: with ``--limit``, `SimulatedVotes.take` the ones that ids name.
    """
    if origin.get("source") != "simulated" or not origin.get("votes"):
        return None
    return simulated_votes(int(origin["n"]), int(origin["seed"]))


def chances(kind: int, drawn: Drawn) -> NDArray[np.float64]:
    """Return (37,) probabilities of each answer among those who are asked its question.

    They follow what can be seen: how flat a galaxy is, how tightly its arms are wound, how far two galaxies
    stand apart. They change smoothly with it, and nobody is ever certain.
    """
    family = _FAMILIES[kind]
    flat = _flatness(family, drawn)
    questions = [
        _smooth_or_features(family, drawn, flat),
        _yes(_edge_on(family, flat)),
        _yes(0.8 if kind == _BARRED else 0.1),
        _yes(_has_arms(family, drawn)),
        _bulge(family, drawn, kind),
        _yes(_odd(family, drawn)),
        _near(flat, (0.05, 0.38, 0.75), 0.2),
        _odd_feature(family, drawn),
        (0.8, 0.12, 0.08) if kind == _WITH_BULGE or family != _EDGE_ON else (0.18, 0.07, 0.75),
        _near(drawn.get("pitch", 20.0), (9.0, 18.0, 29.0), 8.0),
        _arms(family, drawn),
    ]
    weights = [np.asarray(one, dtype=np.float64) for one in questions]
    return np.concatenate([one / one.sum() for one in weights])


def _flatness(family: str, drawn: Drawn) -> float:
    typical = {_EDGE_ON: 0.85, _MERGING: 0.4}
    return typical[family] if family in typical else 1 - drawn["axis_ratio"]


def _smooth_or_features(family: str, drawn: Drawn, flat: float) -> tuple[float, ...]:
    if family == _SMOOTH:
        return (0.9 - 0.3 * flat, 0.06 + 0.3 * flat, 0.04)
    if family == _SPIRAL:  # tight arms are easily missed
        seen = 0.75 + 0.18 * np.clip((drawn["pitch"] - 8) / 20, 0, 1)
        return (0.97 - seen, seen, 0.03)
    return {_EDGE_ON: (0.13, 0.84, 0.03), _DISTURBED: (0.3, 0.62, 0.08), _MERGING: (0.38, 0.52, 0.1)}[family]


def _edge_on(family: str, flat: float) -> float:
    # Of discs only: a spiral of 52 degrees (axis ratio 0.62) is rarely taken for one.
    return 0.93 if family == _EDGE_ON else float(0.04 + 0.7 / (1 + np.exp((0.6 - flat) / 0.1)))


def _has_arms(family: str, drawn: Drawn) -> float:
    if family == _SPIRAL:
        return float(0.85 + 0.1 * np.clip((drawn["pitch"] - 8) / 20, 0, 1))
    return {_SMOOTH: 0.12, _EDGE_ON: 0.25, _DISTURBED: 0.4, _MERGING: 0.35}[family]


def _bulge(family: str, drawn: Drawn, kind: int) -> NDArray[np.float64]:
    size = {_SMOOTH: 2.1, _EDGE_ON: 2.0 if kind == _WITH_BULGE else 0.8, _DISTURBED: 1.0, _MERGING: 1.3}
    return _near(size[family] if family in size else 0.6 + 1.2 * drawn["bulge"], (0, 1, 2, 3), 0.8)


def _odd(family: str, drawn: Drawn) -> float:
    if family == _MERGING:  # two that touch may be one
        return float(0.8 + 0.14 * (drawn["apart"] - 0.06) / 0.08)
    if family == _EDGE_ON:
        return 0.25 if drawn["dusty"] else 0.15
    return {_SMOOTH: 0.06, _SPIRAL: 0.12, _DISTURBED: 0.78}[family]


def _odd_feature(family: str, drawn: Drawn) -> tuple[float, ...]:
    # ring, lens or arc, disturbed, irregular, other, merger, dust lane
    if family == _EDGE_ON:  # the lane is thinner than the seeing, so few are sure of it
        lane = 0.55 if drawn["dusty"] else 0.35
        return (0.1, 0.1, 0.1, 0.15, 0.4, 0.15, lane / (1 - lane))
    if family == _MERGING:
        return (0.02, 0.03, 0.12, 0.06, 0.04, 0.7, 0.03)
    if family == _DISTURBED:
        return (0.03, 0.06, 0.48, 0.25, 0.05, 0.1, 0.03)
    return (0.25, 0.08, 0.07, 0.12, 0.36, 0.07, 0.05)


def _arms(family: str, drawn: Drawn) -> tuple[float, ...]:
    # 1, 2, 3, 4, more than 4, can't tell
    if family != _SPIRAL:
        return (0.15, 0.25, 0.05, 0.03, 0.02, 0.5)
    return (
        (0.05, 0.6, 0.18, 0.03, 0.02, 0.12) if drawn["n_arms"] == 2 else (0.03, 0.4, 0.36, 0.06, 0.03, 0.12)
    )


def _yes(probability: float) -> tuple[float, float]:
    return (probability, 1 - probability)


def _near(value: float, places: tuple[float, ...], width: float) -> NDArray[np.float64]:
    """Weights of answers in an order, by how near a value is to the place of each."""
    weights: NDArray[np.float64] = np.exp(-0.5 * ((value - np.array(places)) / width) ** 2) + 0.02
    return weights
