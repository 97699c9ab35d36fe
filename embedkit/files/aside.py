"""A file, or a folder, that appears whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import io
import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from embedkit.errors import DISK_FULL
from embedkit.files.regular import check_output, leads_to, resolved

_NUMBER = itertools.count()
# Under way in this process, for an end that runs no `finally`.
_TEMPORARY: set[Path] = set()


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what is written there is renamed into place at the end.

    Nothing appears at `path` unless the block ends without an error, and what appears is on the disk. Its
    folder is made. A link is kept, and the file that it leads to is replaced. What a killed process left of
    the same file is deleted: each temporary file is locked by its writer, and the kernel frees the lock.

    Raises
    ------
    EmbedkitError
        Something other than a regular file is at `path`.
    OSError
        The disk is full, or the place can't be written; it names `path`.
    """
    check_output(path)
    path = resolved(path) if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _told_of(path):
        _delete_stale(path)
        temporary, lock = _begin(path)
        try:
            yield temporary
            synced(temporary)
            temporary.replace(path)
            synced(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
            _TEMPORARY.discard(temporary)
            os.close(lock)


@contextmanager
def folder_aside(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; what is written into it takes the place of the folder `path`.

    Killed at whatever moment, the old folder or the new one is there whole, or neither is. For one writer at
    a time.
    """
    path = resolved(path) if path.is_symlink() else path
    new, old = (path.with_name(f".{path.name}.{word}.tmp") for word in ("new", "old"))
    with _told_of(path):
        for stale in (new, old):
            shutil.rmtree(stale, ignore_errors=True)
        new.mkdir(parents=True)
        _TEMPORARY.add(new)
        try:
            yield new
            for file in sorted(new.rglob("*")):
                synced(file)
            synced(new)
            if path.exists():
                path.rename(old)
            new.rename(path)
            synced(path.parent)
        finally:
            _TEMPORARY.discard(new)
            for stale in (new, old):
                shutil.rmtree(stale, ignore_errors=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file as UTF-8, whole or not at all; see `aside`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Write a file, whole or not at all; see `aside`."""
    with aside(Path(path)) as temporary:
        temporary.write_bytes(data)


@contextmanager
def filling(path: Path) -> Iterator[BinaryIO]:
    """Yield a stream for a library that doesn't survive a full disk: it is told of it only at the end.

    Raises
    ------
    OSError
        Not everything could be written.
    """
    with path.open("wb", buffering=0) as stream:
        sink = _Sink(stream)
        try:
            yield sink  # type: ignore[misc]
        except Exception as error:
            raise sink.error or error from error
    if sink.error is not None:
        raise sink.error


class _Sink(io.RawIOBase):
    """Takes everything, and remembers why it couldn't be kept."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        try:
            while self.error is None and len(view):
                view = view[self._stream.write(view) :]
        except OSError as error:
            self.error = error
        return memoryview(data).nbytes


def synced(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def delete_temporary() -> None:
    """Delete what is under way in this process, which ends now."""
    for path in list(_TEMPORARY):
        with contextlib.suppress(OSError):
            path.unlink() if not path.is_dir() else shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _told_of(path: Path) -> Iterator[None]:
    """Have an error of a full disk name the file that was asked for."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _begin(path: Path) -> tuple[Path, int]:
    """Make a temporary file beside `path` and lock it; returns its name and an open descriptor."""
    while True:
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_NUMBER)}.tmp")
        try:
            lock = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:  # of another machine, or of one that was killed and can't be deleted
            continue
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        _TEMPORARY.add(temporary)
        # flock, which other descriptors of the same file don't free when they are closed.
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if leads_to(temporary, lock):
            return temporary, lock
        _TEMPORARY.discard(temporary)  # taken for stale before it was locked
        os.close(lock)


def _delete_stale(path: Path) -> None:
    """Delete temporary files of `path` that no process holds any more."""
    begins = f".{path.name}."
    with os.scandir(path.parent) as entries:
        names = [one.name for one in entries if one.name.startswith(begins) and one.name.endswith(".tmp")]
    for name in names:
        stale = path.with_name(name)
        with contextlib.suppress(OSError):
            held = os.open(stale, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if leads_to(stale, held):
                    stale.unlink()
            finally:
                os.close(held)
