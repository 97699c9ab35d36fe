"""How scores differ between seeds, or between draws of training labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embedkit.errors import DataError
from embedkit.files.results import Metric
from embedkit.scoring.metrics import estimate


@dataclass(frozen=True)
class Spread:
    """How one score differs between runs.

    Parameters
    ----------
    name
        Of the score.
    mean, std, lowest, highest
        Of the runs' values; `std` with n - 1 degrees of freedom, NaN for one run.
    n
        Runs whose score is defined.
    """

    name: str
    mean: float
    std: float
    lowest: float
    highest: float
    n: int

    def metric(self, run: str) -> Metric:
        """Return the mean with Student's 95 % interval of the mean, which is over runs, not over images.

        Parameters
        ----------
        run
            What one is called in the note: ``seed`` or ``draw``.
        """
        from scipy.stats import t  # on use: tables that show a spread wait for no SciPy

        if self.n < 2:
            return Metric(self.mean, note=f"one {run}")
        half = float(t.ppf(0.975, self.n - 1) * self.std / np.sqrt(self.n))
        return estimate(self.name, self.mean, self.mean - half, self.mean + half, f"mean of {self.n} {run}s")


def spread_over(runs: Sequence[Mapping[str, Metric]]) -> dict[str, Spread]:
    """Return mean and spread of every score that all runs have; those defined in none are left out.

    Parameters
    ----------
    runs
        The metrics of one method, one mapping a run.

    Raises
    ------
    DataError
        No runs.
    """
    if not runs:
        raise DataError("no runs to take the spread of.")
    spread: dict[str, Spread] = {}
    for name in runs[0]:
        found = [run[name].value for run in runs if name in run]
        values = np.array([value for value in found if value is not None])
        if len(found) == len(runs) and len(values):
            std = float(values.std(ddof=1)) if len(values) > 1 else np.nan
            low, high = float(values.min()), float(values.max())
            spread[name] = Spread(name, float(values.mean()), std, low, high, len(values))
    return spread


def over_draws(draws: Sequence[Mapping[str, Metric]]) -> dict[str, Metric]:
    """Return the mean of each metric over draws, with the 95 % interval of the mean by Student's t."""
    spread = spread_over(draws)
    return {
        name: spread[name].metric("draw") if name in spread else metric for name, metric in draws[0].items()
    }
