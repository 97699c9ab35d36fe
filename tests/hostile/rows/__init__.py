"""The rows of the table: each draws a case from a source of random numbers, into an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.hostile.case import Case
from tests.hostile.mutations import Random
from tests.hostile.rows import features, images, models, results, resumed, words

Draw = Callable[[Random, Path, Path], Case]

ROWS: dict[str, Draw] = {
    "feature files with odd provenance": features.provenance,
    "feature files with other bytes": features.other_bytes,
    "feature files of another structure": features.structure,
    "results.jsonl and its tables": results.results,
    "adapter folders": models.adapter,
    "local-dir models and weights": models.weights,
    "saved clusterings and probes": models.saved,
    "networks trained with labels": models.network,
    "image files": images.pictures,
    "arrays": images.arrays,
    "parts and manifest": resumed.parts,
    "checkpoint of a pretraining": resumed.checkpoint,
    "checkpoint of a training with labels": resumed.labelled,
    "journal of a bench": resumed.journal,
    "split files, CSV and TOML": words.tables,
    "strings in ids, classes and paths": words.strings,
    "command lines": words.command_lines,
}
