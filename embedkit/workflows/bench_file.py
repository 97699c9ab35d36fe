"""What a bench shall do: from a TOML file, or from options that say the same."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embedkit.backbones.options import DEFAULT_BACKBONE
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.regular import read_bytes
from embedkit.options import asked, from_mapping
from embedkit.workflows.bench_options import DEFAULT, NAMES, BenchOptions
from embedkit.workflows.step import Step

PIXELS = "pixels:32"
MOST_BYTES = 2**24
# File systems take 255 bytes, and what is written beside the file has longer names.
LONGEST_NAME = 160
# Options of a method that the bench sets itself.
OF_THE_BENCH = {
    "seed": "the seed is the bench's own; give it there",
    "output": "the folder is the bench's own; give it there",
    "apply": "a bench fits every method; apply a saved model by itself",
}
# Options of an extraction that mean nothing in a bench, which names the backbone and needs the whole file.
NOT_OF_A_BENCH = ("backbone", "dry_run", "plan", "shard")
# Those that name a file or a folder.
FILES = ("weights", "adapter")


@dataclass(frozen=True)
class Backbone:
    """One backbone and how its features are taken.

    Parameters
    ----------
    name
        As for ``embedkit extract --backbone``.
    options
        Option of ``embedkit extract`` to value.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """A name for its feature file, which differs where any option does.

        Of a file of weights it has the name and a few digits that stand for its folder.
        """
        parts = [_named(key, value) for key, value in self.options.items()]
        # A file of weights is often named after its network, and then says it once.
        if not (parts and next(iter(self.options)) in FILES and parts[0].startswith(self.name)):
            parts = [self.name, *parts]
        name = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(parts)).strip("-.")
        if len(name) > LONGEST_NAME:
            name = f"{name[:LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        return f"{name}.h5"

    @property
    def has_views(self) -> bool:
        """Whether the file will hold view statistics."""
        return str(self.options.get("views", "1")) != "1"

    def random(self) -> Backbone:
        """Return the control: the same architecture and settings with random weights."""
        kept = {key: value for key, value in self.options.items() if key not in ("weights", "adapter")}
        return Backbone(self.name, kept | {"random_init": 0})


def _named(key: str, value: Any) -> str:
    """Return the part of a file's name that stands for one option."""
    if key not in FILES:
        return f"{key}-{value}"
    digest = hashlib.sha256(os.path.abspath(value).encode()).hexdigest()[:4]  # noqa: PTH100 - links stay
    return f"{Path(value).stem}-{digest}"


@dataclass(frozen=True)
class Plan:
    """Everything that a bench shall do.

    Parameters
    ----------
    options
        What is measured.
    dataset
        As ``embedkit extract`` takes it; empty where there are feature files only.
    images
        Options of ``embedkit extract`` for every backbone.
    backbones
        Features to extract from it.
    """

    options: BenchOptions
    dataset: str = ""
    images: Mapping[str, Any] = field(default_factory=dict)
    backbones: tuple[Backbone, ...] = ()

    def __post_init__(self) -> None:
        if not self.dataset and not self.options.feature_files:
            raise UsageError("nothing to bench: give a dataset, or feature files with --feature-files.")
        if self.backbones and not self.dataset:
            raise UsageError("backbones without a dataset: name the images that they shall work on.")
        names = [backbone.file_name for backbone in self.backbones]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"two backbones that are the same ({name}). Leave one out.")

    @property
    def control_backbones(self) -> tuple[Backbone, ...]:
        """Return the controls that are not among the backbones themselves."""
        if not self.options.controls or not self.dataset:
            return ()
        found = [Backbone(PIXELS)]
        found += [b.random() for b in self.backbones if not b.name.startswith("pixels:")][:1]
        mine = {backbone.file_name for backbone in self.backbones}
        return tuple(control for control in found if control.file_name not in mine)

    def extraction(self, backbone: Backbone, path: Path) -> Step:
        """Return the step that makes a feature file."""
        given = {**self.images, **backbone.options, "backbone": backbone.name}
        return replace(Step.make("extract", self.dataset, **given), output=str(path))

    def measures(self, path: Path, output: Path) -> Iterator[Step]:
        """Yield every clustering and probe of a feature file, by method, preparation and seed."""
        plan = self.options
        preps = [None if text == DEFAULT else text for text in plan.preps] or [None]
        preps.sort(key=lambda prep: prep is not None)
        for step in self._methods(path):
            of_rows = {n: v for n, v in plan.selected.items() if n not in asked(*step.options)}
            for prep in preps:
                for seed in range(plan.seed, plan.seed + plan.seeds):
                    changes: dict[str, Any] = {"seed": seed, "output": output, **of_rows}
                    yield step.given(**changes, **({} if prep is None else {"prep": prep}))

    def _methods(self, path: Path) -> Iterator[Step]:
        for text in self.options.clusterings:
            yield _method("cluster", "method", path, text)
        for text in self.options.probes:
            step = _method("probe", "kind", path, text)
            yield step.given(split=self.options.split) if self.options.split else step


