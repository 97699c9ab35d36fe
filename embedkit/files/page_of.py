"""Which feature files a page is of: said in its head, and found again by what links to it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from embedkit.files.regular import other_kind, resolved

NAME = "embedkit-features"
# The head of a page says it before anything that may be long.
HEAD = 4096
MOST = 2000
_SAID = re.compile(rb'<meta name="embedkit-features" content="([0-9a-f ]*)">')


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


def _said(path: Path) -> tuple[str, ...]:
    try:
        if other_kind(path) is not None:
            return ()
        with path.open("rb") as stream:
            match = _SAID.search(stream.read(HEAD))
    except OSError:
        return ()
    return tuple(match[1].decode().split()) if match else ()


def link_to(path: Path, *, beside: Path) -> str:
    """Return the relative address of a file for a page at `beside`; no name makes it anything else."""
    way = os.path.relpath(resolved(path), resolved(beside).parent)
    return f"./{quote(Path(way).as_posix())}"
