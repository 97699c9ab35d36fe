"""Splits kept as JSON, by id, so that they hold for every feature file of the same images."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.aside import write_text
from embedkit.files.regular import read_bytes
from embedkit.files.words import SPLITS
from embedkit.scoring.splits import Split
from embedkit.strict_json import UndeclaredError, declared

FORMAT = "embedkit-splits"
MOST_BYTES = 2**31


@dataclass(frozen=True)
class _Split:
    name: str
    train: list[str]
    validation: list[str]
    test: list[str]


@dataclass(frozen=True)
class _SplitFile:
    format: str
    splits: list[_Split]


def write_splits(path: str | os.PathLike[str], splits: Sequence[Split], ids: NDArray[np.str_]) -> None:
    """Keep splits as JSON, by id, so that they hold for every feature file of the same images.

    Parameters
    ----------
    path
        File to write, whole or not at all.
    splits
        One split, or the folds.
    ids : (n,) str
        Ids of the rows that the splits index.
    """
    path = Path(path)
    record = {
        "format": FORMAT,
        "splits": [
            {"name": split.name, **{part: ids[getattr(split, part)].tolist() for part in SPLITS}}
            for split in splits
        ],
    }
    write_text(path, json.dumps(record, indent=1) + "\n")


def read_splits(path: str | os.PathLike[str], ids: NDArray[np.str_]) -> tuple[Split, ...]:
    """Read what `write_splits` wrote, as row numbers into `ids`.

    Raises
    ------
    EmbedkitError
        No such file, another format, or an id that is not among `ids`.
    """
    path = Path(path)
    if not path.exists():
        raise EmbedkitError(f"{path}: no such split file. Write one with --save-split {path}.")
    try:
        text = read_bytes(path, "Name a file that --save-split wrote.", at_most=MOST_BYTES)
        record = declared(text, _SplitFile)
        if record.format != FORMAT:
            raise UndeclaredError("no embedkit format mark")
        parts = [(s.name, [getattr(s, part) for part in SPLITS]) for s in record.splits]
    except UndeclaredError as error:
        raise EmbedkitError(
            f"{path}: not a split file ({error}). Write one with --save-split, or name --split stratified."
        ) from error
    row = {str(name): i for i, name in enumerate(ids)}
    splits = []
    for name, names in parts:
        unknown = [i for part in names for i in part if i not in row]
        if unknown:
            raise EmbedkitError(
                f"{path}: {len(unknown)} ids, such as {unknown[0]!r}, are not in the feature file. Use the "
                "split of the same images."
            )
        splits.append(Split(name, *(np.array([row[i] for i in part], dtype=np.int64) for part in names)))
    if not splits:
        raise EmbedkitError(f"{path}: holds no split. Write it again with --save-split.")
    return tuple(splits)