def _method(verb: str, name: str, path: Path, text: Any) -> Step:
    if isinstance(text, Mapping):
        step = Step.make(verb, path, where=f"{verb} {dict(text)}", **text)
    else:
        step = Step.parse(verb, [path], [f"--{name}", *shlex.split(text)])
    for option in asked(*step.options):
        if option in OF_THE_BENCH:
            raise UsageError(f"{verb} {text}: {OF_THE_BENCH[option]}.")
    return step


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
        text = read_bytes(path, "Name a TOML file.", at_most=MOST_BYTES).decode("utf-8")
        document = tomllib.loads(text)
    except FileNotFoundError:
        raise EmbedkitError(f"{path}: no such file.") from None
    except (ValueError, RecursionError) as error:
        raise EmbedkitError(f"{path}: not a TOML file ({error}).") from error
    try:
        return make_plan(document)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def make_plan(document: Mapping[str, Any]) -> Plan:
    """Turn the keys of a bench's file into a `Plan`; raises `UsageError` for what it doesn't know."""
    given = dict(document)
    dataset = given.pop("dataset", None)
    for key in given:
        if key not in NAMES:
            raise UsageError(f"the bench knows no {key!r}. Known: dataset, {', '.join(NAMES)}.")
    for key in ("backbones", "feature_files", "probes", "clusterings", "preps"):
        if key in given and not isinstance(given[key], (list, tuple)):
            raise UsageError(f"{key} = {given[key]!r}: give a list.")
    if isinstance(given.get("seeds"), (list, tuple)):
        raise UsageError(
            f"seeds = {given['seeds']!r}: give their number, as in seeds = 5, and the first as seed = 0."
        )
    return plan_of(dataset, from_mapping(BenchOptions, given, "the bench"))


def plan_of(dataset: Any, options: BenchOptions, of_dataset: Mapping[str, Any] | None = None) -> Plan:
    """Make the plan of a dataset, a text or a table with ``source`` and options, and of what is asked.

    Raises
    ------
    UsageError
        Something unknown, or nothing to do.
    """
    if dataset is not None and not isinstance(dataset, (str, Path, Mapping)):
        raise UsageError(f"dataset = {dataset!r}: give one word, or a table with source and options.")
    table: dict[str, Any] = {"source": dataset} if isinstance(dataset, (str, Path)) else dict(dataset or {})
    table.update(of_dataset or {})
    source = str(table.pop("source", ""))
    if table and not source:
        listed = ", ".join(table)
        raise UsageError(
            f"[dataset] has no source: a folder, a file, or a name of `embedkit datasets` ({listed})."
            if dataset
            else f"{listed} without a dataset: name the images."
        )
    images = {**options.of_images, **table}
    views = {"views": images.pop("views")} if "views" in images else {}
    if not source and (images or views):
        raise UsageError(f"{', '.join([*images, *views])} without a dataset: name the images.")
    named = options.backbones or ((DEFAULT_BACKBONE,) if source else ())
    backbones = tuple(_backbone(number, one, views) for number, one in enumerate(named, start=1))
    plan = Plan(options, source, images, backbones)
    _check_extraction(source, "[dataset]", images)
    for number, backbone in enumerate(backbones, start=1):
        _check_extraction(source, f"[[backbones]] {number}", backbone.options)
    return plan


def _check_extraction(source: str, where: str, given: Mapping[str, Any]) -> None:
    for name in NOT_OF_A_BENCH:
        if name in given:
            raise UsageError(f"{where}: {name} has no meaning in a bench. Leave it out.")
    Step.make("extract", source, where=where, **given)


def _of_word(word: str) -> dict[str, Any]:
    """Read ``NAME``, or ``NAME=FILE`` of a backbone with a file of weights."""
    if word.startswith("local-dir:"):
        return {"name": word}
    name, equals, weights = word.partition("=")
    if equals and not (name and weights):
        raise UsageError(f"{word!r} in backbones: give NAME, or NAME=FILE with a file of weights.")
    return {"name": name, "weights": weights} if equals else {"name": word}


def _backbone(number: int, entry: Any, shared: Mapping[str, Any]) -> Backbone:
    table = dict(entry) if isinstance(entry, Mapping) else _of_word(str(entry))
    if "name" not in table:
        raise UsageError(f"[[backbones]] {number} has no name.")
    return Backbone(str(table.pop("name")), {**shared, **table})
