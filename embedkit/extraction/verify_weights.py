"""Which tensors of a weights file made a feature file, counted again from the file itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedkit.backbones.model_folder import LOCAL_DIR
from embedkit.strict_json import UndeclaredError, of_shape


@dataclass(frozen=True)
class Tensors:
    """The provenance's record of a weights file: see `embedkit.backbones.checkpoints.fitting.Fit`."""

    n: int
    n_taken: int
    taken_sha256: str
    taken_from: str
    ignored: dict[str, int]
    resampled: list[str]


@dataclass(frozen=True)
class WeightsCheck:
    """What became of the tensors of a weights file.

    Parameters
    ----------
    problems
        What doesn't add up.
    said
        What was checked, or why it could not be; empty where the weights came from no file.
    """

    problems: tuple[str, ...] = ()
    said: str = ""


def check_weights(
    provenance: Mapping[str, Any], found: Mapping[str, Any] | None, place: Path
) -> WeightsCheck:
    """Hold the record of a feature file against its weights file.

    Parameters
    ----------
    provenance
        Of the feature file.
    found
        The record of the same weights, loaded now; None where they came from no file.
    place
        The weights file or model folder.
    """
    from embedkit.backbones.checkpoints.reading import n_tensors
    from embedkit.backbones.model_folder import read_model_folder

    backbone = provenance["backbone"]
    if found is None:
        return WeightsCheck()
    if "tensors" not in backbone:
        return WeightsCheck(
            said=f"{place}: which of its tensors were taken was not recorded. Extract again to have it kept."
        )
    try:
        kept = of_shape(backbone["tensors"], Tensors)
    except UndeclaredError as error:
        return WeightsCheck((f"its record of the weights' tensors is broken ({error}). Extract again.",))
    file = read_model_folder(place).weights if place.is_dir() else place
    n = n_tensors(file)  # once more from the file: the load that counted them may have left some out
    if n != kept.n or kept.n_taken + sum(kept.ignored.values()) != kept.n:
        problem = (
            f"{file} holds {n} tensors, and {kept.n_taken} taken and {sum(kept.ignored.values())} left of "
            f"{kept.n} are recorded. Give the file of then with --weights, or extract again."
        )
        return WeightsCheck((problem,))
    if dict(found) != backbone["tensors"]:
        return WeightsCheck((f"other tensors of {file} are taken now than then. Extract again.",))
    left = ", ".join(f"{what} ({count})" for what, count in kept.ignored.items())
    resampled = f"; resampled: {', '.join(kept.resampled[:2])}" if kept.resampled else ""
    return WeightsCheck(
        said=f"{file}: {kept.n_taken} of {n} tensors taken; left: {left or 'none'}{resampled}."
    )


def weights_place(provenance: Mapping[str, Any], moved: Mapping[str, Any]) -> Path:
    """Return where the weights of a feature file lie: the file given, recorded, or the model folder."""
    given = moved.get("weights") or provenance["backbone"]["origin"].get("weights")
    return Path(given or provenance["backbone"]["name"].removeprefix(LOCAL_DIR))
