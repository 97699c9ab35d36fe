"""What a map as a figure for a paper can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from embedkit.errors import UsageError
from embedkit.options import Writes, asked, check, option

ENDINGS = (".pdf", ".svg", ".png")
FIGURE = Writes(("a picture", "an SVG picture", "a PDF document"))
MM = 25.4  # an inch
UNITS = {"mm": MM, "cm": MM / 10, "in": 1.0}
# In inches: below nothing can be read, and above is a poster's wall.
LEAST, MOST = 0.75, 80.0
# RGBA in memory, several times: 800 MB.
MOST_PIXELS = 2e8
_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?)\s*[x×]\s*(\d+(?:\.\d*)?)\s*(mm|cm|in)\s*")


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """A map as a figure for a paper.

    Parameters
    ----------
    figure
        The file: ``.pdf``, ``.svg`` or ``.png``.
    figure_size
        Width and height with their unit.
    figure_dpi
        Pixels an inch, of points in a PDF or SVG and of all in a PNG.
    figure_names
        Whether names of classes and clusters stand on the map.
    figure_thumbnails
        Longer side of pictures on the map, in mm; without it there are none.
    """

    figure: Path | None = option(
        None,
        "also draw the map for a paper, as .pdf, .svg or .png",
        metavar="FILE",
        unset="no figure",
        place=FIGURE,
    )
    figure_size: str = option("170x120mm", "its width and height, in mm, cm or in", metavar="WxH")
    figure_dpi: int = option(300, "its pixels an inch", least=50, most=2400, metavar="N")
    figure_names: bool = option(True, "no names on the figure's map")
    figure_thumbnails: float | None = option(
        None,
        "side of pictures on the figure's map, in mm",
        least=1,
        most=200,
        metavar="MM",
        unset="no pictures",
    )

    def __post_init__(self) -> None:
        check(self)
        width, height = self.inches
        if width * height * self.figure_dpi**2 > MOST_PIXELS:
            raise UsageError(
                f"--figure-size {self.figure_size} at --figure-dpi {self.figure_dpi}: more than "
                f"{MOST_PIXELS / 1e6:,.0f} megapixels. Give fewer."
            )
        if self.figure is None:
            others = [f"--{name.replace('_', '-')}" for name in asked(self)]
            if others:
                they = ("are", "them") if len(others) > 1 else ("is", "it")
                raise UsageError(
                    f"{' and '.join(others)} {they[0]} for --figure FILE. Name it, or leave {they[1]} out."
                )
        elif self.figure.suffix.lower() not in ENDINGS:
            raise UsageError(
                f"--figure {self.figure}: not known by its ending. Give a name that ends in "
                f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}."
            )

    @property
    def inches(self) -> tuple[float, float]:
        """Width and height in inches."""
        found = _SIZE.fullmatch(self.figure_size)
        if found is None:
            raise UsageError(
                f"--figure-size {self.figure_size}: give width and height with their unit, as 170x120mm, "
                "17x12cm or 6.7x4.7in."
            )
        width, height = (float(found[i]) / UNITS[found[3]] for i in (1, 2))
        if min(width, height) < LEAST or max(width, height) > MOST:
            raise UsageError(
                f"--figure-size {self.figure_size}: give {LEAST * MM:.0f} to {MOST * MM:.0f} mm a side."
            )
        return width, height
