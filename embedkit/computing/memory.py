"""How much memory there is, and what won't fit, said before it is taken."""

from __future__ import annotations

import os
from pathlib import Path

from embedkit.errors import EmbedkitError

MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")


def available() -> int:
    """Return the bytes that can be had without swapping, in a container at most its limit."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for line in _lines(MEMINFO):
        name, _, rest = line.partition(":")
        if name == "MemAvailable" and rest.split()[:1]:
            found = min(found, 1024 * int(rest.split()[0]))
    for line in _lines(CGROUP):
        if line.strip().isdecimal():  # else `max`: no limit
            found = min(found, int(line))
    return found


def check_memory(n_bytes: int, what: str, fix: str) -> None:
    """Refuse what the machine can't hold.

    Parameters
    ----------
    n_bytes
        What is to be taken.
    what
        As the beginning of a sentence, to which "need 3.1 GB of memory" is added.
    fix
        What to do instead.

    Raises
    ------
    EmbedkitError
        It is more than there is.
    """
    room = available()
    if n_bytes > room:
        raise EmbedkitError(
            f"{what} need {n_bytes / 1e9:,.1f} GB of memory, and {room / 1e9:,.1f} GB are free. {fix}"
        )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):  # macOS has none of the two
        return []
