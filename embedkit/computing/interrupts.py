"""Ctrl-C, TERM and HUP end a command in a moment, whatever it is at; its exit code says which it was."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

# Time for Python to come by and clean up; a library that computes in C may not let it for long.
GRACE_S = 5.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = "interrupted. What was finished is kept. Give the same command again for the rest."
_received: list[int] = []
_said: list[bool] = []


class Interrupted(KeyboardInterrupt):
    """One of `SIGNALS` came; its number is `signum`."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def exit_code(signum: int = signal.SIGINT) -> int:
    """Return what shells say of a process that a signal ended."""
    return 128 + signum


def said() -> str:
    """Return what is said of an interrupt, for whoever says it first."""
    _said.append(True)
    return INTERRUPTED


def raise_if_received() -> None:
    """Raise `Interrupted` if a signal came: for whoever caught an error that a library made of it."""
    if _received:
        raise Interrupted(_received[0])


def watch(clean_up: Callable[[], None]) -> None:
    """Have the signals raise `Interrupted`; the process ends by force after `GRACE_S`, or at a second one.

    For a process of our own, from its main thread. A signal that is ignored, as under nohup, stays so.

    Parameters
    ----------
    clean_up
        Called before an end by force, which runs no ``finally``.
    """
    # The C handler writes here at once, also while Python itself can't run; the thread waits for that.
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    for one in SIGNALS:
        if signal.getsignal(one) not in (signal.SIG_IGN, None):
            signal.signal(one, _raise)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    thread = threading.Thread(target=_wait, args=(ours, theirs, clean_up), name="signals", daemon=True)
    thread.start()


def _raise(signum: int, _frame: FrameType | None) -> None:
    _received.append(signum)
    if len(_received) == 1:  # the thread ends the process at a second one
        raise Interrupted(signum)


def _wait(ours: socket.socket, _keep: socket.socket, clean_up: Callable[[], None]) -> None:
    first = None
    while True:
        ours.settimeout(None if first is None else GRACE_S)
        try:
            numbers = [number for number in ours.recv(64) if number in SIGNALS]
        except TimeoutError:
            numbers = [0]
        if not numbers:
            continue
        if first is None:
            first = numbers.pop(0)
        if numbers:
            _leave(first, clean_up)


def _leave(signum: int, clean_up: Callable[[], None]) -> None:
    try:
        clean_up()
        cursor = "\x1b[?25h" if sys.stderr.isatty() else ""  # hidden by a progress bar
        message = "" if _said else f"embedkit: error: {INTERRUPTED}\n"
        os.write(2, (cursor + message).encode())
    finally:
        os._exit(exit_code(signum))
