"""Which rows a phase of a curriculum trains on, by the confidence of their labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUMBER = r"(\d?\.\d{1,9}|[01])"
BETWEEN = re.compile(f"{NUMBER}-{NUMBER}")
BEYOND = re.compile(f"([<>]) ?{NUMBER}")
FIX = "give all, or a range of label confidence such as >0.94, 0.85-0.94 or <0.85"


@dataclass(frozen=True)
class Confidence:
    """A range of label confidence, from 0 to 1.

    Parameters
    ----------
    low, high
        Its ends.
    with_low, with_high
        Whether they belong to it. So ``>0.94``, ``0.85-0.94`` and ``<0.85`` share out all rows once.
    """

    low: float = 0.0
    high: float = 1.0
    with_low: bool = True
    with_high: bool = True

    @classmethod
    def parse(cls, text: str) -> Confidence:
        """Read ``all``, ``>0.94``, ``<0.85`` or ``0.85-0.94``; raises ``ValueError`` with what to give."""
        if text == "all":
            return cls()
        beyond, between = BEYOND.fullmatch(text), BETWEEN.fullmatch(text)
        if beyond:
            value = float(beyond[2])
            found = cls(low=value, with_low=False) if beyond[1] == ">" else cls(high=value, with_high=False)
        elif between:
            found = cls(low=float(between[1]), high=float(between[2]))
        else:
            raise ValueError(FIX)
        empty = found.low == found.high and not (found.with_low and found.with_high)
        if found.low > found.high or found.high > 1 or empty:
            raise ValueError(FIX)
        return found

    def of(self, confidence: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return which of (n,) confidences lie in it; NaN lies nowhere."""
        above = confidence >= self.low if self.with_low else confidence > self.low
        below = confidence <= self.high if self.with_high else confidence < self.high
        return above & below
