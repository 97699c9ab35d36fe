"""Splits kept as JSON, by id, so that they hold for every feature file of the same images."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.aside import write_text
from embedkit.files.words import SPLITS
from embedkit.scoring.splits import Split

FORMAT = "embedkit-splits"


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
    if not path.is_file():
        raise EmbedkitError(f"{path}: no such split file. Write one with --save-split {path}.")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise ValueError("no embedkit format mark")
        parts = [(str(s["name"]), [[str(i) for i in s[p]] for p in SPLITS]) for s in record["splits"]]
    except (ValueError, KeyError, TypeError) as error:
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
