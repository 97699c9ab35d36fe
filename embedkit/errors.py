"""The errors that a user can cause. Each message names the file, the fact and the fix."""

from __future__ import annotations

import errno
from collections.abc import Sequence


class EmbedkitError(Exception):
    """A job failed for a reason that the message explains; the command exits with code 1."""


class UsageError(EmbedkitError):
    """The call itself is wrong (an unknown name, options that exclude each other); exit code 2."""


class ImageError(EmbedkitError):
    """One image cannot be read; with ``--on-error skip`` its row is kept and marked instead."""


class FeatureFileError(EmbedkitError):
    """A file is not a feature file that this version can read, or breaks the schema."""


class DataError(EmbedkitError, ValueError):
    """An array that a method cannot work on: NaN, no rows, fewer rows than clusters, ...

    Also a ``ValueError``, because that is what scikit-learn's estimators raise and its tools expect.
    """


def listed(names: Sequence[str], most: int = 20) -> str:
    """Return names for a message: the first of them, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def first_line(error: BaseException) -> str:
    """What an error of another library says, cut to one line; its type where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def message_of(error: EmbedkitError | OSError) -> str:
    """Return what a user is told of an error: of the system's, the file and the fact."""
    if not isinstance(error, OSError):
        return str(error)
    place = error.filename or "a file"
    if error.errno in DISK_FULL:
        return (
            f"{place}: no room left on the disk. Free some space, or write elsewhere with -o; what was "
            "finished is kept."
        )
    return f"{place}: {error.strerror or error}."
