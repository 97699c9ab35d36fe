"""A word on the terminal while a command loads what it needs, before it has anything to say."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

# Nobody wonders for less.
AFTER_SECONDS = 1.0


class _Word:
    """Said after a while, unless something else was; taken away before anything else is said."""

    def __init__(self, text: str, stream: IO[str]) -> None:
        self.text, self.stream = text, stream
        self.over, self.said = False, False
        self.lock = threading.Lock()
        self.timer = threading.Timer(AFTER_SECONDS, self.say)
        self.timer.daemon = True

    def say(self) -> None:
        with self.lock, contextlib.suppress(OSError, ValueError):
            if not self.over:
                self.stream.write(self.text)
                self.stream.flush()
                self.said = True

    def end(self) -> None:
        self.timer.cancel()
        with self.lock, contextlib.suppress(OSError, ValueError):
            if self.said and not self.over:
                self.stream.write("\r\x1b[2K")
                self.stream.flush()
            self.over = True


_standing: list[_Word] = []


@contextmanager
def starting(text: str, stream: IO[str]) -> Iterator[None]:
    """Say on a terminal what is going on, if within a second nothing else is said."""
    if not stream.isatty() or os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        yield
        return
    word = _Word(text, stream)
    _standing.append(word)
    word.timer.start()
    try:
        yield
    finally:
        started()


def started() -> None:
    """Take the word away; what is said now stands in its place."""
    while _standing:
        _standing.pop().end()
