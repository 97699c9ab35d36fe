"""What a training leaves for others to read: its log, an epoch a row, and what it was, in `training.json`."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from embedkit.errors import EmbedkitError, first_line
from embedkit.files.aside import write_text
from embedkit.files.regular import read_bytes
from embedkit.strict_json import UndeclaredError, declared

LOG, RECORD = "log.csv", "training.json"
# Megabytes of either are no log of epochs.
MOST_BYTES = 20_000_000
_FIRST = ("epoch", "loss", "seconds")
_AGAIN = "Restore the file, or train again."


@dataclass(frozen=True)
class TrainingRecord:
    """What a training was.

    Parameters
    ----------
    kind
        ``pretraining``, or ``training with labels``.
    method
        The objective, or the recipe.
    backbone
        What was trained.
    dataset, fingerprint
        Of the images.
    seed
    command
        That trains it again.
    kept
        Epoch whose weights were kept; None where that is not one number.
    says
        What came of it, in a sentence.
    """

    kind: str
    method: str
    backbone: str
    dataset: str
    fingerprint: str
    seed: int
    command: str
    kept: int | None = None
    says: str = ""


def write_log(path: Path, log: Sequence[Mapping[str, float]]) -> None:
    """Write a log as CSV; columns that a row lacks stay empty."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(dict.fromkeys([*_FIRST, *(name for row in log for name in row)])))
    writer.writeheader()
    writer.writerows(log)
    write_text(path, stream.getvalue())


def read_log(path: Path) -> list[dict[str, float]]:
    """Read a log; what is empty or not finite is left out of its row.

    Raises
    ------
    EmbedkitError
        No log with a column ``epoch``, no rows, or a cell that is no number.
    """
    try:
        lines = list(
            csv.DictReader(io.StringIO(read_bytes(path, _AGAIN, at_most=MOST_BYTES).decode("utf-8")))
        )
        if not lines or "epoch" not in lines[0]:
            raise ValueError("no column epoch, or no rows")
        rows = [{name: float(cell) for name, cell in line.items() if cell} for line in lines]
        if not all("epoch" in row and math.isfinite(row["epoch"]) for row in rows):
            raise ValueError("a row without its epoch")
    except (ValueError, TypeError, csv.Error) as error:
        raise EmbedkitError(f"{path}: no log of a training ({first_line(error)}). {_AGAIN}") from error
    return [{name: value for name, value in row.items() if math.isfinite(value)} for row in rows]


def write_record(folder: Path, record: TrainingRecord) -> None:
    """Write what a training was into its folder."""
    write_text(folder / RECORD, json.dumps(asdict(record), indent=2) + "\n")


def read_record(folder: Path) -> TrainingRecord | None:
    """Return what a training was; None where no record of one lies in its folder.

    Raises
    ------
    EmbedkitError
        A record that is none.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        return declared(read_bytes(path, _AGAIN, at_most=MOST_BYTES), TrainingRecord)
    except UndeclaredError as error:
        raise EmbedkitError(f"{path}: no record of a training ({first_line(error)}). {_AGAIN}") from error
