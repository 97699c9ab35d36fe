"""What each method can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from embedkit.errors import UsageError

ALL = "all"
AUTO = "auto"
PREP = "pca95"
HDBSCAN_SETTINGS = ("min_cluster_size", "min_samples", "target_noise", "device")
UMAP_SETTINGS = ("n_components", "n_neighbors")
# Names of the fields of `Settings` that mean something to each method of `clustering.methods.METHODS`.
SETTINGS = {
    "kmeans": ("k", "n_init", "spherical", "device"),
    "hdbscan": HDBSCAN_SETTINGS,
    "agglomerative": ("k", "linkage", "device"),
    "gmm": ("k", "n_init", "covariance", "device"),
    "umap+kmeans": ("k", "n_init", *UMAP_SETTINGS, "device"),
    "umap+hdbscan": (*HDBSCAN_SETTINGS, *UMAP_SETTINGS),
    "temi": ("k", "n_heads", "beta", "epochs", "device"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a method is asked for; None leaves it to the method.

    Parameters
    ----------
    k
        Clusters, for methods that are given their number.
    n_init
        Restarts of `KMeans` and `GMM`.
    spherical
        See `KMeans`.
    min_cluster_size, min_samples
        See `HDBSCAN`. A size of ``auto`` is chosen by its relative validity, see `choose_density`, and so is
        `min_samples` then unless it is given.
    target_noise
        Share of the rows that HDBSCAN should leave out: its two sizes are chosen for it.
    linkage
        See `Agglomerative`.
    covariance
        See `GMM`.
    n_components, n_neighbors
        See `UMAP`.
    n_heads, beta, epochs
        See `TEMI`.
    device
        Where it computes: ``auto``, ``cpu`` or ``cuda``.
    """

    k: int | str | None = None
    n_init: int | None = None
    spherical: bool | None = None
    min_cluster_size: int | str | None = None
    min_samples: int | None = None
    target_noise: float | None = None
    linkage: str | None = None
    covariance: str | None = None
    n_components: int | None = None
    n_neighbors: int | None = None
    n_heads: int | None = None
    beta: float | None = None
    epochs: int | None = None
    device: str | None = None


NAMES = tuple(field.name for field in fields(Settings))
# Integers and the least that makes sense; AUTO_TOO may be left to a choice without labels.
LEAST = {
    "k": 1,
    "n_init": 1,
    "min_cluster_size": 2,
    "min_samples": 1,
    "n_components": 1,
    "n_neighbors": 2,
    "n_heads": 1,
    "epochs": 1,
}
AUTO_TOO = ("k", "min_cluster_size")


def flag(name: str) -> str:
    """Return the option of the command that stands for a setting."""
    return "-k" if name == "k" else f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class ClusterOptions(Settings):
    """How to cluster: the `Settings` of the method, which are None unless they are given, and all around it.

    Parameters
    ----------
    method
        A name in `SETTINGS`, or ``all`` for `clustering.compare.compare`.
    prep
        What is done to the features first; see `embedkit.preparing.preparation.Preparation.parse`.
    seed
        Of the restarts, and of resamples and permutations in the scores.
    seeds
        Runs with so many seeds in a row, `seed` the first of them: mean and standard deviation of the scores
        join the metrics, everything else is of the first.
    stability
        Look every cluster up in 20 bootstrap resamples; see `clustering.stability.cluster_stability`.
    explain
        Say why the clustering scores as it does; see `clustering.checks.explain.explain`.
    k
        Number of clusters; by default that of the classes present. ``auto`` picks it from 2 to 12 without
        labels, see `clustering.choose.choose_k`.

    Raises
    ------
    UsageError
        An unknown method, a number out of range, or a setting of another method.
    """

    method: str = "kmeans"
    prep: str = PREP
    seed: int = 0
    seeds: int = 1
    stability: bool = False
    explain: bool = False

    def __post_init__(self) -> None:
        from embedkit.preparing.steps import Preparation

        if self.method not in (*SETTINGS, ALL):
            raise UsageError(f"--method {self.method}: unknown. Give one of {', '.join(SETTINGS)}, or {ALL}.")
        for name in NAMES:
            owners = [method for method, own in SETTINGS.items() if name in own]
            if getattr(self, name) is not None and self.method not in (*owners, ALL):
                raise UsageError(
                    f"{flag(name)} is for --method {' or '.join(owners)}, not {self.method}. Leave it out."
                )
        for name, least in LEAST.items():
            _check_integer(name, getattr(self, name), least)
        if self.target_noise is not None:
            if not 0 <= self.target_noise < 1:
                raise UsageError(
                    f"--target-noise {self.target_noise}: give a share from 0 to less than 1, as in 0.2."
                )
            if self.min_cluster_size is not None or self.min_samples is not None:
                raise UsageError(
                    "--target-noise chooses --min-cluster-size and --min-samples. Leave those two out."
                )
        Preparation.parse(self.prep)
        if self.seed < 0:
            raise UsageError(f"--seed {self.seed}: give an integer of at least 0.")
        if self.seeds < 1:
            raise UsageError(f"--seeds {self.seeds}: give an integer of at least 1.")
        if self.beta is not None and not 0 < self.beta <= 1:
            raise UsageError(f"--beta {self.beta}: give a number above 0 and at most 1.")

    @property
    def settings(self) -> Settings:
        """What the method is asked for, without what stands around it."""
        return Settings(**{name: getattr(self, name) for name in NAMES})

    def of(self, method: str) -> ClusterOptions:
        """Return the options for one method: the settings that it hasn't are left out."""
        left_out: dict[str, Any] = {name: None for name in NAMES if name not in SETTINGS[method]}
        return replace(self, method=method, **left_out)


def _check_integer(name: str, value: Any, least: int) -> None:
    if value is None or (value == AUTO and name in AUTO_TOO):
        return
    if isinstance(value, str) or value < least:
        auto = f", or {AUTO}" if name in AUTO_TOO and isinstance(value, str) else ""
        raise UsageError(f"{flag(name)} {value}: give an integer of at least {least}{auto}.")
