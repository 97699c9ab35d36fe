"""What a person sees while a command runs: messages and progress on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import cache
from typing import IO, TYPE_CHECKING, Any, Protocol

from embedkit.console.visible import plain, visible
from embedkit.console.wrapping import wrapped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table


class Advance(Protocol):
    """Tell a progress bar that some more units are done."""

    def __call__(self, n: int = 1) -> None: ...  # noqa: D102


def counted(n: int, word: str) -> str:
    """Say how many there are: "1 row", "2,000 rows"."""
    return f"{n:,} {word}{'s' * (n != 1)}"


def note(message: str) -> None:
    """Say on stderr what was chosen or found; never part of a command's result.

    Where stderr is full or gone, the work goes on without a word.
    """
    if _said and message in _said[-1]:
        return
    if _said:
        _said[-1].add(message)
    with contextlib.suppress(OSError):
        # A bar on the screen makes room for what its own console prints, and for nothing else.
        console = _live[-1] if _live else stderr()
        text = wrapped(message, console.width) if console.is_terminal else message
        console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def said_once() -> Iterator[None]:
    """Say no note a second time: of what is done in several steps, each finds the same."""
    _said.append(set(_said[-1]) if _said else set())
    try:
        yield
    finally:
        _said.pop()


def sentences(text: str) -> str:
    """Return text for stdout, broken between words where that is a terminal."""
    console = _stdout()
    return wrapped(text, console.width) if console.is_terminal else text


def print_heading(text: str) -> None:
    """Print the heading of a table on lines of its own, so that a narrow table does not fold it."""
    from rich.text import Text

    _stdout().print(Text(text, style="bold"))


def stderr() -> Console:
    """Return a console on stderr; made at each call, so that redirection is respected."""
    console: Console = _console()(sys.stderr)
    return console


def print_table(table: Table) -> None:
    """Print a rich table on stdout, wide enough for its content when stdout is no terminal.

    A title at the left is printed as `print_heading` does.
    """
    if table.title and table.title_justify == "left":
        print_heading(str(table.title))
        table = copy(table)
        table.title = None
    _stdout().print(_uncut(table))


def _uncut(table: Table) -> Table:
    """Return a table whose words go on below where they are too long: what is cut off may be what differs."""
    for column in table.columns:
        column.overflow = "fold"
    return table


def table_text(table: Table, *, wide: bool = False) -> str:
    """Return what `print_table` would print, as text without styles, which nothing has to take out again.

    `wide` makes it as wide as its content, whatever the terminal.
    """
    from rich.measure import Measurement

    width = _stdout().width
    console = _console()(io.StringIO(), width=width, force_terminal=False)
    if wide:
        options = console.options.update(max_width=10_000)
        console.width = max(width, Measurement.get(console, options, table).maximum)
    console.print(_uncut(table))
    return str(console.file.getvalue())


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
    console: Console = _console()(sys.stdout)
    if console.is_terminal:
        return console
    wide: Console = _console()(sys.stdout, width=200)
    return wide


@cache
def _console() -> Any:
    """Make the kind of rich's console that takes text as text: no markup, no emoji, nothing that steers."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class TextConsole(Console):
        def __init__(self, file: IO[str], **settings: Any) -> None:
            super().__init__(file=plain(file), markup=False, emoji=False, **settings)

        def render_str(self, text: str, **settings: Any) -> Text:
            return super().render_str(visible(text), **settings)

        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible(segment.text), segment.style)

    return TextConsole


def print_json(value: Any) -> None:
    """Print one strict JSON document on stdout; a NaN or infinity becomes null."""
    from embedkit.strict_json import strict

    print(json.dumps(strict(value), indent=2, default=str, allow_nan=False))


# The bar that is on the screen. Only one can draw itself; what begins inside it is a line of it.
_drawn: list[Progress] = []
# What was said within each `said_once`, the innermost last.
_said: list[set[str]] = []
# The consoles of what moves on the screen, the newest last.
_live: list[Console] = []


@contextmanager
def progress(what: str, total: int, *, unit: str) -> Iterator[Advance]:
    """Show a bar with the rate and the time left; nothing where stderr is no terminal.

    The callable that it yields takes the number of units done since the last call.
    """
    if _drawn:
        bar = _drawn[-1]
        task = bar.add_task(visible(what), total=total, unit=unit)
        try:
            yield lambda n=1: bar.advance(task, n)
        finally:
            bar.remove_task(task)
        return
    console = stderr()
    if not console.is_terminal:
        yield lambda n=1: None  # noqa: ARG005
        return
    with _bars(console) as bar:
        task = bar.add_task(visible(what), total=total, unit=unit)
        _drawn.append(bar)
        _live.append(console)
        try:
            yield lambda n=1: bar.advance(task, n)
        finally:
            _live.remove(console)
            _drawn.remove(bar)


def _bars(console: Console) -> Progress:
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
            unit = task.fields["unit"]
            return Text(f"{task.speed:,.1f} {unit}/s" if task.speed else f"- {unit}/s")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, speed_estimate_period=20)


@contextmanager
def waiting(what: str) -> Iterator[Callable[[], None]]:
    """Show that something is at work whose end nobody knows; nothing where stderr is no terminal.

    The callable that it yields takes the sign away before the end.
    """
    console = stderr()
    if _drawn or not console.is_terminal:
        yield lambda: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as sign:
        sign.add_task(visible(what), total=None)
        _live.append(console)
        try:
            yield sign.stop
        finally:
            _live.remove(console)
