"""From images and backbones to a leaderboard, in one call that can be resumed."""

from __future__ import annotations

import html
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embedkit import console
from embedkit.backbones.options import BackboneSpec
from embedkit.datasets.options import DatasetOptions
from embedkit.errors import EmbedkitError, UsageError
from embedkit.extraction.options import ExtractOptions
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.lock import folder_locked
from embedkit.files.results import Result
from embedkit.files.store import FeatureFile
from embedkit.images.options import Overrides
from embedkit.options import Writes, as_words, asked
from embedkit.workflows.bench_file import Plan, plan_of, read_plan
from embedkit.workflows.bench_index import INDEX, write_index
from embedkit.workflows.bench_options import DEFAULT, BenchOptions, BenchPlaces
from embedkit.workflows.bench_run import Running
from embedkit.workflows.step import Step

LEADERBOARDS = ("leaderboard.md", "leaderboard.json", "leaderboard.html")


@dataclass(frozen=True)
class Source:
    """A feature file of the bench.

    Parameters
    ----------
    path
        Where it is, or will be.
    extract
        The step that makes it; None where it exists.
    has_views
        Whether it holds view statistics.
    control
        Whether the bench added it as a control.
    file
        The open file, where it exists.
    """

    path: Path
    extract: Step | None = None
    has_views: bool = False
    control: bool = False
    file: FeatureFile | None = None


@dataclass(frozen=True)
class BenchRun:
    """What a bench did.

    Parameters
    ----------
    output
        Folder of all that it made.
    steps
        Every step, as a command without ``embedkit``.
    done, failed
        Those that ended well now, and that didn't.
    n_before
        Steps that an earlier run had finished.
    results
        All results in the folder.
    board
        The ranked leaderboard; None where there is nothing to rank.
    index
        The page that leads to all others.
    """

    output: Path
    steps: tuple[tuple[str, ...], ...]
    done: tuple[tuple[str, ...], ...] = ()
    failed: tuple[tuple[str, ...], ...] = ()
    n_before: int = 0
    results: tuple[Result, ...] = ()
    board: Any = None
    index: Path | None = None

    def to_pandas(self) -> Any:
        """Return the leaderboard as a data frame; None where there is nothing to rank."""
        return None if self.board is None else self.board.to_pandas()

    @property
    def facts(self) -> str:
        """What was done, on one line."""
        counts = f"{len(self.done)} steps done, {self.n_before} before, {len(self.failed)} failed."
        return f"{self.output}: {counts}"

    def __repr__(self) -> str:
        return self.facts if self.board is None else f"{self.board}\n{self.facts}"

    def _repr_html_(self) -> str:
        done = f"<p>{html.escape(self.facts)}</p>"
        return done if self.board is None else self.board._repr_html_() + done


@guarded()
def bench(
    dataset: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    options: BenchOptions = BenchOptions(),
    images: DatasetOptions = DatasetOptions(),
    places: BenchPlaces = BenchPlaces(),
) -> BenchRun:
    """Extract, cluster, probe and rank; called again, it goes on where it was stopped.

    Parameters
    ----------
    dataset
        What ``embedkit extract`` takes, a table of ``source`` and its options, or a TOML file that says all;
        None with feature files alone.
    options
        What is extracted and measured.
    images
        Options of the dataset.
    places
        The folder.

    Raises
    ------
    UsageError
        Something unknown, or options beside a TOML file.
    EmbedkitError
        A feature file that can't be read. A step that fails stops no other: see `BenchRun.failed`.
    """
    images = replace(images, labels=None)  # the measures look at them, and the features are of the images
    plan = _plan(dataset, options, images)
    output = Path(places.output)
    found = sources(plan, output)
    measured = {source.path: measurements(plan, source, output) for source in found}
    pages = list(reports(plan, found, output))
    steps = [source.extract for source in found if source.extract is not None]
    steps += [step for source in found for step in measured[source.path]]
    ranking = boards(output)
    steps += [step for _, step in pages] + ranking
    _say_left_out(plan, found)
    _check_outputs(plan, found, steps, images)
    check_outputs("-o", {output / INDEX: Writes(("an HTML page",))}, plan.dataset, images)
    commands = tuple(step.command for step in steps)
    if places.dry_run:
        for source in found:
            if source.extract is not None:
                _check_extract(source.extract)
        return BenchRun(output, commands)
    files = {source.path: source.file for source in found if source.file is not None}
    with folder_locked(output, "benching"), Running(output, len(steps), files) as running:
        for source in found:
            _measure(running, source, measured[source.path])
        for source, step in pages if running.results else ():
            if source.path in running.files:
                running.draw(step, running.open(source.path))
            else:
                running.skip(1)
        board = running.rank(ranking)
        index = None
        if board is not None:
            made_by = _command(dataset, options, images, places)
            index = write_index(output, [entry.result for entry in board.entries], command=made_by)
    running.say_end()
    return BenchRun(
        output,
        commands,
        tuple(step.command for step in running.done),
        tuple(step.command for step in running.failed),
        running.n_before,
        tuple(result for _, result in running.results),
        board,
        index,
    )


def _command(dataset: Any, options: BenchOptions, images: DatasetOptions, places: BenchPlaces) -> str:
    named = dataset.get("source") if isinstance(dataset, Mapping) else dataset
    source = [] if named is None else [str(named)]
    if isinstance(options, BenchOptions) and any(
        isinstance(one, Mapping) for one in (*options.backbones, *options.probes, *options.clusterings)
    ):  # tables have no words
        return shlex.join(["embedkit", "bench", *source, *as_words(places)])
    return shlex.join(["embedkit", "bench", *source, *as_words(options, images, places)])


