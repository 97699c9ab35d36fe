"""What `embedkit import` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.datasets.options import DatasetOptions
from embedkit.extraction.options import FEATURE_FILE, ON_ERROR
from embedkit.options import READS, as_in, check, option, output_option


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Which vectors are taken, and what is known of their rows.

    Parameters
    ----------
    key
        The array of vectors; of a table, its columns, with ``*`` for any text.
    ids, labels
        A column or an array of the same file, or another file.
    target_columns
        Columns of numbers to predict, of the file or of that of the labels.
    name
        What the vectors are called in tables.
    dataset
        What the set of rows is called in tables.
    on_error
        ``fail`` at a row with NaN or infinite values, or ``skip`` it: its row stays, marked.
    overwrite
        Replace a file that was made in another way.
    """

    key: str | None = option(
        None,
        "array of vectors (embeddings, obsm/X_pca), or columns of a table (emb_*)",
        metavar="NAME",
        unset="found by its shape and name",
    )
    ids: str | None = option(
        None,
        "ids: a column or array of the file, or another file",
        metavar="NAME|FILE",
        unset="found by name",
        place=READS,
    )
    labels: str | None = option(
        None,
        "labels: a column or array of the file, or another file: a .csv with ids, a .txt or .npy in order",
        metavar="NAME|FILE",
        unset="found by name",
        place=READS,
    )
    target_columns: tuple[str, ...] | None = as_in(DatasetOptions, "target_columns", None)
    name: str | None = option(
        None, "what the vectors are called in tables", metavar="NAME", unset="the file's name"
    )
    dataset: str | None = option(
        None, "what the set of rows is called in tables", metavar="NAME", unset="from ids and labels"
    )
    on_error: str = option(
        "fail", "fail at what can't be read, or skip it and mark its row", choices=ON_ERROR
    )
    overwrite: bool = option(False, "replace a file that was made in another way")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ImportPlaces:
    """Where an import writes.

    Parameters
    ----------
    output
        The feature file to make.
    """

    output: Path | None = output_option(
        None, "feature file to make", metavar="FILE", unset="runs/NAME.h5", writes=FEATURE_FILE
    )
