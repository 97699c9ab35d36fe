"""What a page is of: said in its head, and found again by what links to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote

from embedkit.files.regular import other_kind, resolved

NAME = "embedkit-features"
# The head of a page says it before anything that may be long.
HEAD = 4096
MOST, MOST_WORDS = 2000, 500
ABOUT = "embedkit-about"
_ABOUT = re.compile(rb'<meta name="embedkit-about" content="([a-z]+) ([0-9a-f]*)" title="([^"<>]*)">')
_SAID = re.compile(rb'<meta name="embedkit-features" content="([0-9a-f ]*)">')


@dataclass(frozen=True)
class About:
    """What a page of sections is about.

    Parameters
    ----------
    kind
        The verb that made it.
    fingerprint
        Of the dataset whose images it is about.
    says
        What it found, in a sentence or two.
    """

    kind: str
    fingerprint: str
    says: str

    @property
    def element(self) -> str:
        """Which says it in the head of the page."""
        says = " ".join(self.says.split())
        says = says if len(says) <= MOST_WORDS else f"{says[: MOST_WORDS - 1]}…"
        return (
            f'<meta name="{ABOUT}" content="{escape(self.kind)} {self.fingerprint}" title="{escape(says)}">'
        )


def element(digests: Iterable[str]) -> str:
    """Return the element that names feature files by their SHA-256."""
    return f'<meta name="{NAME}" content="{" ".join(digests)}">'


@dataclass(frozen=True)
class PageOf:
    """A page, and the SHA-256 of the feature files that it is of."""

    path: Path
    digests: tuple[str, ...]


def pages_in(folders: Iterable[Path]) -> list[PageOf]:
    """Return the pages in folders that say which feature files they are of, in the order of their names.

    Only what lies in a folder itself is looked at; what can't be read is no page.
    """
    found: dict[Path, PageOf] = {}
    for folder in dict.fromkeys(resolved(one) for one in folders):
        for path in sorted(folder.glob("*.html"))[:MOST] if folder.is_dir() else ():
            said = _said(path)
            if said:
                found[path] = PageOf(path, said)
    return list(found.values())


def pages_about(folder: Path) -> list[tuple[Path, About]]:
    """Return the pages in a folder, and in those below, that say what they are about."""
    found = []
    for path in sorted(folder.rglob("*.html"))[:MOST] if folder.is_dir() else ():
        if match := _ABOUT.search(_head(path)):
            kind, fingerprint, says = (part.decode("utf-8", "replace") for part in match.groups())
            found.append((path, About(kind, fingerprint, unescape(says))))
    return found


def _said(path: Path) -> tuple[str, ...]:
    match = _SAID.search(_head(path))
    return tuple(match[1].decode().split()) if match else ()


def _head(path: Path) -> bytes:
    try:
        if other_kind(path) is not None:
            return b""
        with path.open("rb") as stream:
            return stream.read(HEAD)
    except OSError:
        return b""


def link_to(path: Path, *, beside: Path) -> str:
    """Return the relative address of a file for a page at `beside`; no name makes it anything else."""
    way = os.path.relpath(resolved(path), resolved(beside).parent)
    return f"./{quote(Path(way).as_posix())}"
