"""What some probes can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from embedkit.options import check, option
from probes.kinds.centroid import METRICS
from probes.kinds.mlp import check_hidden

# A setting is an argument of the probe's class by the same name; but for these, which results record so.
ARGUMENTS = {"n_neighbors": "k"}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a probe is asked for; None leaves it to the probe.

    Parameters
    ----------
    c_grid
        See `LinearProbe` and `SigmoidProbe`.
    learning_rates
        See `SGDProbe`.
    hidden, weight_decay
        See `MLPProbe`.
    n_neighbors, temperature
        See `KNNProbe`, whose `k` the former is.
    metric
        See `NearestCentroidProbe`.
    shrinkage
        See `LDAProbe`.
    clamping
        See `LabelSpreadingProbe`, which `n_neighbors` and `temperature` are for as well.
    alphas, clip
        See `RidgeProbe`.
    """

    c_grid: tuple[float, ...] | None = option(
        None,
        "linear, sigmoid: C to choose from",
        above=0,
        metavar="C",
        unset="linear 13, 1e-5 to 10; sigmoid 11, 1e-5 to 1",
    )
    learning_rates: tuple[float, ...] | None = option(
        None,
        "linear-sgd: rates to choose from, for a batch of 256",
        above=0,
        metavar="RATE",
        unset="9, 1e-4 to 1",
    )
    hidden: tuple[str, ...] | None = option(
        None, "mlp: widths of one layer or two to choose from", metavar="N|NxN", unset="256 256x256"
    )
    weight_decay: tuple[float, ...] | None = option(
        None, "mlp: decays of AdamW to choose from", least=0, metavar="DECAY", unset="0.01 1 3 10 30"
    )
    n_neighbors: tuple[int, ...] | None = option(
        None,
        "knn, label-spreading: numbers of neighbours to choose from",
        least=1,
        metavar="N",
        unset="knn 10 20 100 200; label-spreading 10",
    )
    temperature: float | None = option(None, "knn, label-spreading: of the weights", above=0, unset="0.07")
    metric: tuple[str, ...] | None = option(
        None, "nearest-centroid: distances to choose from", choices=METRICS, unset="both"
    )
    shrinkage: tuple[float, ...] | None = option(
        None,
        "lda: how far the covariance is drawn to a sphere, to choose from",
        above=0,
        most=1,
        metavar="SHARE",
        unset="0.1 0.3 0.5 0.7 0.9",
    )
    clamping: tuple[float, ...] | None = option(
        None,
        "label-spreading: shares of an answer that come from the neighbours, to choose from",
        above=0,
        below=1,
        metavar="SHARE",
        unset="0.5 0.9 0.99",
    )
    alphas: tuple[float, ...] | None = option(
        None, "ridge: penalties to choose from", above=0, metavar="ALPHA", unset="15, 0.1 to 1e6"
    )
    clip: bool | None = option(None, "ridge: cut predictions to [0, 1]")

    def __post_init__(self) -> None:
        check(self)
        check_hidden(self.hidden or ())

    @property
    def settings(self) -> dict[str, Any]:
        """What was asked, as arguments of the probe's class."""
        given = {name: getattr(self, name) for name in NAMES}
        return {argument(name): value for name, value in given.items() if value is not None}


NAMES = tuple(field.name for field in fields(Settings))


def argument(name: str) -> str:
    """Return the argument of a probe's class that a setting is given as."""
    return ARGUMENTS.get(name, name)
