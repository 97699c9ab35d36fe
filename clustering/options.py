"""What each method can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from embedkit.errors import UsageError
from embedkit.options import (
    PREP,
    READS,
    RUNS,
    SELECTION,
    Selection,
    Writes,
    asked,
    check,
    check_seeds,
    device_option,
    flag_of,
    option,
    output_option,
    prep_option,
    seed_option,
    seeds_option,
)

ALL = "all"
AUTO = "auto"
# As many groups as a person names.
FINE = "auto:fine"
# Of what goes by direction: rows at the length of 1, still measured from the origin.
PREP_SPHERICAL = "l2"
HDBSCAN_SETTINGS = (
    "min_cluster_size",
    "min_samples",
    "target_noise",
    "selection",
    "epsilon",
    "allow_single_cluster",
    "device",
)
UMAP_SETTINGS = ("n_components", "n_neighbors")
# Names of the fields of `Settings` that mean something to each method of `clustering.methods.METHODS`.
SETTINGS = {
    "kmeans": ("k", "n_init", "search", "spherical", "device"),
    "hdbscan": HDBSCAN_SETTINGS,
    "agglomerative": ("k", "linkage", "device"),
    "gmm": ("k", "n_init", "covariance", "device"),
    "umap+kmeans": ("k", "n_init", "search", *UMAP_SETTINGS, "device"),
    "umap+hdbscan": (*HDBSCAN_SETTINGS, *UMAP_SETTINGS),
    "temi": ("k", "n_heads", "beta", "epochs", "device"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a method is asked for; None leaves it to the method.

    Parameters
    ----------
    k
        Clusters, for methods that are given their number; by default that of the classes present. ``auto``
        picks it from 2 to 12 without labels, see `clustering.choose.choose_k`; ``auto:fine``
        takes many, to be named, see `clustering.naming.number.fine_k`.
    n_init
        Restarts of `KMeans` and `GMM`.
    search, spherical
        See `KMeans`.
    min_cluster_size, min_samples
        See `HDBSCAN`. A size of ``auto`` is chosen by its relative validity, see `choose_density`, and so is
        `min_samples` then unless it is given.
    target_noise
        Share of the rows that HDBSCAN should leave out: its two sizes are chosen for it.
    selection, epsilon, allow_single_cluster
        How HDBSCAN draws clusters from its tree: the package's ``cluster_selection_method``,
        ``cluster_selection_epsilon`` and ``allow_single_cluster``.
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

    k: int | str | None = option(
        None,
        "clusters, or auto, or auto:fine for many to name; not for hdbscan",
        least=1,
        words=(AUTO, FINE),
        metavar="N|auto|auto:fine",
        unset="the number of classes present",
    )
    n_init: int | None = option(
        None, "kmeans, gmm: restarts", least=1, metavar="N", unset="10 for kmeans, 3 for gmm"
    )
    search: str | None = option(
        None,
        "kmeans: how long to look for a lower inertia",
        choices=("quick", "thorough"),
        unset="thorough up to 5,000 rows and 100 clusters, quick beyond",
    )
    spherical: bool | None = option(None, "kmeans: cluster by direction (cosine)")
    min_cluster_size: int | str | None = option(
        None,
        "hdbscan: fewest rows of a cluster; auto chooses without labels",
        least=2,
        words=(AUTO,),
        metavar="N|auto",
        unset="1 % of the rows",
    )
    min_samples: int | None = option(
        None,
        "hdbscan: neighbours of a core point; more make more noise",
        least=1,
        metavar="N",
        unset="the min cluster size",
    )
    target_noise: float | None = option(
        None,
        "hdbscan: choose both of these so that about this share of the rows is noise, as in 0.2",
        least=0,
        below=1,
        metavar="SHARE",
    )
    selection: str | None = option(
        None,
        "hdbscan: eom, the most persistent clusters, or leaf, the finest",
        choices=("eom", "leaf"),
        unset="eom",
    )
    epsilon: float | None = option(
        None,
        "hdbscan: clusters nearer than this distance, in the prepared space, are one",
        least=0,
        metavar="DISTANCE",
        unset="0",
    )
    allow_single_cluster: bool | None = option(None, "hdbscan: all rows may be one cluster")
    linkage: str | None = option(
        None,
        "agglomerative: what is merged next",
        choices=("ward", "average", "complete", "single"),
        unset="ward",
    )
    covariance: str | None = option(
        None,
        "gmm: shape of the components",
        choices=("full", "tied", "diag", "spherical"),
        unset="full",
    )
    n_components: int | None = option(None, "umap: dimensions", least=1, metavar="N", unset="5")
    n_neighbors: int | None = option(None, "umap: neighbours", least=2, metavar="N", unset="15")
    n_heads: int | None = option(None, "temi: heads trained", least=1, metavar="N", unset="16")
    beta: float | None = option(
        None, "temi: less makes cluster sizes more even", above=0, most=1, unset="0.6"
    )
    epochs: int | None = option(
        None, "temi: passes over the rows", least=1, metavar="N", unset="100, few rows more"
    )
    device: str | None = device_option(None, unset="auto, a GPU if the method can use one")


NAMES = tuple(field.name for field in fields(Settings))


def pca_steps(text: str) -> str:
    """Return the `prep` that a `pca` is short for; raises `UsageError` for anything else."""
    if text.lower() == "none":
        return "none"
    message = (
        f"--pca {text}: give a fraction of the variance between 0 and 1 such as 0.95, a number of components "
        "such as 64, or none."
    )
    try:
        value: float | int = int(text) if re.fullmatch(r"\d+", text) else float(text)
    except ValueError:
        raise UsageError(message) from None
    if not (value >= 1 if isinstance(value, int) else 0 < value < 1):
        raise UsageError(message)
    return f"pca:{value}"


@dataclass(frozen=True)
class ClusterOptions(Settings, Selection):
    """How to cluster: the `Settings` of the method, which are None unless they are given, and all around it.

    Parameters
    ----------
    method
        A name in `SETTINGS`, or ``all`` for every one of them, compared.
    prep
        What is done to the features first; see `embedkit.preparing.preparation.Preparation.parse`. By default
        ``pca95``; with `spherical` ``l2``: a direction is one from the origin, which a PCA moves to the mean
        of the rows.
    pca
        Short for a `prep` of PCA alone.
    seed
        Of the restarts, and of resamples and permutations in the scores.
    seeds
        Runs with so many seeds in a row, `seed` the first of them: mean and standard deviation of the scores
        join the metrics, everything else is of the first.
    stability
        Look every cluster up in 20 bootstrap resamples; see `clustering.stability.cluster_stability`.
    memberships
        How much each row belongs to each cluster, as columns of the assignments: of HDBSCAN the package's
        soft membership vectors, of the other methods what their ROC AUC takes.
    explain
        Say why the clustering scores as it does; see `clustering.checks.explain.explain`.

    Raises
    ------
    UsageError
        An unknown method, a number out of range, or a setting of another method.
    """

    method: str = option("kmeans", "which method, or all of them, compared", choices=(*SETTINGS, ALL))
    prep: str | None = prep_option(None, unset=f"{PREP}; {PREP_SPHERICAL} with --spherical")
    pca: str | None = option(
        None,
        "short for --prep: PCA to a fraction of the variance, or to a number of components",
        metavar="0.95|64|none",
    )
    seed: int = seed_option()
    seeds: int = seeds_option()
    stability: bool = option(False, "how often each cluster comes back in bootstrap resamples")
    memberships: bool = option(False, "how much each row belongs to each cluster, beside the assignments")
    explain: bool = option(False, "say why the clustering scores as it does")

    def __post_init__(self) -> None:
        from embedkit.preparing.steps import Preparation

        check(self)
        check_seeds(self.seed, self.seeds)
        for name in NAMES:
            owners = [method for method, own in SETTINGS.items() if name in own]
            if getattr(self, name) is not None and self.method not in (*owners, ALL):
                raise UsageError(
                    f"{flag_of(name)} is for --method {' or '.join(owners)}, not {self.method}. Leave it out."
                )
        if self.target_noise is not None and (self.min_cluster_size or self.min_samples) is not None:
            raise UsageError(
                "--target-noise chooses --min-cluster-size and --min-samples. Leave those two out."
            )
        if self.pca is not None:
            if self.prep is not None:
                raise UsageError("--pca is short for a --prep. Give one of them.")
            object.__setattr__(self, "prep", pca_steps(self.pca))
            object.__setattr__(self, "pca", None)
        if Preparation.parse(self.preparation).centres and self.spherical:
            raise UsageError(
                f"--spherical goes by the direction from the origin, and --prep {self.preparation} moves the "
                f"origin to the mean of the rows. Leave --prep out (it is {PREP_SPHERICAL} then), or "
                "--spherical."
            )

    @property
    def preparation(self) -> str:
        """What is done to the features first, in words."""
        return (PREP_SPHERICAL if self.spherical else PREP) if self.prep is None else self.prep

    @property
    def settings(self) -> Settings:
        """What the method is asked for, without what stands around it."""
        return Settings(**{name: getattr(self, name) for name in NAMES})

    def of(self, method: str) -> ClusterOptions:
        """Return the options for one method: the settings that it hasn't are left out."""
        left_out: dict[str, Any] = {name: None for name in NAMES if name not in SETTINGS[method]}
        return replace(self, method=method, **left_out)


