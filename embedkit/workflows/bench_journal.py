"""Which steps of a bench are finished, so that the same command goes on where it was stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embedkit.errors import EmbedkitError
from embedkit.files.aside import write_text
from embedkit.files.regular import read_bytes
from embedkit.strict_json import UndeclaredError, declared

JOURNAL_FILE = "bench.json"
MOST_BYTES = 2**28


@dataclass(frozen=True)
class _Done:
    command: list[str]
    inputs: list[str]
    made: list[str]


@dataclass(frozen=True)
class _Begun:
    command: list[str]
    inputs: list[str]
    since: int


@dataclass(frozen=True)
class _Steps:
    steps: list[_Done]
    begun: list[_Begun] = field(default_factory=list)


class Journal:
    """The steps that are finished, in ``bench.json`` of the output folder.

    A step is known by the words of its command and the SHA-256 of every file that it reads.

    Parameters
    ----------
    folder
        Of the bench's output.

    Raises
    ------
    EmbedkitError
        The file there is no journal.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_FILE
        self._steps: dict[str, dict[str, Any]] = {}
        self._begun: dict[str, dict[str, Any]] = {}
        if not os.path.lexists(self.path):
            return
        fix = "Delete it; only probes and clusterings are computed again."
        try:
            found = declared(read_bytes(self.path, fix, at_most=MOST_BYTES), _Steps)
        except (UndeclaredError, FileNotFoundError) as error:
            raise EmbedkitError(f"{self.path}: no journal of a bench ({error}). {fix}") from error
        self._begun = {_key(step.command, step.inputs): asdict(step) for step in found.begun}
        self._steps = {_key(step.command, step.inputs): asdict(step) for step in found.steps}

    def made(self, command: Sequence[str], inputs: Sequence[str]) -> tuple[str, ...] | None:
        """Return what this command made of inputs with these digests; None where it has not ended well."""
        step = self._steps.get(_key(command, inputs))
        return None if step is None else tuple(step["made"])

    def begin(self, command: Sequence[str], inputs: Sequence[str], since: int) -> int:
        """Note that a step begins, at a size of results.jsonl; returns that of its first begin.

        What was added since may be its own, if it was killed.
        """
        step = {"command": list(command), "inputs": list(inputs), "since": since}
        begun = self._begun.setdefault(_key(command, inputs), step)
        if begun is step:
            self._write()
        return int(begun["since"])

    def add(self, command: Sequence[str], inputs: Sequence[str], made: Sequence[str]) -> None:
        """Note a finished step, whole or not at all.

        What it made is given as names in the folder; a feature file, which is read by other steps, as its
        SHA-256.
        """
        step = {"command": list(command), "inputs": list(inputs), "made": list(made)}
        self._steps[_key(command, inputs)] = step
        self._begun.pop(_key(command, inputs), None)
        self._write()

    def _write(self) -> None:
        found = {"steps": list(self._steps.values()), "begun": list(self._begun.values())}
        write_text(self.path, json.dumps(found, indent=1))


def _key(command: Sequence[str], inputs: Sequence[str]) -> str:
    return json.dumps([list(command), list(inputs)])
