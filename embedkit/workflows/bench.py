"""`embedkit bench`: from images and backbones to a leaderboard, in one command that can be resumed."""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit import cli, console
from embedkit.backbones.options import BackboneSpec
from embedkit.cli import Handler
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.results import RESULTS_FILE, read_results
from embedkit.options import declared, from_flags
from embedkit.workflows.bench_file import Plan, make_plan, read_plan
from embedkit.workflows.bench_journal import Journal

if TYPE_CHECKING:
    from embedkit.preparing.steps import Preparation

OUTPUT = Path("runs/bench")
LEADERBOARDS = ("leaderboard.md", "leaderboard.json", "leaderboard.html")
# Among the preparations: every method's own.
DEFAULT = "default"


@dataclass(frozen=True)
class Source:
    """A feature file of the bench.

    Parameters
    ----------
    path
        Where it is, or will be.
    extract
        The command that makes it; empty where it exists.
    has_views
        Whether it holds view statistics.
    control
        Whether the bench added it as a control.
    """

    path: Path
    extract: tuple[str, ...] = ()
    has_views: bool = False
    control: bool = False


def sources(plan: Plan, output: Path) -> list[Source]:
    """Return the feature files of a bench: those to extract, the controls, and those that are there.

    Raises
    ------
    EmbedkitError
        A feature file that can't be read.
    """
    from embedkit.files.store import FeatureFile

    found = []
    for backbone in (*plan.backbones, *plan.control_backbones):
        path = output / "features" / backbone.file_name
        command = ("extract", *plan.dataset, *backbone.words, "-o", str(path))
        found.append(Source(path, command, backbone.has_views, backbone in plan.control_backbones))
    for path in plan.features:
        with FeatureFile(path) as file:
            found.append(Source(path, has_views=file.n_views > 1))
    return found


def measurements(plan: Plan, source: Source, output: Path) -> list[tuple[str, ...]]:
    """Return the clusterings and probes of one feature file, as commands.

    A preparation that works on views is left out where the file has none.
    """
    preps: list[list[str]] = [[]] if not plan.preps or DEFAULT in plan.preps else []
    preps += [["--prep", p.name] for p in _preparations(plan) if fits(p, source)]
    methods = [("cluster", ["--method", *shlex.split(text)]) for text in plan.clusterings]
    split = ["--split", plan.split] if plan.split else []
    methods += [("probe", ["--kind", *shlex.split(text), *split]) for text in plan.probes]
    return [
        (verb, str(source.path), *words, *prep, "--seed", str(seed), "-o", str(output))
        for verb, words in methods
        for prep in preps
        for seed in plan.seeds
    ]


def fits(preparation: Preparation, source: Source) -> bool:
    """Whether a preparation can work on a feature file."""
    return source.has_views or not preparation.uses_views


def _preparations(plan: Plan) -> list[Preparation]:
    from embedkit.preparing.steps import Preparation

    return [Preparation.parse(text) for text in plan.preps if text != DEFAULT]


def reports(plan: Plan, found: Sequence[Source], output: Path) -> Iterator[tuple[Source, tuple[str, ...]]]:
    """Yield the feature files to make a map of, each with the command; controls have none."""
    taken: list[str] = []
    for source in found if plan.reports else ():
        if not source.control:
            taken.append(source.path.stem)
            n = taken.count(source.path.stem)
            page = output / f"{source.path.stem}{f'-{n}' if n > 1 else ''}.html"
            yield source, ("report", str(source.path), "--runs", str(output), "-o", str(page))


