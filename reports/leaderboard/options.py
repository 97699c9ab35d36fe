"""What a leaderboard can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.errors import UsageError
from embedkit.options import Writes, check, option, output_option

FORMATS = ("table", "markdown", "csv", "json", "html")
ENDINGS = {".md": "markdown", ".csv": "csv", ".json": "json", ".html": "html"}
# In place of a label budget: results of probes that had all labels, and of what needs none.
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class LeaderboardOptions:
    """Which results are ranked, and by what.

    Parameters
    ----------
    task, dataset, method
        Keep only results of this one, by its whole name.
    features
        Keep only feature sets whose name holds this.
    budget
        Keep only results of this label budget, in the words of ``embedkit probe --budget``: images a class
        (``5``), or a share (``5%``); ``all`` for results without one.
    sort
        Rank by this metric, or by ``seconds`` or ``n``; by default each group by its first of accuracy,
        RMSE, ROC AUC, NMI and silhouette.
    """

    task: str | None = option(None, "only this task: cluster, probe, ...", metavar="TASK")
    dataset: str | None = option(None, "only this dataset", metavar="NAME")
    method: str | None = option(None, "only this method: linear, knn, kmeans, ...", metavar="NAME")
    features: str | None = option(None, "only feature sets whose name holds this", metavar="PART")
    budget: str | None = option(
        None, "only this label budget: 5 or 5%, as in embedkit probe; all: no budget", metavar="LABELS"
    )
    sort: str | None = option(
        None,
        "rank by this metric, by seconds or by n",
        metavar="METRIC",
        unset="accuracy; RMSE of targets",
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class LeaderboardPlaces:
    """How a leaderboard is written, and where.

    Parameters
    ----------
    output
        The one file it is written to; by default it is only returned, and the command prints it.
    format
        Of `output`, or of what the command prints: by default what the ending of the file's name says, and
        a table on the terminal.
    wide
        Show every column in tables on the terminal, however narrow it is.
    html
        One more file, the sortable page.
    """

    output: Path | None = output_option(
        None,
        "write it there instead of on the terminal",
        metavar="FILE",
        writes=Writes(("a leaderboard", "an HTML page")),
    )
    format: str | None = option(
        None, "how to write it", choices=FORMATS, unset="as the ending of -o says, else a table"
    )
    wide: bool = option(False, "every column, however wide the terminal is")
    html: Path | None = option(
        None,
        "also write one sortable page with the intervals drawn",
        metavar="FILE",
        place=Writes(("an HTML page",)),
    )

    def __post_init__(self) -> None:
        check(self)
        if self.output is not None and self.format is None and self.output.suffix.lower() not in ENDINGS:
            raise UsageError(f"-o {self.output}: give --format, or a name that ends in {', '.join(ENDINGS)}.")

    @property
    def style(self) -> str:
        """The format that was given, or that the ending of the file's name says."""
        if self.format is None and self.output is not None:
            return ENDINGS[self.output.suffix.lower()]
        return self.format or "table"
