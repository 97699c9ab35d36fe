"""The steps of a bench as they are done: which were finished before, what each found, which failed."""

from __future__ import annotations

import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit import console
from embedkit.computing.interrupts import raise_if_received
from embedkit.errors import EmbedkitError, message_of
from embedkit.files.results import RESULTS_FILE, Result, locate_results
from embedkit.files.standing import done_again
from embedkit.files.store import FeatureFile, file_sha256
from embedkit.options import Selection
from embedkit.workflows.bench_journal import Journal
from embedkit.workflows.step import Step

if TYPE_CHECKING:
    from embedkit.datasets.dataset import Dataset

Located = tuple[Path, Result]

NO_OVERWRITE = "A bench has no --overwrite: run this step with it, or give the bench another -o."


class Running:
    """A bench under way.

    Parameters
    ----------
    output
        Folder of everything that is made.
    total
        Number of steps.
    files
        Feature files that are open, by path; closed at the end.

    Attributes
    ----------
    number
        Of the current step.
    done, failed
        Steps that ended well, and that didn't.
    n_before
        Steps that were finished by an earlier run.
    results
        Every result in the folder, each with the folder, as its lines stand: read once, then added to.
    """

    def __init__(self, output: Path, total: int, files: dict[Path, FeatureFile]) -> None:
        self.output, self.total = output, total
        self.number = self.n_before = 0
        self.done: list[Step] = []
        self.failed: list[Step] = []
        self.files = files
        self._datasets: dict[str, Dataset] = {}
        self._journal = Journal(output)
        path = output / RESULTS_FILE
        self.results = locate_results(path, missing_ok=True)

    def rank(self, steps: Sequence[Step]) -> Any:
        """Rank all results once and write the leaderboard in each form; returns it, None without results."""
        if not self.results:
            return None
        first, *others = steps
        board = self.run(first, lambda: first.call(self.results, files=self.files.values()))
        for step in others if board is not None else ():
            self.run(step, partial(board.write, step.options[1].output))
        return board

    def skip(self, n: int) -> None:
        """Pass over steps that can't be done."""
        self.number += n

    def leave_out(self, step: Step, reason: str) -> None:
        """Pass over a step that would find nothing, and say why."""
        self.number += 1
        console.note(f"\n[{self.number}/{self.total}] {step}\nLeft out: {reason}.")

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exc: object) -> None:
        for file in self.files.values():
            file.close()

    def run(self, step: Step, job: Callable[[], Any]) -> Any:
        """Do one step; returns what it found, or None where it failed, which is said."""
        self.number += 1
        console.note(f"\n[{self.number}/{self.total}] {step}")
        try:
            found = job()
        except (EmbedkitError, OSError) as error:
            raise_if_received()
            console.note(f"embedkit: error: {message_of(error)}")
        except Exception:  # of a library, such as a GPU out of memory: the other steps go on
            raise_if_received()
            traceback.print_exc(file=sys.stderr)
        else:
            self.done.append(step)
            return found
        self.failed.append(step)
        return None

    def extract(self, step: Step, features: Path) -> bool:
        """Extract, unless the journal has that file of the same images and weights; loads no model then."""
        try:
            dataset, inputs = self._read_by(step)
        except (EmbedkitError, OSError):
            return self.run(step, step.call) is not None  # which says what is missing
        made = self._journal.made(step.command, inputs)
        digest = file_sha256(features) if made is not None and features.exists() else None
        if made is None or made != (digest,):
            # What says how a dataset is opened has done so.
            opened = replace(step, options=(type(step.options[0])(), *step.options[1:]))
            if self.run(step, lambda: opened.call(dataset)) is None:
                if features.exists():
                    console.note(NO_OVERWRITE)
                return False
            digest = file_sha256(features)
            self._journal.add(step.command, inputs, [digest])
        else:
            self._finished()
        self.open(features).sha256 = digest or ""
        return True

    def open(self, features: Path) -> FeatureFile:
        """Return a feature file, which is opened once for all that reads it."""
        if features not in self.files:
            self.files[features] = FeatureFile(features)
        return self.files[features]

    def _read_by(self, step: Step) -> tuple[Dataset, list[str]]:
        """Return the dataset, and its fingerprint with the SHA-256 of the weights and adapter named."""
        from embedkit.datasets.load import open_dataset

        (name,), (of_dataset, spec, *_) = step.inputs, step.options
        key = repr((name, of_dataset))
        if key not in self._datasets:
            self._datasets[key] = open_dataset(name, of_dataset)
        dataset = self._datasets[key]
        adapter = sorted(Path(spec.adapter).rglob("*")) if spec.adapter else []
        files = [Path(path) for path in (spec.weights, *adapter) if path is not None]
        return dataset, [dataset.fingerprint, *(file_sha256(path) for path in files if path.is_file())]

    def measure(self, step: Step, file: FeatureFile) -> None:
        """Do a step that writes results of a feature file, unless the journal has it."""
        inputs = [file.sha256, *_read_beside(step)]
        made = self._journal.made(step.command, inputs)
        if made is not None and set(made) <= self._named() and self._all_there(made):
            self._finished()
            return
        lines = self.output / RESULTS_FILE
        since = self._journal.begin(step.command, inputs, lines.stat().st_size if lines.exists() else 0)
        with done_again(lines, since):
            found = self.run(step, lambda: step.call(file))
        if found is not None:
            new = [(self.output, result) for result in found.results]
            self.results.extend(one for one in new if one not in self.results)  # those that stood there are
            self._journal.add(step.command, inputs, _names(found.results))

    def draw(self, step: Step, file: FeatureFile) -> None:
        """Make a page of a feature file and of all results, unless the journal has it of the same."""
        inputs = [file.sha256, *_read_beside(step), self._results_sha256]
        made = self._journal.made(step.command, inputs)
        if made is not None and self._all_there(made):
            self._finished()
            return
        found = self.run(step, lambda: step.call(file, results=self.results))
        if found is not None:
            self._journal.add(step.command, inputs, [found.path.name])

    @cached_property
    def _results_sha256(self) -> str:
        return file_sha256(self.output / RESULTS_FILE)  # pages are made when all is measured

    def _finished(self) -> None:
        self.number += 1
        self.n_before += 1

    def _all_there(self, names: Sequence[str]) -> bool:
        return all((self.output / name).exists() for name in names)

    def _named(self) -> set[str]:
        return set(_names([result for _, result in self.results]))

    def say_end(self) -> None:
        """Say how many steps ended how."""
        before = f", {self.n_before} were finished before" if self.n_before else ""
        console.note(f"\n{len(self.done)} steps done{before}. Everything is in {self.output}.")
        if self.failed:
            console.note(f"{len(self.failed)} failed, each with its reason above:")
            for step in self.failed:
                console.note(f"  embedkit {shlex.join(step.command)}")


def _names(results: Sequence[Result]) -> list[str]:
    """Names of the tables of results, in their order."""
    found = [result.provenance for result in results]
    return [str(p[key]) for p in found for key in ("predictions", "assignments", "tree") if key in p]


def _read_beside(step: Step) -> list[str]:
    """Return the SHA-256 of the lists of ids and the table of labels that a step looks at rows by."""
    of_rows = [one for one in step.options if isinstance(one, Selection)]
    paths = [Path(path) for one in of_rows for path in (*one.rows, one.labels) if path is not None]
    return [file_sha256(path) for path in paths if path.is_file()]
