"""Results that a killed step has added already: done again, it adds no second line of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedkit.files.regular import resolved


@dataclass(frozen=True)
class _Step:
    """A step that is done again: its results.jsonl, and where in it the lines since it was begun start."""

    path: Path
    since: int
    taken: set[int] = field(default_factory=set)


_STEP: ContextVar[_Step | None] = ContextVar("step that is done again", default=None)
# What one run of a step has, and the same run done again has too; seconds, times and versions may differ.
_SAME = ("task", "dataset", "features", "method", "params", "split", "seed")
_SAME_PROVENANCE = ("features_sha256", "predictions", "assignments", "model_sha256")


@contextmanager
def done_again(path: Path, since: int) -> Iterator[None]:
    """Have `embedkit.files.results.append_result` find the lines that stand in `path` since byte `since`."""
    token = _STEP.set(_Step(resolved(path), since))
    try:
        yield
    finally:
        _STEP.reset(token)


def standing(path: Path, content: bytes, line: bytes) -> bytes | None:
    """Return the line that stands there in place of a new one, each once; None outside of `done_again`.

    Parameters
    ----------
    path
        The results.jsonl.
    content
        What is in it, read under its lock.
    line
        That is about to be added.
    """
    step = _STEP.get()
    if step is None or resolved(path) != step.path:
        return None
    wanted, position = _identity(line), step.since
    for there in content[step.since :].split(b"\n"):
        if position not in step.taken and there.strip() and _identity(there) == wanted:
            step.taken.add(position)
            return there
        position += len(there) + 1
    return None


def _identity(line: bytes) -> Any:
    try:
        record = json.loads(line)
        provenance = record["provenance"]
        return [record.get(name) for name in _SAME] + [provenance.get(name) for name in _SAME_PROVENANCE]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # torn, or no result
        return None
