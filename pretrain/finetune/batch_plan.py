"""How large the batches of each epoch are: ``64``, or ``32x5, 32-64x10, 128, 64x4``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

from embedkit.errors import UsageError

ENTRY = re.compile(r"(\d+)(?:\s*-\s*(\d+))?(?:\s*x\s*(\d+))?")
LARGEST = 10**6
FIX = "Give a size (64), or sizes with their epochs (32x5, 32-64x10, 128, 64x4; one may be without)."


@dataclass(frozen=True)
class Stretch:
    """Epochs in a row: of `first` images a batch, rising or falling linearly to `last`.

    Parameters
    ----------
    first, last
        Batch size of its first and of its last epoch.
    epochs
        How many; None for all that the other stretches leave.
    """

    first: int
    last: int
    epochs: int | None

    def sizes(self, epochs: int) -> list[int]:
        """Return the batch size of each of its epochs, rounded half up."""
        if epochs < 2:
            return [self.first] * epochs
        rise, gaps = self.last - self.first, epochs - 1
        return [self.first + (2 * rise * i + gaps) // (2 * gaps) for i in range(epochs)]


@dataclass(frozen=True)
class BatchPlan:
    """The batch sizes of a phase.

    Parameters
    ----------
    text
        As it was written.
    stretches
        In their order.
    """

    text: str
    stretches: tuple[Stretch, ...]

    def sizes(self, epochs: int) -> tuple[int, ...]:
        """Return the batch size of each epoch of a phase.

        Raises
        ------
        UsageError
            The plan is for another number of epochs.
        """
        said = sum(one.epochs or 0 for one in self.stretches)
        is_open = any(one.epochs is None for one in self.stretches)
        left = epochs - said
        if left < 0 or (left > 0 and not is_open):
            raise UsageError(
                f"batch_plan {self.text!r} is for {said} epochs, and the phase has {epochs}. Give as many to "
                "both, or leave out the epochs of one size."
            )
        found: list[int] = []
        for one in self.stretches:
            n = left if one.epochs is None else one.epochs
            if one.epochs is None and n == 1 and one.first != one.last:
                raise UsageError(
                    f"batch_plan {self.text!r} leaves one of {epochs} epochs to {one.first}-{one.last}, "
                    "which takes two or more. Give the phase more epochs, or one size."
                )
            found += one.sizes(n)
        return tuple(found)

    def ends(self, n_rows: int, epochs: int) -> tuple[int, ...]:
        """Return the number of steps done at the end of each epoch; a last part of a batch is left out.

        Raises
        ------
        UsageError
            A plan for another number of epochs, or an epoch with fewer rows than a batch has.
        """
        sizes = self.sizes(epochs)
        if sizes and max(sizes) > n_rows:
            raise UsageError(
                f"batch_plan {self.text!r}: a batch of {max(sizes)} is more than the {n_rows} images there "
                f"are to train on. Give --batch-plan {n_rows} or less."
            )
        return tuple(accumulate(n_rows // size for size in sizes))


def parse_batch_plan(text: str) -> BatchPlan:
    """Read a plan.

    Raises
    ------
    UsageError
        It is none.
    """
    stretches = tuple(_stretch(word.strip(), text) for word in text.split(","))
    if sum(one.epochs is None for one in stretches) > 1:
        raise UsageError(f"batch_plan {text!r}: two sizes without epochs, so no one knows how many. {FIX}")
    return BatchPlan(text, stretches)


def _stretch(word: str, text: str) -> Stretch:
    match = ENTRY.fullmatch(word)
    if match is None or not word.isascii():
        raise UsageError(f"batch_plan {text!r}: {word!r} is no size. {FIX}")
    first, last, epochs = (None if part is None else int(part[:12]) for part in match.groups())
    assert first is not None
    last = first if last is None else last
    if not 1 <= min(first, last) <= max(first, last) <= LARGEST:
        raise UsageError(f"batch_plan {text!r}: {word!r} is not between 1 and {LARGEST:,} images. {FIX}")
    if epochs is not None and epochs < (1 if first == last else 2):
        least = "one epoch" if first == last else "two epochs"
        raise UsageError(f"batch_plan {text!r}: {word!r} wants {least} or more. {FIX}")
    return Stretch(first, last, epochs)
