"""Pages and pictures that lie among the results of a report: what networks look at, and votes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.page_of import MOST, About, pages_about
from embedkit.files.regular import other_kind
from embedkit.images.decode import THUMBNAIL_TYPE, decode, thumbnail
from reports.picture_records import AttentionRecord, CamRecord, MappedImage, read_record

# Longer side of a picture in the page, in pixels.
LARGEST = 1600
TILE = 160


@dataclass(frozen=True)
class Attended:
    """A picture of attention: what it shows, its address, which holds it, and its size in pixels."""

    path: Path
    record: AttentionRecord
    data: str
    width: int
    height: int


@dataclass(frozen=True)
class Mapped:
    """A picture of maps, cut into its images: each with its tiles, as addresses that hold them."""

    path: Path
    record: CamRecord
    images: tuple[tuple[MappedImage, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Beside:
    """What lies among the results; what is of the images of the report stands first.

    Parameters
    ----------
    pages
        And what each is about.
    attended
        Pictures of attention.
    mapped
        Pictures of Grad-CAM.
    fingerprints
        Of the datasets of the report.
    """

    pages: tuple[tuple[Path, About], ...] = ()
    attended: tuple[Attended, ...] = ()
    mapped: tuple[Mapped, ...] = ()
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
    attended, mapped = [], []
    for path in sorted(runs.rglob("*.png"))[:MOST] if runs.is_dir() else ():
        found = None if other_kind(path) is not None else read_record(path)
        if found is None:
            continue
        record, data = found
        try:
            pixels = decode(data, str(path))
        except EmbedkitError as error:
            say(f"A picture of what a network looks at is not shown. {error}")
            continue
        if isinstance(record, AttentionRecord):
            height, width = pixels.shape[:2]
            attended.append(Attended(path, record, _address(pixels, LARGEST), width, height))
        elif (images := _cut(pixels, record)) is not None:
            mapped.append(Mapped(path, record, images))
        else:
            say(
                f"{path}: not shown, since it is not as high and wide as its text says. Make it again with "
                f"{record.command}"
            )
    for pictures in (attended, mapped):
        pictures.sort(key=lambda one: one.record.fingerprint not in mine)
    return Beside(tuple(pages), tuple(attended), tuple(mapped), mine)


def _address(pixels: NDArray[np.uint8], longest: int) -> str:
    return f"data:{THUMBNAIL_TYPE};base64,{base64.b64encode(thumbnail(pixels, longest)).decode()}"


def _cut(
    pixels: NDArray[np.uint8], record: CamRecord
) -> tuple[tuple[MappedImage, tuple[str, ...]], ...] | None:
    """Return the tiles of each image; None of a picture that doesn't hold what it says."""
    n, k = len(record.rows), len(record.tiles)
    if not n or not k or pixels.shape[0] % n or pixels.shape[0] // n * k != pixels.shape[1]:
        return None
    tiles = pixels.reshape(n, pixels.shape[0] // n, k, -1, 3).swapaxes(1, 2)
    return tuple(
        (one, tuple(_address(tile, TILE) for tile in row))
        for one, row in zip(record.rows, tiles, strict=True)
    )
