"""What no skill gets: the controls that every group of a leaderboard needs beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embedkit.files.results import Result
from embedkit.scoring.confusions import confusion_of

MISSING = "Control missing: "


def control(result: Result) -> str | None:
    """Return ``pixels`` or ``random`` where the features are a control, else None."""
    features = result.provenance.get("features")
    backbone: Any = features.get("backbone") if isinstance(features, Mapping) else None
    if not isinstance(backbone, Mapping):
        return None
    if str(backbone.get("name", "")).startswith("pixels:"):
        return "pixels"
    origin = backbone.get("origin")
    return "random" if isinstance(origin, Mapping) and origin.get("random_init") is not None else None


def _imported(result: Result) -> bool:
    """Whether the vectors were not computed here, so that `extract` makes no control of them."""
    features = result.provenance.get("features")
    return isinstance(features, Mapping) and "imported" in features and "backbone" not in features


def permuted_accuracy(result: Result) -> float | None:
    """Accuracy expected of the same answers on permuted labels.

    A clustering's own, each permutation matched anew; for a probe, from its confusion matrix: the sum over
    classes of (share of the class) x (share of the answers), which is the chance agreement of Cohen's kappa.
    """
    null = result.metrics.get("null_accuracy")
    if null is not None:
        return null.value
    counts = confusion_of(result.outcomes) if result.task in ("probe", "finetune") else None
    if counts is None or len(set(counts.shape)) > 1 or counts.sum() <= 0:
        return None
    confusion = counts.astype(np.float64)
    return float(confusion.sum(axis=1) @ confusion.sum(axis=0) / confusion.sum() ** 2)


def chance_levels(results: Sequence[Result], metric: str = "accuracy") -> dict[str, float]:
    """Accuracy or RMSE without any skill, the best over a group's results; what none knows is left out."""

    def values(name: str) -> list[float]:
        return [m.value for r in results if (m := r.metrics.get(name)) and m.value is not None]

    if metric == "rmse":
        means = values("mean_rmse")
        return {"training mean": min(means)} if means else {}
    if metric != "accuracy":
        return {}
    permuted = [value for r in results if (value := permuted_accuracy(r)) is not None]
    named = (("majority class", values("majority_accuracy")), ("permuted labels", permuted))
    return {name: max(found) for name, found in named if found}


def control_notes(results: Sequence[Result], metric: str = "accuracy") -> list[str]:
    """Say the levels of chance of a group, and which controls are missing and how to make them."""
    notes = []
    levels = [
        f"{name}{' at most' * (name == 'permuted labels')} {value:.3f}"
        for name, value in chance_levels(results, metric).items()
    ]
    if levels:
        notes.append(f"Controls: {', '.join(levels)}.")
    if all(_imported(result) for result in results):  # there may be no images
        return notes
    there = {control(result) for result in results}
    missing = {
        "pixels": "32 x 32 pixels: `embedkit extract DATASET --backbone pixels:32 -o pixels.h5`",
        "random": "random weights: `embedkit extract DATASET --backbone NAME --random-init 0 -o random.h5`",
    }
    for name, words in missing.items():
        if name not in there:
            verbs = [result.task.split()[0] for result in results]
            # Features are probed, whatever network stands beside them.
            verb = next((verb for verb in verbs if verb != "finetune"), "probe")
            notes.append(f"{MISSING}{words}, then the same {verb} command.")
    return notes
