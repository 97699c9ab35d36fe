"""Which images a result got right, read from the predictions or assignments beside it."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.results import Result
from embedkit.store import FeatureFile


@dataclass(frozen=True)
class Outcomes:
    """The test rows of one result.

    Parameters
    ----------
    ids : (n,) str
        Rising.
    right : (n,) float64
        1 where the prediction, or the class that the cluster stands for, is the true class, else 0.
    rows
        The same for two results exactly where they tested the same images, of the same classes, in the same
        folds: only then are they paired.
    """

    ids: NDArray[np.str_]
    right: NDArray[np.float64]
    rows: str


def read_outcomes(result: Result, folder: Path) -> Outcomes:
    """Read what a result said of every test image.

    A clustering's true classes are those of the feature file that it names; its matching of clusters to
    classes is taken as it is.

    Parameters
    ----------
    result
        Of ``embedkit probe`` or ``embedkit cluster``.
    folder
        Of the results.jsonl that it stands in.

    Raises
    ------
    EmbedkitError
        Nothing to read them from; the message says what is missing, in a few words.
    """
    if "predictions" in result.provenance:
        lines = _lines(folder / str(result.provenance["predictions"]), ("id", "split", "true", "predicted"))
        kept = [line for line in lines if line["split"] == "test"]
        return _outcomes(
            [(line["id"], line.get("fold", ""), line["true"], line["predicted"]) for line in kept]
        )
    if "assignments" in result.provenance:
        lines = _lines(folder / str(result.provenance["assignments"]), ("id", "cluster"))
        true = _true_classes(result)
        matching = result.params.get("matching", {})
        return _outcomes(
            [
                (line["id"], "", true[line["id"]], matching.get(line["cluster"], ""))
                for line in lines
                if true.get(line["id"])
            ]
        )
    raise EmbedkitError("the result names neither predictions nor assignments")


def _outcomes(lines: list[tuple[str, str, str, str]]) -> Outcomes:
    if not lines:
        raise EmbedkitError("no test row with a known class")
    lines = sorted(lines)
    digest = hashlib.sha256(repr([line[:3] for line in lines]).encode()).hexdigest()
    right = np.array([line[2] == line[3] for line in lines], np.float64)
    return Outcomes(np.array([line[0] for line in lines], np.str_), right, digest)


def _lines(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            lines = list(csv.DictReader(stream))
    except OSError:
        raise EmbedkitError(f"{path.name} is not beside it") from None
    if lines and (missing := [name for name in columns if name not in lines[0]]):
        raise EmbedkitError(f"{path.name} has no column {missing[0]}")
    return lines


def _true_classes(result: Result) -> dict[str, str]:
    path = Path(str(result.provenance.get("features_file", "")))
    if not path.is_file():
        raise EmbedkitError(
            f"{path.name or 'the feature file'}, which holds the classes, is not where it was"
        )
    with FeatureFile(path) as file:
        if file.sha256 != result.provenance.get("features_sha256"):
            raise EmbedkitError(f"{path.name}, which holds the classes, has changed since")
        rows = file.rows
        if rows.labels is None:
            raise EmbedkitError(f"{path.name} holds no classes")
        return {
            str(rows.ids[i]): rows.class_names[label] for i, label in enumerate(rows.labels) if label >= 0
        }