def boards(output: Path) -> list[tuple[str, ...]]:
    """Return the commands that write the leaderboard."""
    return [("leaderboard", str(output), "-o", str(output / name)) for name in LEADERBOARDS]


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit bench`."""
    add_dataset_flags(parser, optional=True)
    parser.description = (
        "Extract, cluster, probe and rank. Give DATASET and flags, or one TOML file in its place; started "
        "again, the same command goes on where it was stopped."
    )
    group = parser.add_argument_group("features")
    unset: dict[str, Any] = {"default": argparse.SUPPRESS}  # what is not given is left to the plan
    group.add_argument(
        "--backbones", metavar="A,B,...", type=_list, help="timm names, pixels:32, ...", **unset
    )
    group.add_argument("--views", help="1, rot4, d4 or galaxy:N, for each backbone", **unset)
    group.add_argument(
        "--center-crop", type=int, metavar="PX", help="keep the central source pixels", **unset
    )
    group.add_argument("--limit", type=int, metavar="N", help="take this many images", **unset)
    group.add_argument("--features", nargs="+", metavar="FILE", help="feature files that exist", **unset)
    group.add_argument(
        "--no-controls",
        dest="controls",
        action="store_false",
        help="without raw pixels, and without the first backbone with random weights",
        **unset,
    )
    group = parser.add_argument_group(
        "measuring (lists with commas; a method may have options: 'kmeans -k 8')"
    )
    group.add_argument("--probes", type=_list, metavar="A,B", help="or none (default: linear,knn)", **unset)
    group.add_argument("--clusterings", type=_list, metavar="A,B", help="or none (default: kmeans)", **unset)
    group.add_argument(
        "--preps",
        type=_items,  # none is a preparation, not an empty list
        metavar="A,B",
        help="try each: default (each method's own),none,view-whiten,...",
        **unset,
    )
    group.add_argument("--split", metavar="HOW", help="as in embedkit probe --split", **unset)
    group.add_argument("--seeds", type=_integers, metavar="0,1,...", help="(default: 0)", **unset)
    group.add_argument(
        "--no-reports", dest="reports", action="store_false", help="make no map of each feature file", **unset
    )
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help="folder for all that it makes")
    parser.add_argument("--dry-run", action="store_true", help="print the commands, and stop")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return run


def _list(text: str) -> list[str]:
    return [] if text == "none" else _items(text)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")]


def _integers(text: str) -> list[int]:
    return [int(item) for item in text.split(",")]


def plan_from_args(args: argparse.Namespace) -> Plan:
    """Read the plan from the TOML file, or from the flags; refuses both at once."""
    given = {k: v for k, v in vars(args).items() if k not in ("dataset", "output", "dry_run", "json")}
    if args.dataset is not None and args.dataset.endswith(".toml"):
        if given:
            name = next(iter(given))
            raise UsageError(f"{args.dataset} says what to do: write {name} there, not as a flag.")
        return read_plan(Path(args.dataset))
    of_dataset = {name: given.pop(name) for name in declared(DatasetOptions) if name in given}
    if "target_columns" in of_dataset:
        of_dataset["target_columns"] = ",".join(of_dataset["target_columns"])
    of_dataset |= {name: given.pop(name) for name in ("center_crop", "limit") if name in given}
    if args.dataset is not None:
        given["dataset"] = {"source": args.dataset, **of_dataset}
    elif of_dataset:
        raise UsageError(f"{', '.join(of_dataset)} without a dataset: name the images.")
    views = {"views": given.pop("views")} if "views" in given else {}
    if views and "backbones" not in given:
        raise UsageError("--views without --backbones: name them.")
    if "backbones" in given:
        given["backbones"] = [{"name": name, **views} for name in given["backbones"]]
    return make_plan(given)


def run(args: argparse.Namespace) -> int:
    """Run `embedkit bench`."""
    plan, output = plan_from_args(args), args.output
    found = sources(plan, output)
    commands: list[tuple[str, ...]] = [source.extract for source in found if source.extract]
    commands += [command for source in found for command in measurements(plan, source, output)]
    commands += [command for _, command in reports(plan, found, output)] + boards(output)
    for command in commands:
        cli.check(command)
    for preparation in _preparations(plan):
        without = [source.path.name for source in found if not fits(preparation, source)]
        if without:
            console.note(f"{preparation.name} is left out, for want of views, on {', '.join(without)}.")
    if args.dry_run:
        if args.json:
            console.print_json({"commands": commands})
        else:
            print("\n".join(f"embedkit {shlex.join(command)}" for command in commands))
        return 0
    bench = Bench(output, len(commands))
    ready: list[Source] = []
    for source in found:
        if source.extract and not bench.extract(source.extract, source.path):
            bench.number += len(measurements(plan, source, output))
            continue
        ready.append(source)
        for command in measurements(plan, source, output):
            bench.measure(command, source.path)
    for source, command in reports(plan, found, output):
        if source in ready and bench.results.exists():
            bench.measure(command, source.path)
        else:
            bench.number += 1
    if bench.results.exists():
        for command in boards(output):
            bench.run(command)
        if not args.json:
            cli.main(["leaderboard", str(output)])
    _print_done(bench, as_json=args.json)
    return cli.EXIT_FAILED if bench.failed else 0


@dataclass
class Bench:
    """Runs the steps, and knows which of them were finished before.

    Parameters
    ----------
    output
        Folder of everything that is made.
    total
        Number of steps.
    number
        Of the current step.
    done, failed
        Commands that ran well, and that didn't.
    n_before
        Steps that were finished by an earlier run.
    """

    output: Path
    total: int
    number: int = 0
    done: list[tuple[str, ...]] = field(default_factory=list)
    failed: list[tuple[str, ...]] = field(default_factory=list)
    n_before: int = 0
    _fingerprints: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        """Where the measurements are written."""
        return self.output / RESULTS_FILE

    @cached_property
    def _journal(self) -> Journal:
        return Journal(self.output)

    def run(self, command: tuple[str, ...]) -> bool:
        """Run one command, its tables unseen; returns whether it ended well."""
        self.number += 1
        console.note(f"\n[{self.number}/{self.total}] embedkit {shlex.join(command)}")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                code = cli.main(command)
        except Exception:  # of a library, such as a GPU out of memory: the other steps go on
            traceback.print_exc(file=sys.stderr)
            code = cli.EXIT_FAILED
        if code == cli.EXIT_INTERRUPTED:
            raise SystemExit(code)  # the step has said so
        (self.failed if code else self.done).append(command)
        return not code

    def extract(self, command: tuple[str, ...], features: Path) -> bool:
        """Extract, unless the journal has that file of the same images and weights; loads no model then."""
        from embedkit.files.store import file_sha256

        try:
            inputs = self._read_by(command)
        except (EmbedkitError, OSError):
            return self.run(command)  # which says what is missing
        made = self._journal.made(command, inputs)
        if made is not None and features.exists() and made == (file_sha256(features),):
            self.number += 1
            self.n_before += 1
            return True
        if not self.run(command):
            return False
        self._journal.add(command, inputs, [file_sha256(features)])
        return True

    def _read_by(self, command: tuple[str, ...]) -> list[str]:
        """Return the dataset's fingerprint, and the SHA-256 of the weights and adapter that are named."""
        from embedkit.files.store import file_sha256

        args = cli.check(command)
        words = tuple(command[1 : command.index("--backbone")])
        if words not in self._fingerprints:
            self._fingerprints[words] = open_dataset(
                args.dataset, from_flags(DatasetOptions, args)
            ).fingerprint
        spec = from_flags(BackboneSpec, args)
        adapter = sorted(spec.adapter.rglob("*")) if spec.adapter else []
        files = [path for path in (spec.weights, *adapter) if path is not None and path.is_file()]
        return [self._fingerprints[words], *(file_sha256(path) for path in files)]

    def measure(self, command: tuple[str, ...], features: Path) -> None:
        """Run a command that reads a feature file, unless the journal has it."""
        from embedkit.files.store import file_sha256

        is_report = command[0] == "report"
        inputs = [file_sha256(path) for path in (features, *([self.results] if is_report else []))]
        before = self._named()
        made = self._journal.made(command, inputs)
        known = made is not None and (is_report or set(made) <= set(before))
        if made is not None and known and all((self.output / name).exists() for name in made):
            self.number += 1
            self.n_before += 1
            return
        if self.run(command):
            new = [Path(command[-1]).name] if is_report else self._named()[len(before) :]
            self._journal.add(command, inputs, new)

    def _named(self) -> list[str]:
        """Names of the predictions and assignments in the results, in their order."""
        if not self.results.exists():
            return []
        found = [result.provenance for result in read_results(self.results)]
        return [str(p[key]) for p in found for key in ("predictions", "assignments") if key in p]


def _print_done(bench: Bench, *, as_json: bool) -> None:
    if as_json:
        console.print_json(
            {
                "output": str(bench.output),
                "done": bench.done,
                "n_finished_before": bench.n_before,
                "failed": bench.failed,
            }
        )
    before = f", {bench.n_before} were finished before" if bench.n_before else ""
    console.note(f"\n{len(bench.done)} steps done{before}. Everything is in {bench.output}.")
    if bench.failed:
        console.note(f"{len(bench.failed)} failed, each with its reason above:")
        for command in bench.failed:
            console.note(f"  embedkit {shlex.join(command)}")
