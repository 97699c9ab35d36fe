"""A budget of labels, in words: `--budget` of every verb that learns from few; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from embedkit.errors import UsageError


@dataclass(frozen=True)
class Budget:
    """A number of labels to learn from.

    Parameters
    ----------
    per_class
        Training rows of each class; of targets, rows in all.
    percent
        Or a percentage of the training rows of each class.
    """

    per_class: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read ``5`` or ``10%``.

        Raises
        ------
        UsageError
            Neither, or nothing to learn from.
        """
        try:
            if text.endswith("%"):
                percent = float(text[:-1])
                if 0 < percent <= 100:
                    return cls(percent=percent)
            elif int(text) > 0:
                return cls(per_class=int(text))
        except ValueError:
            pass
        raise UsageError(
            f"--budget {text!r}: give numbers of images a class and percentages of the training rows, such "
            "as 1,5,10,1%,100%."
        )

    def name(self, *, regression: bool = False) -> str:
        """Say it: ``5 per class``, ``5 images`` of targets, or ``10 %``."""
        if self.percent is not None:
            return f"{self.percent:g} %"
        return f"{self.per_class} images" if regression else f"{self.per_class} per class"

    def n_of(self, n: int) -> int:
        """Return how many of a class's n training rows it takes: at least one, at most all."""
        if self.percent is None:
            return min(self.per_class or 1, n)
        return max(1, round(n * self.percent / 100))
