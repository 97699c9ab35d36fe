"""A curriculum beside normal training: the same network on all rows at once, with as many images seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError
from pretrain.finetune.curve import Curve
from pretrain.finetune.phase_options import Phase
from pretrain.finetune.recipe import Recipe

F64 = NDArray[np.float64]


def normal(recipe: Recipe, phases: Sequence[Phase], shares: Sequence[float]) -> Recipe:
    """Return the recipe without its curriculum: every phase on all rows, with as many images seen.

    Phases that differ in rows, name and epochs alone become one. Epochs are rounded to whole ones, at least
    one.

    Parameters
    ----------
    phases
        The recipe's, with the epochs that are asked for.
    shares
        Of the training rows that each phase takes.

    Raises
    ------
    UsageError
        All phases train on all rows.
    """
    if all(phase.rows == "all" for phase in phases):
        raise UsageError(
            "--beside-normal: no phase of the recipe takes rows by label confidence, so it is normal "
            "training already. Give a recipe such as convnext-small-curriculum, or leave it out."
        )
    merged: list[Phase] = []
    epochs: list[float] = []
    for phase, share in zip(phases, shares, strict=True):
        plain = replace(phase, rows="all", epochs=1, warmup_epochs=0)
        last = merged[-1] if merged else None
        same = last is not None and plain == replace(last, name=plain.name, epochs=1, warmup_epochs=0)
        if same and not phase.warmup_epochs:
            epochs[-1] += phase.epochs * share
        else:
            merged.append(replace(phase, rows="all"))
            epochs.append(phase.epochs * share)
    whole = [max(1, round(n)) for n in epochs]
    made = [
        replace(phase, epochs=n, warmup_epochs=min(phase.warmup_epochs, n - 1))
        for phase, n in zip(merged, whole, strict=True)
    ]
    return replace(recipe, phases=tuple(made))


@dataclass(frozen=True)
class OverSeeds:
    """A mean over seeds.

    Parameters
    ----------
    value
        The mean.
    low, high
        Student's 95 % interval; NaN for one seed.
    n
        Seeds.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> OverSeeds:
        """Return the mean with its interval."""
        x = np.asarray(values, np.float64)
        if len(x) < 2:
            return cls(float(x.mean()), np.nan, np.nan, len(x))
        from scipy.stats import t

        half = float(t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
        return cls(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half, len(x))

    @property
    def is_real(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    def mapped(self, function: Callable[[float], float]) -> OverSeeds:
        """Return a rising function of the mean and of both ends."""
        return OverSeeds(function(self.value), function(self.low), function(self.high), self.n)


def ratios(pairs: Sequence[tuple[Curve, Curve]], along: str) -> OverSeeds | None:
    """Return the log of what a curriculum takes over what normal training takes, to the same loss.

    The same loss is, with each seed, the lowest that both reach.

    Parameters
    ----------
    pairs
        Curriculum and normal training with the same seed.
    along
        ``seconds`` or ``images``.

    Returns
    -------
    OverSeeds or None
        None where one of them has its lowest loss at the start, with any seed.
    """
    logs = []
    for a, b in pairs:
        target = max(a.loss[-1], b.loss[-1])
        took = [one.reached(target, getattr(one, along)) for one in (a, b)]
        if not min(took) > 0:
            return None
        logs.append(float(np.log(took[0] / took[1])))
    return OverSeeds.of(logs)


def at_equal(pairs: Sequence[tuple[Curve, Curve]], along: str) -> tuple[float, OverSeeds]:
    """Return the least that both have, of all seeds, and the loss of curriculum minus normal there."""
    where = min(float(getattr(one, along)[-1]) for pair in pairs for one in pair)
    differences = [a.at(where, getattr(a, along)) - b.at(where, getattr(b, along)) for a, b in pairs]
    return where, OverSeeds.of(differences)


def sentences(pairs: Sequence[tuple[Curve, Curve]]) -> tuple[str, ...]:
    """Say how much faster the same loss is reached, and how the losses differ at equal images and time."""
    said = []
    for along in ("seconds", "images"):
        found = ratios(pairs, along)
        if found is None:
            said.append("One of the two never came below the loss of its start, so none was faster.")
            break
        said.append(_faster(found.mapped(lambda x: 100 * float(np.expm1(x))), along))
    for along in ("images", "seconds"):
        where, found = at_equal(pairs, along)
        side = "below" if found.value < 0 else "above"
        said.append(
            f"After {where:,.4g} {along} each, the curriculum's validation loss lies {abs(found.value):.5f} "
            f"{side} that of normal training{_interval(found, '+.5f', '')}."
        )
    return tuple(said)


def _faster(percent: OverSeeds, along: str) -> str:
    """Say by how many percent more or fewer seconds or images the same loss is reached."""
    if percent.n > 1 and not percent.is_real:
        return (
            f"By the {along} to the same validation loss, the curriculum and normal training can't be told "
            f"apart{_interval(percent, '+.0f', ' %')}."
        )
    saves = percent.value < 0
    if along == "seconds":
        much = f"is {abs(percent.value):.0f} % {'faster' if saves else 'slower'}"
    else:
        much = f"takes {abs(percent.value):.0f} % {'fewer' if saves else 'more'} images"
    return f"The curriculum {much} to the same validation loss{_interval(percent, '+.0f', f' % {along}')}."


def _interval(found: OverSeeds, spec: str, unit: str) -> str:
    if found.n < 2:
        return " (one run, so no interval)"
    ends = f"95 % interval {found.low:{spec}} to {found.high:{spec}}"
    return f" ({found.value:{spec}}{unit}, {ends}, {found.n} runs)"
