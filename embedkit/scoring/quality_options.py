"""What `embedkit quality` can be asked for; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.options import READS, RUNS, Selection, check, option, output_option, seed_option


@dataclass(frozen=True)
class QualityOptions(Selection):
    """How feature files are judged without labels.

    Parameters
    ----------
    n_rows
        Rows of each file to look at, at most: the criteria depend on their number.
    seed
        Of the rows that are drawn, and of what the criteria draw.
    umap
        The silhouette of ten clusters in a UMAP too.

    Raises
    ------
    UsageError
        Fewer than three rows.
    """

    n_rows: int = option(5000, "rows to look at, at most, drawn by --seed", least=3, metavar="N")
    seed: int = seed_option()
    umap: bool = option(False, "the silhouette of ten clusters in a UMAP too: the slowest by far")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class QualityPlaces:
    """Where a judgement reads and writes what is no feature file.

    Parameters
    ----------
    runs
        Folder with probe results of the same files, to compare with.
    output
        Folder for results.jsonl; from Python, None writes nothing.
    """

    runs: Path | None = option(
        None, "compare with the probe results of the same files there", metavar="DIR", place=READS
    )
    output: Path | None = output_option(RUNS, "folder for results.jsonl")
