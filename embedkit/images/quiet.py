"""Warnings of other libraries, which say nothing that an error here doesn't say."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_one_at_a_time = threading.RLock()


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keep libraries from warning of odd metadata and large sizes: what matters of that is an error.

    The filters are global to the process, so only one thread may swap them at a time.
    """
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
