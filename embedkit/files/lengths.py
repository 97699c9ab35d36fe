"""Names of files that are made: as long as file systems have room for."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

# Bytes of a name on the file systems in use, and without what the name of a temporary file adds.
ROOM = 255
MOST = ROOM - 25


def named_after(path: Path, tail: str) -> str:
    """Return ``STEM-TAIL`` for what is made of a file, its stem `cut` where there is no room for all of it.

    Parameters
    ----------
    path
        The file.
    tail
        What is made of it, with its ending.
    """
    return f"{cut(path.stem, MOST - len(os.fsencode(tail)) - 1)}-{tail}"


def cut(name: str, most: int) -> str:
    """Return a name; of one of more than `most` bytes its beginning, and a digest of all of it."""
    data = os.fsencode(name)
    if len(data) <= most:
        return name
    digest = hashlib.sha256(data).hexdigest()[:8]
    return f"{data[: most - len(digest) - 1].decode(errors='ignore')}-{digest}"


def too_long(path: Path) -> str | None:
    """Say which name of a path there is no room for; None for none."""
    for name, most in (*((part, ROOM) for part in path.parts[:-1]), (path.name, MOST)):
        n = len(os.fsencode(name))
        if n > most:
            return f"a name of {n} bytes, and there is room for {most}. Give a shorter one."
    return None
