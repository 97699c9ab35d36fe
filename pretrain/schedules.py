"""Cosine schedules over the steps of a run."""

from __future__ import annotations

import math

from embedkit.errors import UsageError

MAX_INITIAL_SHARE = 0.5


def cosine(step: float, steps: int, start: float, end: float, *, warmup: int = 0) -> float:
    """Rise linearly to `start` over `warmup` steps, then follow half a cosine to `end` at `steps`."""
    if step < warmup:
        return start * (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def warmup_steps(of_epoch: int, steps: int) -> int:
    """Return how many steps the rate rises over: the first epoch's, at most a fifth of all."""
    return min(of_epoch, steps // 5)


def initial_share(momentum: float, steps: int) -> float:
    """How much of the starting weights an EMA teacher still holds after `steps`."""
    return math.prod(cosine(step, steps, momentum, 1.0) for step in range(steps))


def teacher_momentum(asked: float | None, steps: int) -> float:
    """Return the momentum to start with; refuses one with which the teacher would hardly move.

    DINO's 0.996 rises to 1 over 10^5 steps. Over 200 steps it leaves two thirds of the start in place, so
    by default about e^-4 of it is kept, however short the run.
    """
    if asked is None:
        return 1 - min(0.5, max(0.004, 8 / steps))
    share = initial_share(asked, steps)
    if share > MAX_INITIAL_SHARE:
        raise UsageError(
            f"--momentum {asked:g} leaves {share:.0%} of the teacher as it began after {steps} steps. Give "
            f"{teacher_momentum(None, steps):.4g}, leave it out, or train longer."
        )
    return asked
