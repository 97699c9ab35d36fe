"""Run a case and say what was wrong with how it ended."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import h5py

from tests.hostile.case import Case, Fault, Run, digests
from tests.hostile.mutations import Random
from tests.hostile.rows import Draw
from tests.hostile.server import Server

# Control characters and those that turn the direction of writing; tab, line feed, and what str.splitlines
# takes for one, are looked for in what embedkit says and not in what it keeps.
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\u2028\u2029]")
ENDED_WELL, CODES = 0, (0, 1, 2)
# Names that stay only while something is being written.
TEMPORARY = re.compile(r"\.tmp$")


def judged(server: Server, draw: Draw, random: Random, folder: Path, sound: Path) -> tuple[Case, list[Fault]]:
    """Draw a case into a new folder, run its commands, and return what must not be."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder.with_name(folder.name + ".logs"), ignore_errors=True)
    folder.mkdir(parents=True)
    case = draw(random, folder, sound)
    faults = []
    for command in case.commands:
        run = server.run(command, folder)
        faults += [Fault(kind, fact, command) for kind, fact in _ill_ended(run)]
        if run.code == ENDED_WELL:
            faults += [Fault("wrong file", fact, command) for fact in _wrong_files(case, folder)]
        faults += [Fault("wrong file", f"{name} is left behind", command) for name in _left(folder)]
    return case, faults


def _ill_ended(run: Run) -> list[tuple[str, str]]:
    faults = []
    if run.code is None:
        faults.append(("hang", f"{run.seconds:.0f} s: {run.tail}"))
    elif run.code not in CODES or b"Traceback (most recent call last)" in run.err:
        faults.append(("traceback", f"exit code {run.code}: {run.tail}"))
    faults += [("request", one) for one in run.requests]
    if run.executed:
        faults.append(("executed", "code out of a file ran"))
    for name, said in (("stdout", run.out), ("stderr", run.err)):
        if found := RAW.search(said.decode("utf-8", "replace")):
            start = found.start()
            around = said.decode("utf-8", "replace")[max(0, start - 80) : start + 80]
            faults.append(("terminal", f"{name}: {around!r}"))
    return faults


def _wrong_files(case: Case, folder: Path) -> list[str]:
    found = digests(folder) if case.same else {}
    return [
        f"{name} is not what the sound files give"
        for name, digest in case.same.items()
        if found.get(name) != digest
    ]


def _left(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if TEMPORARY.search(path.name)]


def is_whole(path: Path) -> bool:
    """Whether a file that embedkit wrote can be read by what reads such files."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return "format" in file.attrs
    if path.suffix == ".jsonl":
        return all(isinstance(json.loads(line), dict) for line in path.read_bytes().splitlines())
    return True
