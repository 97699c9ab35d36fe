"""Only regular files are read, and only regular files are replaced: a pipe or device never ends."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from embedkit.errors import EmbedkitError

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_input(path: str | os.PathLike[str], fix: str) -> None:
    """Refuse what is there and is no regular file; a missing file is for whoever opens it.

    Parameters
    ----------
    path
        The file that is about to be read. Links are followed.
    fix
        What to give instead, a whole sentence.

    Raises
    ------
    EmbedkitError
        A folder, a pipe, a socket or a device.
    """
    kind = other_kind(Path(path))
    if kind:
        raise EmbedkitError(f"{path}: {kind}, not a regular file. {fix}")


def check_output(path: str | os.PathLike[str]) -> None:
    """Refuse to replace what is no regular file, such as /dev/null or a folder.

    Raises
    ------
    EmbedkitError
        A folder, a pipe, a socket or a device is there.
    """
    kind = other_kind(Path(path))
    if kind:
        raise EmbedkitError(f"{path}: {kind} is there, which no output replaces. Name a file.")


def check_folder(path: str | os.PathLike[str]) -> None:
    """Refuse a folder that nothing can be written to, or made in: before hours of work are for nothing.

    Raises
    ------
    EmbedkitError
        It, or the folder that it would be made in, is for reading alone.
    """
    there = Path(resolved(path))
    while not there.exists() and there != there.parent:
        there = there.parent
    if not os.access(there, os.W_OK | os.X_OK):
        inside = "" if there == resolved(path) else f" in {there}"
        raise EmbedkitError(
            f"{path}: can't be written{inside}. Give another -o, or the right to write there."
        )


def read_bytes(path: str | os.PathLike[str], fix: str, *, at_most: int) -> bytes:
    """Read a whole file of a bounded size.

    Parameters
    ----------
    path
        The file.
    fix
        What to give instead, a whole sentence.
    at_most
        Number of bytes from which on it can't be what it should.

    Raises
    ------
    EmbedkitError
        No regular file, or a larger one.
    OSError
        It is missing, or can't be read; it names the file.
    """
    check_input(path, fix)
    with Path(path).open("rb") as stream:
        # By its size, because Python sets aside all that it is asked to read; files of /proc say 0.
        data = stream.read(min(os.fstat(stream.fileno()).st_size, at_most))
        while len(data) <= at_most and (more := stream.read(2**20)):
            data += more
    if len(data) > at_most:
        raise EmbedkitError(f"{path}: over {at_most:,} bytes, which no such file has. {fix}")
    return data


def other_kind(path: Path) -> str | None:
    """What is there instead of a regular file; None for a regular file and for nothing."""
    try:
        mode = path.stat().st_mode
    except OSError as error:  # missing, or in a folder that can't be entered: opening it says so
        return "a link that leads back to itself" if error.errno == errno.ELOOP else None
    if stat.S_ISREG(mode):
        return None
    return "a folder" if stat.S_ISDIR(mode) else _KINDS.get(stat.S_IFMT(mode), "something else")


def resolved(path: str | os.PathLike[str]) -> Path:
    """Return a path as the system finds it: absolute, links followed.

    `Path.resolve` raises on a link that leads back to itself before Python 3.13; of that link, as of a
    missing file, the name comes back here, and whoever opens it says what is wrong.
    """
    return Path(os.path.realpath(path))


def leads_to(path: Path, descriptor: int) -> bool:
    """Whether a name still leads to an open file, which another process may have deleted or replaced."""
    try:
        there, mine = path.lstat(), os.fstat(descriptor)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