def _check_extract(step: Step) -> None:
    """Refuse what ``embedkit extract`` would refuse, but for weights that don't fit.

    Raises
    ------
    UsageError
        An unknown dataset or backbone, a file of weights or an adapter that is not there, or a pooling,
        layers or a size that the network doesn't have; the message names the command.
    """
    from embedkit.backbones.load import check_backbone
    from embedkit.backbones.pooling import check_pooling
    from embedkit.datasets.load import open_dataset

    spec = next(one for one in step.options if isinstance(one, BackboneSpec))
    images = next(one for one in step.options if isinstance(one, DatasetOptions))
    overrides = next(one for one in step.options if isinstance(one, Overrides))
    options = next(one for one in step.options if isinstance(one, ExtractOptions))
    try:
        open_dataset(step.inputs[0], images)
        check_backbone(spec)
        check_pooling(replace(spec, preprocessing=overrides), pool=options.pool, layers=options.layers)
    except EmbedkitError as error:
        raise UsageError(f"{error} So `{step}` would fail.") from error


def _check_outputs(
    plan: Plan, found: Sequence[Source], steps: Sequence[Step], images: DatasetOptions
) -> None:
    """Hold the files that the steps name against all that is read; each step does so again for its own."""
    drawn = [options for step in steps if step.verb in ("report", "leaderboard") for options in step.options]
    written = [Path(one.output) for one in drawn if getattr(one, "output", None) is not None]
    written += [source.path for source in found if source.extract is not None]
    read = [source.path for source in found if source.extract is None]
    extractions = [options for source in found if source.extract for options in source.extract.options]
    check_outputs("-o", {path: Writes() for path in written}, plan.dataset, images, read, *extractions)


def _plan(dataset: Any, options: BenchOptions, images: DatasetOptions) -> Plan:
    """Read the plan from the TOML file, or make it of the options; refuses both at once."""
    if isinstance(dataset, (str, Path)) and str(dataset).endswith(".toml"):
        if given := asked(options, images):
            raise UsageError(f"{dataset} says what to do: write {given[0]} there, not as a flag.")
        return read_plan(Path(dataset))
    return plan_of(dataset, options, {name: getattr(images, name) for name in asked(images)})


def sources(plan: Plan, output: Path) -> list[Source]:
    """Return the feature files of a bench: those to extract, the controls, and those that are there.

    Raises
    ------
    EmbedkitError
        A feature file that can't be read.
    """
    found = []
    for backbone in (*plan.backbones, *plan.control_backbones):
        path = output / "features" / backbone.file_name
        step = plan.extraction(backbone, path)
        found.append(Source(path, step, backbone.has_views, backbone in plan.control_backbones))
    for name in plan.options.feature_files:
        file = FeatureFile(name)
        found.append(Source(file.path, has_views=file.n_views > 1, file=file))
    return found


def measurements(plan: Plan, source: Source, output: Path) -> list[Step]:
    """Return the clusterings and probes of one feature file.

    A preparation that works on views is left out where the file has none.
    """
    return [step for step in plan.measures(source.path, output) if fits(step, source)]


def fits(step: Step, source: Source) -> bool:
    """Whether a step's preparation can work on a feature file."""
    from embedkit.preparing.steps import Preparation

    prep = next(options.prep for options in step.options if hasattr(options, "prep"))
    return source.has_views or prep is None or not Preparation.parse(prep).uses_views


def _say_left_out(plan: Plan, found: Sequence[Source]) -> None:
    from embedkit.preparing.steps import Preparation

    for text in plan.options.preps:
        without = [source.path.name for source in found if not source.has_views]
        if text != DEFAULT and without and Preparation.parse(text).uses_views:
            console.note(f"{text} is left out, for want of views, on {', '.join(without)}.")


def reports(plan: Plan, found: Sequence[Source], output: Path) -> Iterator[tuple[Source, Step]]:
    """Yield the feature files to make a map of, each with the step; controls have none."""
    taken: list[str] = []
    for source in found if plan.options.reports else ():
        if not source.control:
            taken.append(source.path.stem)
            n = taken.count(source.path.stem)
            page = output / f"{source.path.stem}{f'-{n}' if n > 1 else ''}.html"
            yield source, Step.make("report", source.path, runs=output, output=page, **plan.options.selected)


def boards(output: Path) -> list[Step]:
    """Return the steps that write the leaderboard."""
    return [Step.make("leaderboard", output, output=output / name) for name in LEADERBOARDS]


def _measure(running: Running, source: Source, steps: Sequence[Step]) -> None:
    if source.extract is not None and not running.extract(source.extract, source.path):
        running.skip(len(steps))
        return
    file = running.open(source.path)
    for step in steps:
        labelled = any(getattr(options, "labels", None) for options in step.options)
        if step.verb == "probe" and not (labelled or _has_labels(file)):
            running.leave_out(step, "no labels stored")
        else:
            running.measure(step if labelled or _has_classes(file) else _choosing_k(step), file)


def _has_labels(file: FeatureFile) -> bool:
    rows = file.rows
    return rows.targets is not None or _has_classes(file)


def _has_classes(file: FeatureFile) -> bool:
    labels = file.rows.labels
    return labels is not None and bool((labels >= 0).any())


def _choosing_k(step: Step) -> Step:
    """Have the number of clusters chosen where it would be that of the classes, and there are none."""
    if step.verb != "cluster" or any(getattr(options, "k", None) is not None for options in step.options):
        return step
    try:
        return step.given(k="auto")
    except UsageError:  # of a method that finds it by itself
        return step
