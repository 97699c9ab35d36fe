"""How long something will take, said before it is over: from its first steps."""

from __future__ import annotations

import time
from collections.abc import Callable

# Shorter than that, nobody needs to know; and less than that is too little to tell from.
LONG_SECONDS = 10.0
ENOUGH_SECONDS = 1.0


class Foretold:
    """Steps that are timed as they pass, until it is known whether they take long.

    Parameters
    ----------
    advance
        Called at each step too, with what it did.
    total
        What all steps do together, in the unit of `advance`.
    what
        What takes the time, as in ``choosing k``.
    fix
        A sentence that says what makes it shorter.
    uneven
        Whether more is done before the end of the first step than in the others, so that it tells nothing.
    """

    def __init__(
        self, advance: Callable[[int], object], total: int, what: str, fix: str, *, uneven: bool = False
    ) -> None:
        self._advance, self._total, self._what, self._fix = advance, total, what, fix
        self._uneven, self._done, self._known, self._began = uneven, 0, False, time.perf_counter()

    def __call__(self, n: int = 1) -> None:
        """Count `n` as done."""
        self._advance(n)
        if self._uneven:
            self._uneven, self._total, self._began = False, self._total - n, time.perf_counter()
            return
        self._done += n
        spent = time.perf_counter() - self._began
        if self._known or spent < ENOUGH_SECONDS or self._done >= self._total:
            return
        self._known = True
        say_long(spent * self._total / self._done, self._what, self._fix)


def say_long(seconds: float, what: str, fix: str) -> None:
    """Say how long something takes, where that is long."""
    from embedkit.console import note

    if seconds >= LONG_SECONDS:
        note(f"About {in_words(seconds)} for {what}. {fix}")


def in_words(seconds: float) -> str:
    """Write a time as ``40 seconds``, ``12 minutes`` or ``3.5 hours``."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"
