"""What a report can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.errors import UsageError
from embedkit.options import (
    PREP,
    READS,
    RUNS,
    Selection,
    Writes,
    check,
    option,
    output_option,
    path_option,
    prep_option,
    seed_option,
)

PROJECTIONS = ("umap", "pca", "tsne")
UMAP_METRICS = ("cosine", "euclidean", "correlation", "manhattan")
NONE = "none"
# Of a galaxy a picture takes about 1.5 kB, or 0.7 kB.
LARGE_PICTURE, SMALL_PICTURE, MANY_PICTURES = 96, 64, 6_000
PAGE = Writes(("an HTML page",))
# Names that promise something else than a page.
PICTURES, TABLES = (".pdf", ".png", ".svg"), (".csv", ".parquet")


@dataclass(frozen=True, kw_only=True)
class MapOptions(Selection):
    """How the images of a feature file are laid out, and which pictures of them are kept.

    Parameters
    ----------
    prep
        What happens to the features before the map is made of them, in the words of
        `embedkit.preparing.steps.Preparation.parse`, and before the nearest images are found. By default
        the map is made as the first clustering shown prepared them, else as `embedkit cluster` would, and
        the nearest images are those of the features as extracted.
    projection
        How the map is made: ``umap``, ``pca`` or ``tsne``.
    seed
        Seed of the map and of every random choice of rows.
    n_neighbors, min_dist
        As in `reports.map.layout.Plan`.
    umap_metric
        What near means, on the map and for the nearest images of each. By default the cosine, of rows that
        were centred the Euclidean distance: there a cosine would be the angle at the mean.
    max_points
        Points on the map at most; of more rows, so many are drawn at random.
    thumbnails
        Whether to read the images again.
    path
        Where they lie now, if not where the feature file was made from.
    thumbnail_size
        Longer side of a picture, in pixels; by default fewer where there are many pictures.
    max_thumbnails
        Pictures at most: those nearest to the cluster centres, then others at random.
    """

    prep: str | None = prep_option(None, unset=f"the first clustering's for the map, else {PREP}")
    projection: str = option("umap", "how the map is made", choices=PROJECTIONS)
    seed: int = seed_option()
    n_neighbors: int = option(15, "umap: neighbours", least=2, metavar="N")
    min_dist: float = option(0.1, "umap: how tightly points may pack", least=0, most=1)
    umap_metric: str | None = option(
        None,
        "what near means",
        choices=UMAP_METRICS,
        unset="cosine; euclidean after a --prep that centres",
    )
    max_points: int = option(50_000, "points on the map at most", least=1, metavar="N")
    thumbnails: bool = option(True, "don't read the images")
    path: str | None = path_option()
    thumbnail_size: int | None = option(
        None,
        "side of a picture",
        least=16,
        most=256,
        metavar="PIXELS",
        unset=f"{LARGE_PICTURE}; {SMALL_PICTURE} above {MANY_PICTURES:,} pictures",
    )
    max_thumbnails: int = option(20_000, "pictures at most", least=0, metavar="N")

    def __post_init__(self) -> None:
        check(self)
        if self.prep not in (None, NONE):
            # On use: `--help` waits for no scikit-learn.
            from embedkit.preparing.steps import Preparation

            Preparation.parse(self.prep)

    def picture_size(self, n: int) -> int:
        """Return the longer side of n pictures."""
        if self.thumbnail_size is not None:
            return self.thumbnail_size
        return LARGE_PICTURE if n <= MANY_PICTURES else SMALL_PICTURE

    def metric(self, prep: str) -> str:
        """Return what near means after a preparation, decided."""
        if self.umap_metric is not None:
            return self.umap_metric
        from embedkit.preparing.steps import Preparation

        return "euclidean" if Preparation.parse(prep).centres else "cosine"


@dataclass(frozen=True, kw_only=True)
class ReportOptions(MapOptions):
    """How a report is made.

    Parameters
    ----------
    color
        Column to colour by at first; by default the label, else the first clustering; with `transform` what
        is known and what is new.
    transform
        Another feature file, made in the same way, whose images are placed on the map.
    transform_path
        Where these images lie now, if not where that file was made from.
    """

    color: str | None = option(
        None,
        "column to colour by at first: label, cluster, split, ...",
        metavar="COLUMN",
        unset="label, else the first clustering",
    )
    transform: Path | None = option(
        None,
        "another feature file, whose images are placed on the map, which stays as it is",
        metavar="FILE",
        place=READS,
    )
    transform_path: str | None = option(
        None,
        "where the images of --transform are now, as --path says it of the others",
        metavar="PATH",
        unset="where they were",
        place=READS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.transform_path is not None and self.transform is None:
            raise UsageError("--transform-path is for the images of --transform FILE. Give that too.")


@dataclass(frozen=True, kw_only=True)
class ReportPlaces:
    """Where a report reads results and where it is written.

    Parameters
    ----------
    output
        The HTML file, replaced whole or not at all; by default ``<runs>/<name of the feature file>.html``.
    runs
        Folder with the results of clusterings and probes; by default ``runs``, if there is one. Those that
        were computed on this very file are shown.
    open
        Whether to open it in the browser.
    """

    output: Path | None = output_option(
        None,
        "the HTML file",
        metavar="FILE",
        unset="RUNS/<name of the feature file>.html",
        writes=PAGE,
    )
    runs: Path | None = option(
        None, "folder of results to show", metavar="DIR", unset="runs, if there is one", place=READS
    )
    open: bool = option(False, "open it in the browser")

    def __post_init__(self) -> None:
        check(self)
        ending = "" if self.output is None else self.output.suffix.lower()
        if ending in PICTURES + TABLES:
            figure = ending in PICTURES
            other = "--figure FILE draws the map" if figure else "`embedkit export` writes a table"
            raise UsageError(
                f"-o {self.output}: a report is an HTML page. Give a name that ends in .html; {other}."
            )

    @property
    def folder(self) -> Path:
        """Where the results are, if they are anywhere."""
        return RUNS if self.runs is None else self.runs
