"""The files of TensorBoard's projector: vectors, what is known of them, and a square of pictures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console.visible import visible
from embedkit.errors import UsageError
from embedkit.files.aside import folder_aside
from embedkit.files.tables import neutral
from reports.export.known import X, Y, is_text, known_anywhere
from reports.export.options import CONFIG, MAP, METADATA, PROJECTOR, SPRITE, VECTORS
from reports.export.table import BLOCK

# The projector looks at no more points than that.
MOST_POINTS = 100_000
# It draws three principal components of everything, and of fewer dimensions there aren't as many.
LEAST_D = 3
# What JavaScript reads as a number, and what of it it writes back as it was.
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|0[xob][0-9a-f]+|[+-]?infinity", re.IGNORECASE)
_SAME_NUMBER = re.compile(r"-?(?=[\d.]{1,15}$)(0|[1-9]\d*)(\.\d*[1-9])?")


@dataclass(frozen=True)
class Projector:
    """What a projector of n images holds.

    Parameters
    ----------
    columns
        As `reports.export.known.known_columns` gives them.
    d
        Dimensions of the vectors.
    vectors
        Two row numbers to the features between them.
    sprite, side
        All pictures in one square, as a JPEG, and the side of each; None where there are none.
    """

    columns: Mapping[str, NDArray[Any]]
    d: int
    vectors: Callable[[int, int], NDArray[np.float32]]
    sprite: bytes | None
    side: int

    @property
    def known(self) -> dict[str, NDArray[Any]]:
        """What is written of each point: the places on the map are vectors of their own."""
        return {name: one for name, one in known_anywhere(self.columns).items() if name not in (X, Y)}

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of what is known, in their order."""
        return tuple(self.known)


def check_folder(path: Path) -> None:
    """Refuse a folder that holds anything but an export of before.

    Raises
    ------
    UsageError
        It would be lost, for the folder is replaced whole.
    """
    if not path.is_dir():
        return
    others = sorted(one.name for one in path.iterdir() if one.name not in PROJECTOR)
    if others:
        raise UsageError(
            f"-o {path}: holds {others[0]!r}, and a projector's folder is replaced whole. Name a new folder."
        )


def write_projector(path: Path, contents: Projector) -> None:
    """Write the folder, whole or not at all."""
    known = contents.known
    n = len(next(iter(known.values())))
    d = max(LEAST_D, contents.d)
    places = np.column_stack([contents.columns[X], contents.columns[Y]])
    with folder_aside(path) as folder:
        with (folder / VECTORS).open("w", encoding="ascii", newline="") as stream:
            for start in range(0, n, BLOCK):
                rows = contents.vectors(start, min(start + BLOCK, n))
                stream.writelines(_numbers(rows))
        with (folder / MAP).open("w", encoding="ascii", newline="") as stream:
            stream.writelines(_numbers(places))
        with (folder / METADATA).open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(_lines(known))
        if contents.sprite is not None:
            (folder / SPRITE).write_bytes(contents.sprite)
        config = "".join(
            _embedding(*one, contents) for one in (("features", VECTORS, n, d), ("map", MAP, n, LEAST_D))
        )
        (folder / CONFIG).write_text(config, encoding="ascii")


def _numbers(rows: NDArray[np.floating[Any]]) -> Iterator[str]:
    """Yield a line a row, in which every float32 is itself, with zeros up to `LEAST_D`."""
    rows = np.pad(rows, ((0, 0), (0, max(0, LEAST_D - rows.shape[1]))))
    line = "\t".join(["%.9g"] * rows.shape[1]) + "\n"
    for row in rows.tolist():
        yield line % tuple(row)


def _lines(columns: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    """Yield the table of what is known: a header, where there are several columns, and a line a row."""
    if len(columns) > 1:  # a single column's first line is taken for a point
        yield "\t".join(map(cell, columns)) + "\n"
    texts = [_cells(values) for values in columns.values()]
    for row in zip(*texts, strict=True):
        yield "\t".join(row) + "\n"


def cell(text: str | None) -> str:
    """Write text such that it is one cell of one line, runs nowhere, and is taken for no other number.

    Tabs, ends of lines and what steers a terminal are written as Python escapes them. An apostrophe stands
    before what a spreadsheet would run, and before what JavaScript would read as a number and write
    otherwise, such as an id of 19 digits or of blanks.
    """
    if text is None:
        return ""
    shown = text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    shown = neutral(visible(shown))
    bare = shown.strip().strip("\ufeff").strip()
    other = not bare or (_NUMBER.fullmatch(bare) and not _SAME_NUMBER.fullmatch(shown))
    return f"'{shown}" if other else shown


def _cells(values: NDArray[Any]) -> Iterator[str]:
    if is_text(values):
        yield from map(cell, values.tolist())
        return
    digits = 15 if values.dtype == np.float64 else 7
    yield from ("" if np.isnan(value) else f"{value:.{digits}g}" for value in values.tolist())


def _embedding(name: str, file: str, n: int, d: int, contents: Projector) -> str:
    lines = [
        f'tensor_name: "{name}"',
        f'tensor_path: "{file}"',
        f"tensor_shape: {n}",
        f"tensor_shape: {d}",
        f'metadata_path: "{METADATA}"',
    ]
    if contents.sprite is not None:
        dims = f"single_image_dim: {contents.side} single_image_dim: {contents.side}"
        lines.append(f'sprite {{ image_path: "{SPRITE}" {dims} }}')
    return "embeddings {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"