@dataclass(frozen=True)
class ClusterPlaces:
    """Where a clustering reads and writes what is no feature file.

    Parameters
    ----------
    output
        Folder for results.jsonl, the assignments and the model; from Python, None writes nothing.
    save_model
        File, or folder, for the model; beside the assignments by default.
    apply
        A saved model to assign the rows with, instead of fitting anything.
    """

    output: Path | None = output_option(RUNS, "folder for results.jsonl, assignments and models")
    save_model: Path | None = option(
        None,
        "where the fitted model is kept, for --apply",
        metavar="FILE",
        unset="beside the assignments",
        place=Writes(("a saved clustering",)),
    )
    apply: Path | None = option(
        None, "fit nothing: put a saved model to use on every row", metavar="MODEL", place=READS
    )

    @property
    def results(self) -> Path | None:
        """The file that results are added to."""
        return None if self.output is None else self.output / "results.jsonl"

    def check(self, options: ClusterOptions) -> None:
        """Refuse places that don't go with the options; raises `UsageError`."""
        if self.save_model is not None and options.method == ALL:
            raise UsageError(
                "--save-model is for one method; --method all keeps every model beside its assignments."
            )
        if self.apply is not None:
            unused = [
                flag_of(name) for name in asked(options) if name not in ("seed", "memberships", *SELECTION)
            ]
            unused += ["--save-model"] * (self.save_model is not None)
            if unused:
                raise UsageError(f"--apply takes everything from the model. Leave out {', '.join(unused)}.")
