"""Pages and pictures that lie among the results of a report: what a network looks at, and votes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from embedkit.errors import EmbedkitError
from embedkit.files.page_of import MOST, About, pages_about
from embedkit.files.regular import other_kind
from embedkit.images.decode import THUMBNAIL_TYPE, decode, thumbnail
from reports.attention_record import AttentionRecord, read_attention

# Longer side of a picture in the page, in pixels.
LARGEST = 1600


@dataclass(frozen=True)
class Attended:
    """A picture of attention: what it shows, its address, which holds it, and its size in pixels."""

    path: Path
    record: AttentionRecord
    data: str
    width: int
    height: int


@dataclass(frozen=True)
class Beside:
    """What lies among the results; what is of the images of the report stands first.

    Parameters
    ----------
    pages
        And what each is about.
    attended
        Pictures of attention.
    fingerprints
        Of the datasets of the report.
    """

    pages: tuple[tuple[Path, About], ...] = ()
    attended: tuple[Attended, ...] = ()
    fingerprints: frozenset[str] = frozenset()

    def of(self, kind: str) -> list[tuple[Path, About]]:
        """Return the pages that a verb made."""
        return [one for one in self.pages if one[1].kind == kind]


def find_beside(runs: Path, fingerprints: Collection[str], say: Callable[[str], None]) -> Beside:
    """Look through a folder, which may be missing, and the folders in it.

    Parameters
    ----------
    runs
        The folder.
    fingerprints
        Of the datasets of the report.
    say
        Is told which picture can't be read.
    """
    mine = frozenset(fingerprints)
    pages = sorted(pages_about(runs), key=lambda one: one[1].fingerprint not in mine)
    attended = []
    for path in sorted(runs.rglob("*.png"))[:MOST] if runs.is_dir() else ():
        found = None if other_kind(path) is not None else read_attention(path)
        if found is None:
            continue
        try:
            pixels = decode(found[1], str(path))
        except EmbedkitError as error:
            say(f"A picture of attention is not shown. {error}")
            continue
        data = base64.b64encode(thumbnail(pixels, LARGEST)).decode()
        height, width = pixels.shape[:2]
        attended.append(Attended(path, found[0], f"data:{THUMBNAIL_TYPE};base64,{data}", width, height))
    attended.sort(key=lambda one: one.record.fingerprint not in mine)
    return Beside(tuple(pages), tuple(attended), mine)
