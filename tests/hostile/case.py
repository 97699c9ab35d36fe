"""One hostile case, and what is to be seen of a run of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """Commands over files that somebody damaged.

    Parameters
    ----------
    commands
        Words of each call, one after the other, in the case's folder.
    what
        What was done to which file, for whoever reads of a fault.
    same
        Name of an output to the digest that it must have wherever its command ends well.
    """

    commands: list[list[str]]
    what: str
    same: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What one command did.

    Parameters
    ----------
    code
        Exit code; minus the signal that ended it; None where it took too long.
    seconds
        Wall time.
    out, err
        What it printed.
    requests
        Addresses that it asked for.
    executed
        Whether code out of a file ran.
    """

    code: int | None
    seconds: float
    out: bytes
    err: bytes
    requests: list[str]
    executed: bool

    @property
    def tail(self) -> str:
        """The end of what it said."""
        return self.err.decode("utf-8", "replace")[-4000:]


@dataclass(frozen=True)
class Fault:
    """What must not be.

    Parameters
    ----------
    kind
        A name in `KINDS`.
    fact
        In words.
    command
        That did it.
    """

    kind: str
    fact: str
    command: list[str]


KINDS = ("traceback", "hang", "request", "executed", "wrong file", "terminal")
EXECUTED = "executed"  # what code out of a file leaves in the folder


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every regular file below a folder, by its name there; links are not followed."""
    import hashlib

    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
