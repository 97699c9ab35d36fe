"""A file that appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedkit.errors import DISK_FULL
from embedkit.files.regular import check_output


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; what is written there is renamed into place at the end.

    Nothing appears at `path` unless the block ends without an error, and what appears is on the disk. Its
    folder is made. A link is kept, and the file that it leads to is replaced.

    Raises
    ------
    EmbedkitError
        Something other than a regular file is at `path`.
    OSError
        The disk is full, or the place can't be written; it names `path`.
    """
    check_output(path)
    path = path.resolve() if path.is_symlink() else path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        synced(temporary)
        temporary.replace(path)
        synced(path.parent)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file as UTF-8, whole or not at all; see `aside`."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, whole or not at all; see `aside`."""
    with aside(Path(path)) as temporary:
        temporary.write_bytes(data)


def synced(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
