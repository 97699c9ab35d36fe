"""What `embedkit export` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from embedkit.errors import UsageError
from embedkit.files.kinds import MAP_TABLE
from embedkit.options import RUNS, Writes, as_in, check, option, output_option
from reports.report_options import ReportPlaces

PARQUET, CSV = ".parquet", ".csv"
CONFIG, METADATA, VECTORS, MAP, SPRITE = (
    "projector_config.pbtxt",
    "metadata.tsv",
    "vectors.tsv",
    "map.tsv",
    "sprite.jpg",
)
PROJECTOR = (CONFIG, METADATA, VECTORS, MAP, SPRITE)
TABLE_FILE = Writes(("a Parquet table",))
CSV_FILE = Writes((MAP_TABLE,))
FOLDER = Writes(folder=True, makes=PROJECTOR)


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is written beyond the map and what is known of its images.

    Parameters
    ----------
    vectors
        Of a table: whether the features themselves are in it, in Parquet as a column of lists, in CSV as a
        column a dimension.
    """

    vectors: bool = option(False, "of a table: the features themselves, in Parquet as a column of lists")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class ExportPlaces:
    """Where an export reads results and what it writes.

    Parameters
    ----------
    output
        A ``.parquet`` or ``.csv`` table, or a folder for TensorBoard; by default ``<runs>/<name of the
        feature file>.parquet``. A table is replaced, and so is a folder that holds such an export alone.
    runs
        Folder with the results of clusterings and probes.
    """

    output: Path | None = output_option(
        None,
        "a .parquet or .csv table, or a folder for TensorBoard's projector",
        metavar="FILE|DIR",
        unset="RUNS/<name of the feature file>.parquet",
        writes=replace(FOLDER, kinds=(*TABLE_FILE.kinds, *CSV_FILE.kinds), file_endings=(PARQUET, CSV)),
    )
    runs: Path | None = as_in(ReportPlaces, "runs", None)

    def __post_init__(self) -> None:
        check(self)
        if self.output is not None and self.output.suffix and not (self.to_table or self.output.is_dir()):
            raise UsageError(
                f"-o {self.output}: not known by its ending. Give a name that ends in {PARQUET} or {CSV}, or "
                "a folder for TensorBoard's projector."
            )

    @property
    def kind(self) -> str:
        """``.parquet``, ``.csv``, or nothing of a folder."""
        if self.output is None:
            return PARQUET
        ending = self.output.suffix
        return ending if ending in (PARQUET, CSV) and not self.output.is_dir() else ""

    @property
    def to_table(self) -> bool:
        """Whether a table is written, and no folder."""
        return bool(self.kind)

    @property
    def folder(self) -> Path:
        """Where the results are, if they are anywhere."""
        return RUNS if self.runs is None else self.runs
