"""What a comparison of two feature files says, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embedkit.scoring.outcomes import Outcomes, compare_outcomes, compare_trainings
from embedkit.scoring.paired import ALPHA, Difference, holm


@dataclass(frozen=True)
class Compared:
    """One measure of both files.

    Parameters
    ----------
    name
        Of the measure.
    a, b
        Accuracy of each.
    difference
        B minus A.
    p_holm
        Corrected over the measures.
    each_b
        Accuracy of each file that `b` is the mean of.
    """

    name: str
    a: float
    b: float
    difference: Difference
    p_holm: float
    each_b: tuple[float, ...] = ()


def compare_measures(
    measures: Mapping[str, Sequence[tuple[Outcomes, Outcomes]]], *, seed: int = 0, trainings: bool = False
) -> tuple[Compared, ...]:
    """Test each measure of A and B, corrected over all of them.

    Parameters
    ----------
    measures
        Name to outcomes of A and B, a pair a seed, of the same rows.
    seed
        Of the resamples.
    trainings
        The pairs are not of seeds but of one A with several trainings of B.
    """
    differences = [
        compare_trainings(pairs[0][0], [b for _, b in pairs], seed=seed)
        if trainings
        else compare_outcomes(pairs, seed=seed)
        for pairs in measures.values()
    ]
    adjusted = holm(np.array([difference.p for difference in differences]))
    return tuple(
        Compared(
            name,
            float(np.mean([a.mean for a, _ in pairs])),
            float(np.mean([b.mean for _, b in pairs])),
            difference,
            float(p),
            tuple(float(b.mean) for _, b in pairs) if trainings else (),
        )
        for (name, pairs), difference, p in zip(measures.items(), differences, adjusted, strict=True)
    )


def verdict(compared: Sequence[Compared], a: str = "A", b: str = "B", *, alpha: float = ALPHA) -> str:
    """Say in one sentence which file is better at what, in points of accuracy."""
    better, worse, same = [], [], []
    for one in compared:
        low, high = one.difference.low, one.difference.high
        if one.p_holm > alpha:
            same.append(one.name)
        elif one.difference.value > 0:
            better.append(_points(one.name, one.difference.value, low, high))
        else:
            worse.append(_points(one.name, -one.difference.value, -high, -low))
    parts = [f"{b} is better than {a} by {_listed(better)}"] if better else []
    parts += [f"{a} is better than {b} by {_listed(worse)}"] if worse else []
    parts += [f"by {_listed(same)} accuracy they can't be told apart"] if same else []
    sentence = "; ".join(parts) + "."
    return sentence if better or worse else sentence[0].upper() + sentence[1:]


def sentence(one: Compared, a: str, b: str, *, alpha: float = ALPHA) -> str:
    """Say what one measure shows."""
    d = one.difference
    if one.p_holm > alpha:
        value, low, high = (100 * x + 0.0 for x in (d.value, d.low, d.high))  # never -0.0
        by = f"{b} - {a}: {value:+.1f} points, {low:+.1f} to {high:+.1f}"
        # The interval is of this measure alone; the verdict is of one of several.
        several = (
            "" if low <= 0 <= high else f"; p = {one.p_holm:.2g} after Holm's correction for all measures"
        )
        return f"{one.name}: {a} and {b} can't be told apart ({by}{several})."
    better, value, low, high = (b, d.value, d.low, d.high) if d.value > 0 else (a, -d.value, -d.high, -d.low)
    return (
        f"{one.name}: {better} is better by {100 * value:.1f} points ({100 * low:.1f} to {100 * high:.1f})."
    )


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _points(name: str, value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} points of {name} accuracy ({100 * low:.1f} to {100 * high:.1f})"


def table_rows(compared: Sequence[Compared]) -> list[dict[str, str]]:
    """Return a row of text for each measure."""
    return [
        {
            "accuracy": one.name,
            "A": f"{one.a:.3f}",
            "B": f"{one.b:.3f}",
            **({"B, each": " ".join(f"{b:.3f}" for b in one.each_b)} if len(one.each_b) > 1 else {}),
            "B - A": f"{one.difference.value:+.3f}",
            "95 % interval": f"{one.difference.low:+.3f} to {one.difference.high:+.3f}",
            "p (Holm)": f"{one.p_holm:.2g}",
            "test": one.difference.test,
        }
        for one in compared
    ]
