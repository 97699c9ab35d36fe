"""Trainings that differ in their seed: what they have in common, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.errors import UsageError

FOLDER, RECORD = "seed-*", "seeds.json"


def check_alone(folder: Path, seeds: int, made: Sequence[str]) -> None:
    """Refuse several seeds in the folder of one run, and one run in that of several.

    Raises
    ------
    UsageError
        With what lies there.
    """
    there = sorted(folder.glob(f"{FOLDER}/")) if seeds == 1 else [folder / name for name in made]
    there = [path for path in there if path.exists()][:1]
    if there:
        held = "runs of several seeds" if seeds == 1 else "the run of one seed"
        raise UsageError(
            f"{folder}: holds {held} ({there[0].name}). Give another -o, or --seeds as they were begun with."
        )


def summary(seeds: Sequence[int], chosen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what ``seeds.json`` holds of trainings whose choices are given, as ``chosen.json`` holds each.

    The gain is the kNN accuracy of held-out images at the kept epoch over that at the start, its interval
    Student's t over the trainings; None without labels.
    """
    found: dict[str, Any] = {
        "seeds": [{"seed": seed, **record} for seed, record in zip(seeds, chosen, strict=True)],
        "gain": None,
    }
    known = [record["knn_accuracy"] for record in chosen if "knn_accuracy" in record]
    if len(known) == len(chosen) > 1 and all(one["start"] is not None for one in known):
        from scipy.stats import t  # on use

        gains = np.array([one["chosen"] - one["start"] for one in known])
        half = float(t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)))
        mean = float(gains.mean())
        found["gain"] = {"mean": mean, "low": mean - half, "high": mean + half}
    return found


def sentences(found: Mapping[str, Any], folder: Path) -> list[str]:
    """Say what the trainings came to, and how to go on."""
    each = found["seeds"]
    kept = ", ".join(f"{one['epoch']} of {one['last_epoch']} (seed {one['seed']})" for one in each)
    lines = [f"{len(each)} trainings kept the epochs {kept}."]
    if gain := found["gain"]:
        low, high = gain["low"], gain["high"]
        sure = "up" if low > 0 else "down" if high < 0 else "neither surely up nor surely down"
        lines.append(
            f"kNN accuracy of the held-out images: {100 * gain['mean']:+.1f} points over the start, "
            f"{100 * low:+.1f} to {100 * high:+.1f} (Student's t over the trainings): {sure}."
        )
    names = [f"seed-{one['seed']}" for one in each]
    made = folder / names[0] / "adapter"
    after = f"--adapter {made}" if made.is_dir() else f"--weights {made.with_name('model.safetensors')}"
    lines.append(
        f"Extract with each: `embedkit extract IMAGES {after} -o {names[0]}.h5` and so on to {names[-1]}. "
        f"Then `embedkit compare frozen.h5 {' '.join(f'{name}.h5' for name in names)}` holds the frozen "
        "features against the mean of all."
    )
    return lines
