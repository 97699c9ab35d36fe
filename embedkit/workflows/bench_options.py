"""What a bench can be asked for: as flags, as keys of its TOML file, as keywords."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from embedkit.errors import UsageError
from embedkit.extraction.options import ExtractOptions
from embedkit.images.options import Overrides
from embedkit.options import (
    READS,
    Selection,
    as_in,
    check,
    check_seeds,
    check_split,
    dry_run_option,
    option,
    output_option,
    seed_option,
    seeds_option,
    split_option,
)

PROBES, CLUSTERINGS = ("linear", "knn"), ("kmeans",)
# Among the preparations: every method's own.
DEFAULT = "default"
# What is said once for all extractions.
OF_EXTRACTIONS = ("views", "center_crop", "limit", "engine", "address", "processes")
# Lists that may be empty; `none` among the preparations is one of them.
MAY_BE_NONE = ("probes", "clusterings")


@dataclass(frozen=True)
class BenchOptions(Selection):
    """What is extracted, and what is measured of it.

    Parameters
    ----------
    backbones
        Each a name as ``embedkit extract --backbone`` takes it, ``NAME=FILE`` with a file of weights, or a
        table of ``name`` and options of ``embedkit extract``.
    feature_files
        Feature files that exist.
    probes, clusterings
        A method each, with options if any: ``knn --n-neighbors 20``, or a table of options.
    preps
        Each is tried with every method; ``default``, or an empty list, leaves every method its own.
    split
        Of the probes; None leaves it to them.
    seed, seeds
        Of the probes' splits and of the clusterings.
    controls
        Whether to add raw pixels, and the first backbone with random weights.
    reports
        Whether to make a map of every feature file but the controls.
    views, center_crop, limit, engine, address, processes
        As for ``embedkit extract``, of every backbone.
    """

    backbones: tuple[Any, ...] = option(
        (),
        "timm names, pixels:32, NAME=FILE with a file of weights, ...",
        metavar="A,B,...",
        separator=",",
        tables=True,
    )
    feature_files: tuple[str, ...] = option((), "feature files that exist", metavar="FILE", place=READS)
    views: str | None = as_in(ExtractOptions, "views", None)
    center_crop: int | None = as_in(Overrides, "center_crop", None)
    limit: int | None = as_in(ExtractOptions, "limit", None)
    engine: str | None = as_in(ExtractOptions, "engine", None)
    address: str | None = as_in(ExtractOptions, "address", None)
    processes: int | None = as_in(ExtractOptions, "processes", None)
    controls: bool = option(
        True, "without raw pixels, and without the first backbone with random weights as controls"
    )
    probes: tuple[Any, ...] = option(
        PROBES,
        "a kind each, with options if any: 'linear --refit'; or none",
        metavar="A,B,...",
        separator=",",
        tables=True,
    )
    clusterings: tuple[Any, ...] = option(
        CLUSTERINGS,
        "a method each, with options if any: 'kmeans -k 8'; or none",
        metavar="A,B,...",
        separator=",",
        tables=True,
    )
    preps: tuple[str, ...] = option(
        (),
        "try each with every method: default (each method's own), none, view-whiten, ...",
        metavar="A,B,...",
        separator=",",
    )
    split: str | None = split_option(None, unset="the probe's own")
    seed: int = seed_option()
    seeds: int = seeds_option()
    reports: bool = option(True, "make no map of each feature file")

    def __post_init__(self) -> None:
        for name in MAY_BE_NONE:
            if getattr(self, name) == ("none",):
                object.__setattr__(self, name, ())
        check(self)
        check_seeds(self.seed, self.seeds)
        if self.split is not None:
            check_split(self.split)
        for name in MAY_BE_NONE:
            for text in getattr(self, name):
                _check_words(name, text)

    @property
    def of_images(self) -> dict[str, Any]:
        """The options of every extraction that were given."""
        found = {name: getattr(self, name) for name in OF_EXTRACTIONS}
        return {name: value for name, value in found.items() if value is not None}


def _check_words(name: str, text: Any) -> None:
    try:
        words = shlex.split(text) if isinstance(text, str) else [text]
    except ValueError as error:
        raise UsageError(f"{name}: {text!r} can't be split into words ({error}).") from error
    if not words:
        raise UsageError(f"{name}: an empty word. Give a method, such as {PROBES[0]}.")


@dataclass(frozen=True)
class BenchPlaces:
    """Where a bench writes.

    Parameters
    ----------
    output
        Folder of all that it makes.
    dry_run
        Only say what would be done.
    """

    output: Path = output_option(Path("runs/bench"), "folder for all that it makes")
    dry_run: bool = dry_run_option()


NAMES = tuple(one.name for one in fields(BenchOptions))
