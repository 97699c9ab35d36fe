"""The standard streams of a command: full, closed, or with nobody left to read them."""

from __future__ import annotations

import errno
import io
import os
import sys


class _Nowhere(io.TextIOBase):
    """In place of a stream that was closed from the beginning; knows whether anything was said."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.used = False

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.used = self.used or bool(text)
        return len(text)


def open_closed() -> None:
    """Take the numbers of closed streams, which the next file that is opened would get, and their places."""
    while True:
        number = os.open(os.devnull, os.O_RDWR)
        if number > 2:
            os.close(number)
            break
    if sys.stdout is None:
        sys.stdout = _Nowhere()
    if sys.stderr is None:
        sys.stderr = _Nowhere()


def flush() -> None:
    """Write out what was printed; raises ``OSError`` where it is lost."""
    sys.stdout.flush()
    if getattr(sys.stdout, "used", False):  # of `_Nowhere`, below whatever was put above it
        raise OSError(errno.EBADF, "is closed, so what was found is not shown", "standard output")


def give_up() -> bool:
    """Have Python not try again, when it ends, what can't be written; returns whether there is such."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
