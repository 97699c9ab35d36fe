"""The lock of an output: one process at a time, freed by the kernel however the process ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedkit.console import note
from embedkit.errors import EmbedkitError
from embedkit.files.regular import leads_to, resolved

FOLDER_LOCK = ".embedkit.lock"
_WITHOUT = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
# Held by this process: another thread of it is refused too, and closing a second descriptor would free it.
_HELD: set[str] = set()
_GUARD = threading.Lock()
os.register_at_fork(after_in_child=_HELD.clear)  # no child inherits a record lock


@contextmanager
def folder_locked(folder: Path, what: str) -> Iterator[None]:
    """Hold a folder that one process at a time works in; made if it is missing.

    Parameters
    ----------
    folder
        Of the output.
    what
        What is done there, for the message to a second process: ``training``.

    Raises
    ------
    EmbedkitError
        Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / FOLDER_LOCK
    key = str(resolved(lock))
    with _GUARD:
        if key in _HELD:
            raise _busy(folder, what)
        descriptor = _taken(lock, folder, what)
        _HELD.add(key)
    try:
        yield
    finally:
        with _GUARD:
            # Deleted while it is held: who has just opened it finds that the name is gone, and makes it anew.
            with contextlib.suppress(OSError):
                lock.unlink()
            os.close(descriptor)
            _HELD.discard(key)


def _busy(folder: Path, what: str) -> EmbedkitError:
    return EmbedkitError(
        f"{folder}: another process is {what} there right now. Wait for it, or give another -o."
    )


def _taken(lock: Path, folder: Path, what: str) -> int:
    while True:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(lock, flags, 0o666)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _WITHOUT:
                note(f"{folder}: its file system has no locks. Start no second command that writes there.")
                return descriptor
            os.close(descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise OSError(error.errno, error.strerror, str(lock)) from error
            raise _busy(folder, what) from error
        if leads_to(lock, descriptor):
            return descriptor
        os.close(descriptor)  # its last holder has just deleted it
