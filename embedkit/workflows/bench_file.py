"""What a bench shall do: from a TOML file, or from flags that say the same."""

from __future__ import annotations

import hashlib
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedkit.datasets.options import DatasetOptions
from embedkit.errors import EmbedkitError, UsageError
from embedkit.options import declared

PIXELS = "pixels:32"
PROBES, CLUSTERINGS = ("linear", "knn"), ("kmeans",)

# Options of `embedkit extract`, by the names that they have in a bench's file.
DATASET_FLAGS = {name: one.flag for name, one in declared(DatasetOptions).items()} | {
    name: f"--{name.replace('_', '-')}"
    for name in (
        "center_crop",
        "limit",
        "on_error",
        "batch_size",
        "workers",
        "device",
        "precision",
        "storage",
    )
}
BACKBONE_FLAGS = {
    name: f"--{name.replace('_', '-')}"
    for name in (
        *("weights", "adapter", "random_init", "layers", "pool", "views", "seed"),
        *("image_size", "resize", "interpolation"),
    )
}
_PATHS = ("weights", "adapter")
# File systems take 255 bytes, and what is written beside the file has longer names.
LONGEST_NAME = 160


@dataclass(frozen=True)
class Backbone:
    """One backbone and how its features are taken.

    Parameters
    ----------
    name
        As for ``embedkit extract --backbone``.
    options
        Key of `BACKBONE_FLAGS` to value.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The options of ``embedkit extract``."""
        return ["--backbone", self.name, *_words(self.options, BACKBONE_FLAGS)]

    @property
    def file_name(self) -> str:
        """A name for its feature file, which differs where any option does."""
        parts = [self.name, *(f"{key}-{value}" for key, value in self.options.items())]
        name = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(parts)).strip("-.")
        if len(name) > LONGEST_NAME:  # the paths of weights are in it
            name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        return f"{name}.h5"

    @property
    def has_views(self) -> bool:
        """Whether the file will hold view statistics."""
        return self.options.get("views", "1") != "1"

    def random(self) -> Backbone:
        """Return the control: the same architecture and settings with random weights."""
        kept = {key: value for key, value in self.options.items() if key not in _PATHS}
        return Backbone(self.name, kept | {"random_init": "0"})


@dataclass(frozen=True)
class Plan:
    """Everything that a bench shall do.

    Parameters
    ----------
    dataset
        DATASET and its options as words of ``embedkit extract``; empty where there are feature files only.
    backbones
        Features to extract from it.
    features
        Feature files that exist.
    probes, clusterings
        A method each, with options if any: ``kmeans -k 8``.
    preps
        Each is tried with every method; ``default``, or an empty list, leaves every method its own.
    split
        Of the probes; None leaves it to them.
    seeds
        Of the probes' splits and of the clusterings.
    controls
        Whether to add `PIXELS` and the first backbone with random weights.
    reports
        Whether to make a map of every feature file but the controls.
    """

    dataset: tuple[str, ...] = ()
    backbones: tuple[Backbone, ...] = ()
    features: tuple[Path, ...] = ()
    probes: tuple[str, ...] = PROBES
    clusterings: tuple[str, ...] = CLUSTERINGS
    preps: tuple[str, ...] = ()
    split: str | None = None
    seeds: tuple[int, ...] = (0,)
    controls: bool = True
    reports: bool = True

    def __post_init__(self) -> None:
        if not self.dataset and not self.features:
            raise UsageError("nothing to bench: give a dataset, or feature files with --features.")
        if self.backbones and not self.dataset:
            raise UsageError("backbones without a dataset: name the images that they shall work on.")
        names = [backbone.file_name for backbone in self.backbones]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"two backbones that are the same ({name}). Leave one out.")

    @property
    def control_backbones(self) -> tuple[Backbone, ...]:
        """Return the controls that are not among the backbones themselves."""
        if not self.controls or not self.dataset:
            return ()
        found = [Backbone(PIXELS)]
        found += [b.random() for b in self.backbones if not b.name.startswith("pixels:")][:1]
        mine = {backbone.file_name for backbone in self.backbones}
        return tuple(control for control in found if control.file_name not in mine)


def read_plan(path: Path) -> Plan:
    """Read a bench's TOML file.

    Raises
    ------
    EmbedkitError
        No such file, or no TOML.
    UsageError
        An unknown key, or a value of the wrong kind; the message names it.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EmbedkitError(f"{path}: no such file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EmbedkitError(f"{path}: not a TOML file ({error}).") from error
    try:
        return make_plan(document)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def make_plan(document: Mapping[str, Any]) -> Plan:
    """Turn the keys of a bench's file into a `Plan`; raises `UsageError` for what it doesn't know."""
    kinds: dict[str, Callable[[str, Any], Any]] = {
        "dataset": _dataset,
        "backbones": _backbones,
        "features": lambda key, value: tuple(Path(text) for text in _texts(key, value)),
        "probes": _texts,
        "clusterings": _texts,
        "preps": _texts,
        "split": _text,
        "seeds": _seeds,
        "controls": _truth,
        "reports": _truth,
    }
    _check_keys("the bench", document, kinds)
    given = {key: kinds[key](key, value) for key, value in document.items()}
    if given.get("dataset") and "backbones" not in given:
        from embedkit.backbones.options import DEFAULT_BACKBONE

        given["backbones"] = (Backbone(DEFAULT_BACKBONE),)
    return Plan(**given)


def _dataset(key: str, value: Any) -> tuple[str, ...]:
    table = value if isinstance(value, Mapping) else {"source": value}
    _check_keys(f"[{key}]", table, ("source", *DATASET_FLAGS))
    if "source" not in table:
        raise UsageError(f"[{key}] has no source: a folder, a file, or a name of `embedkit datasets`.")
    options = {name: _text(f"{key} {name}", option) for name, option in table.items()}
    return options.pop("source"), *_words(options, DATASET_FLAGS)


def _backbones(key: str, value: Any) -> tuple[Backbone, ...]:
    if not isinstance(value, list):
        raise UsageError(f"{key} = {value!r}: give [[backbones]] tables, or a list of names.")
    found = []
    for number, entry in enumerate(value, start=1):
        table = entry if isinstance(entry, Mapping) else {"name": entry}
        where = f"[[backbones]] {number}"
        _check_keys(where, table, ("name", *BACKBONE_FLAGS))
        if "name" not in table:
            raise UsageError(f"{where} has no name.")
        options = {name: _text(f"{where} {name}", option) for name, option in table.items()}
        found.append(Backbone(options.pop("name"), options))
    return tuple(found)


def _check_keys(where: str, table: Mapping[str, Any], known: Sequence[str] | Mapping[str, Any]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{where} knows no {key!r}. Known: {', '.join(known)}.")


def _words(options: Mapping[str, str], flags: Mapping[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in (flags[name], value)]


def _text(key: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value == "":
        raise UsageError(f"{key} = {value!r}: give one word or number.")
    return str(value)


def _texts(key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UsageError(f"{key} = {value!r}: give a list.")
    texts = tuple(_text(key, item) for item in value)
    for text in texts:
        try:
            shlex.split(text)
        except ValueError as error:
            raise UsageError(f"{key}: {text!r} can't be split into words ({error}).") from error
    return texts


def _seeds(key: str, value: Any) -> tuple[int, ...]:
    seeds = value if isinstance(value, list) else [value]
    if not seeds or not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
        raise UsageError(f"{key} = {value!r}: give a list of whole numbers.")
    return tuple(seeds)


def _truth(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{key} = {value!r}: give true or false.")
    return value
