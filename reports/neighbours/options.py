"""What `embedkit similar` and `embedkit outliers` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.backbones.options import adapter_option, weights_option
from embedkit.errors import UsageError
from embedkit.options import (
    READS,
    Selection,
    Writes,
    as_in,
    check,
    option,
    output_option,
    path_option,
    prep_option,
)
from reports.report_options import ReportPlaces

PAGE = (".html", ".htm")
TABLE = (".csv",)


@dataclass(frozen=True, kw_only=True)
class SimilarOptions(Selection):
    """Which image is asked about, and how many are found.

    Parameters
    ----------
    id
        Of a row.
    image
        A file, whose features are computed as the feature file records it.
    n
        Images to find.
    prep
        What happens to the features before they are compared.
    weights, adapter
        Of ``image``: where these are, if not where they were.

    Raises
    ------
    UsageError
        Neither an id nor an image, or both.
    """

    id: str | None = option(None, "the row that is asked about", metavar="ID")
    image: Path | None = option(
        None, "a new image, put through the file's own backbone", metavar="FILE", place=READS
    )
    n: int = option(15, "how many images", flag="--n", least=1, metavar="N")
    prep: str = prep_option("none")
    weights: Path | None = weights_option()
    adapter: Path | None = adapter_option()

    def __post_init__(self) -> None:
        check(self)
        if (self.id is None) == (self.image is None):
            raise UsageError(
                "Which image? Give --id ID for a row of the file, or --image FILE for a new one."
            )
        if self.image is None and (self.weights or self.adapter):
            raise UsageError("--weights and --adapter are for --image. Leave them out.")


@dataclass(frozen=True, kw_only=True)
class OutliersOptions(Selection):
    """How many outliers, and by which neighbour.

    Parameters
    ----------
    n
        Images to list.
    kth
        The neighbour whose distance counts.
    prep
        What happens to the features before they are compared.
    """

    n: int = option(50, "how many images", flag="--n", least=1, metavar="N")
    kth: int = option(15, "the neighbour whose distance counts", least=1, metavar="K")
    prep: str = prep_option("none")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class SimilarPlaces:
    """Where it is written, and where the images are.

    Parameters
    ----------
    output
        A .csv, or a page of pictures that ends in .html; by default neither.
    path
        Of a page: where the images are now.
    """

    output: Path | None = output_option(
        None,
        "a .csv, or a page of pictures that ends in .html",
        metavar="FILE",
        unset="neither",
        writes=Writes(("similar images", "an HTML page")),
    )
    path: str | None = path_option()

    def __post_init__(self) -> None:
        _check_ending(self.output)


@dataclass(frozen=True, kw_only=True)
class OutliersPlaces:
    """Where it is written, where the images are, and where clusterings are.

    Parameters
    ----------
    output
        A .csv, or a page of pictures that ends in .html; by default neither.
    path
        Of a page: where the images are now.
    runs
        Folder with results: the newest clustering of this file that has strengths lends them.
    """

    output: Path | None = output_option(
        None,
        "a .csv, or a page of pictures that ends in .html",
        metavar="FILE",
        unset="neither",
        writes=Writes(("outliers", "an HTML page")),
    )
    path: str | None = path_option()
    runs: Path | None = as_in(ReportPlaces, "runs", None)

    def __post_init__(self) -> None:
        _check_ending(self.output)


def _check_ending(output: Path | None) -> None:
    if output is not None and output.suffix.lower() not in (*TABLE, *PAGE):
        raise UsageError(f"-o {output}: not known by its ending. Give a name that ends in .csv or .html.")
