"""What a person sees while a command runs: messages and progress on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


class Advance(Protocol):
    """Tell a progress bar that some more units are done."""

    def __call__(self, n: int = 1) -> None: ...  # noqa: D102


def note(message: str) -> None:
    """Say on stderr what was chosen or found; never part of a command's result."""
    stderr().print(message, highlight=False, markup=False, soft_wrap=True)


def stderr() -> Console:
    """Return a console on stderr; made at each call, so that redirection is respected."""
    from rich.console import Console

    return Console(file=sys.stderr)


def print_table(table: Table) -> None:
    """Print a rich table on stdout, wide enough for its content when stdout is no terminal."""
    _stdout().print(table)


def table_text(table: Table) -> str:
    """Return what `print_table` would print."""
    console = _stdout()
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def fitting(*tables: Table) -> Table:
    """Return the first table whose words all fit the width that it is printed in; else the last."""
    return next((table for table in tables if fits(table)), tables[-1])


def fits(table: Table) -> bool:
    """Whether every word of a table fits the width that `print_table` prints it in."""
    from rich.measure import Measurement

    console = _stdout()
    wide = console.options.update(max_width=10_000)
    return Measurement.get(console, wide, table).minimum <= console.width


def numbered(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return ``1``, ``2``, ... for columns that the names are too wide for, and ``1 name`` for the rows."""
    numbers = [str(number) for number, _ in enumerate(names, start=1)]
    width = len(numbers[-1]) if numbers else 0
    return numbers, [f"{number:>{width}} {name}" for number, name in zip(numbers, names, strict=True)]


def _stdout() -> Console:
    from rich.console import Console

    console = Console(file=sys.stdout)
    return console if console.is_terminal else Console(file=sys.stdout, width=200)


def print_json(value: Any) -> None:
    """Print one strict JSON document on stdout; a NaN or infinity becomes null."""
    from embedkit.strict_json import strict

    print(json.dumps(strict(value), indent=2, default=str, allow_nan=False))


@contextmanager
def progress(what: str, total: int, *, unit: str) -> Iterator[Advance]:
    """Show a bar with the rate and the time left; nothing where stderr is no terminal.

    The callable that it yields takes the number of units done since the last call.
    """
    console = stderr()
    if not console.is_terminal:
        yield lambda n=1: None  # noqa: ARG005
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Task as RichTask
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            return Text(f"{task.speed:,.1f} {unit}/s" if task.speed else f"- {unit}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, speed_estimate_period=20) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n=1: bar.advance(task, n)
