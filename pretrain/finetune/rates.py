"""Learning rates of a phase: a pure function of the step and of the validation losses so far."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from pretrain.finetune.phase_options import Phase
from pretrain.schedules import cosine


def rate(phase: Phase, step: float, ends: Sequence[int], losses: Sequence[float] = ()) -> float:
    """Return the rate of the backbone for a step; the head's is `Phase.head_lr` / `Phase.lr` times it.

    Parameters
    ----------
    step
        From 0, of the phase; between two whole ones where batches are not those of the plan.
    ends
        For each epoch of the phase, the number of steps done at its end (`BatchPlan.ends`).
    losses
        Validation loss of each epoch of the phase so far, the first one first. Only ``plateau`` looks at
        them, and at those of epochs that were over before the step alone.

    Notes
    -----
    A warm-up of w steps takes step s at (s + 1) / w of the peak. After it, with e whole epochs since it
    ended:

    ``cosine``
        end + (peak - end) (1 + cos(pi s / n)) / 2 at step s of the n that are left.
    ``step``
        peak x factor ^ (e // every).
    ``plateau``
        peak x factor ^ (number of cuts so far): a cut once `every` epochs in a row brought no smaller loss
        than the smallest before them; then it is counted anew.
    """
    warmup = ends[phase.warmup_epochs - 1] if phase.warmup_epochs else 0
    if step < warmup:
        return phase.lr * (step + 1) / warmup
    if phase.schedule == "constant":
        return phase.lr
    if phase.schedule == "cosine":
        return cosine(step - warmup, ends[-1] - warmup, phase.lr, phase.end_lr)
    assert phase.factor is not None
    assert phase.every is not None
    epoch = bisect_right(ends, step)
    if phase.schedule == "step":
        n_cuts = (epoch - phase.warmup_epochs) // phase.every
    else:
        n_cuts = cuts(losses[phase.warmup_epochs : epoch], phase.every)
    return max(phase.end_lr, phase.lr * phase.factor**n_cuts)


def cuts(losses: Sequence[float], every: int) -> int:
    """Count how often `every` epochs in a row brought no smaller loss; NaN is none."""
    best, bad, n = math.inf, 0, 0
    for loss in losses:
        if loss < best:
            best, bad = loss, 0
        else:
            bad += 1
        if bad == every:
            n, bad = n + 1, 0
    return n


def since_better(losses: Sequence[float]) -> int:
    """Return the number of epochs since the smallest validation loss; NaN is never the smallest."""
    best, bad = math.inf, 0
    for loss in losses:
        bad = 0 if loss < best else bad + 1
        best = min(best, loss) if loss == loss else best
    return bad


def is_over(phase: Phase, losses: Sequence[float]) -> bool:
    """Whether early stopping ends the phase after these epochs."""
    return phase.stop_after > 0 and since_better(losses) >= phase.stop_after
