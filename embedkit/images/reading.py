"""How the numbers of an image become pixels, where its file or array leaves that open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from embedkit.errors import UsageError

STRETCHES = ("asinh", "linear", "log", "sqrt")

STRETCH = "asinh"
PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What is said of numbers that are not plainly pixels; None is what the image itself says.

    Parameters
    ----------
    channels
        Which channels of an array, TIFF or cube are used, in order, counted from 0.
    white
        The value that is drawn white; 0 is black.
    hdu
        Of FITS: number or name of the part that holds the image. By default the first that does.
    stretch
        Of FITS: one of `STRETCHES`, between two percentiles.
    percentiles
        Of FITS: the percentages whose values are black and white.

    Raises
    ------
    UsageError
        A value out of range, or `white` beside a `stretch`.
    """

    channels: tuple[int, ...] | None = None
    white: float | None = None
    hdu: str | None = None
    stretch: str | None = None
    percentiles: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.channels is not None and (not self.channels or min(self.channels) < 0):
            raise UsageError("--channels wants numbers of channels counted from 0, such as 0,1,2.")
        if self.white is not None and not 0 < self.white < float("inf"):
            raise UsageError(f"--white {self.white:g}: give a value above 0.")
        if self.stretch is not None and self.stretch not in STRETCHES:
            raise UsageError(f"--stretch {self.stretch}: unknown. Known: {', '.join(STRETCHES)}.")
        if self.white is not None and not (self.stretch is None and self.percentiles is None):
            raise UsageError(
                "--white and --stretch or --percentiles exclude each other: either sets the white."
            )
        if self.percentiles is not None and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            low, high = self.percentiles
            raise UsageError(f"--percentiles {low:g} {high:g}: give two from 0 to 100, the lower first.")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Reading:
        """Read it from options or from a dataset's origin, where tuples have become lists."""
        said: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in given.items()
            if value is not None
        }
        return cls(**said)

    def record(self) -> dict[str, Any]:
        """Return what was said, as JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if value is not None
        }


PLAIN = Reading()
FIELDS = tuple(one.name for one in fields(Reading))
OF_FITS = ("hdu", "stretch", "percentiles")
