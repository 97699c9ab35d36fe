"""What a report shows, before it is a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.files.page_of import About, link_to
from embedkit.files.rows import Rows
from embedkit.options import RUNS
from reports.leaderboard.table import Leaderboard
from reports.map.beside import Beside
from reports.map.columns import Column
from reports.map.evidence import Clustering, Confusion
from reports.map.layout import Map
from reports.map.linked.sets import LinkedSet
from reports.map.neighbours import Neighbours
from reports.map.ranks import Rank
from reports.map.sheets import Sheets
from reports.map.sureness import Answers, Sureness
from reports.map.trainings import Training
from reports.map.views import ViewSheet


@dataclass(frozen=True)
class Page:
    """What a report shows.

    Parameters
    ----------
    title
        Heading and window title.
    file_stem
        Name of the feature file without folder and ending, for saved pictures.
    facts
        Short facts in the header.
    about
        (name, value) pairs of the provenance section.
    provenance
        The feature file's own record, shown in a fold-out.
    notes
        What is missing, shown above the map.
    ids : (n,) str
        Of the n points.
    map
        Coordinates of the n points.
    caption
        How it was made, and how far it is to be believed.
    columns
        What they can be coloured by; every column has n rows.
    rows
        What the feature file knows of the n points.
    known
        `columns` with all of their categories, not the largest alone.
    color
        Key of the first column shown.
    neighbours
        Nearest other points in feature space.
    near
        What near means there, in words.
    sheets
        Pictures by point, None where the images weren't looked for or not found.
    ranks
        Lists to go through.
    clusterings
        Of the n points, for the galleries.
    confusions
        Matrices.
    sure
        How sure probes and networks were of their test images.
    trainings
        That made the features, or lie among the results.
    views
        What the views of each feature file drew.
    beside
        Pages and pictures among the results.
    board
        The results that belong to the file, ranked.
    runs
        The folder that they are from.
    place
        Where the page is written; without one it links to no other page.
    version
        Of embedkit.
    name
        What the first feature set is called beside others.
    faith
        How far its map is to be believed, on a line.
    linked
        These others, of the same n images.
    left_out
        Note to ids (m,): the images of a set that are not in all of them.
    n_new
        How many of the n points, the last ones, were placed on the map of the others.
    digests
        SHA-256 of the feature files.
    """

    title: str
    file_stem: str
    facts: Sequence[str]
    about: Sequence[tuple[str, str]]
    provenance: dict[str, Any]
    notes: Sequence[str]
    ids: NDArray[np.str_]
    map: Map
    caption: str
    columns: Sequence[Column]
    rows: Rows
    known: Sequence[Column]
    color: str
    neighbours: Neighbours
    near: str
    sheets: Sheets | None
    ranks: Sequence[Rank] = ()
    clusterings: Sequence[Clustering] = ()
    confusions: Sequence[Confusion] = ()
    sure: Sequence[Sureness | Answers] = ()
    trainings: Sequence[Training] = ()
    views: Sequence[ViewSheet] = ()
    board: Leaderboard = field(default_factory=lambda: Leaderboard(()))
    beside: Beside = field(default_factory=Beside)
    runs: Path = RUNS
    place: Path | None = None
    version: str = ""
    name: str = ""
    faith: str = ""
    linked: Sequence[LinkedSet] = ()
    left_out: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    n_new: int = 0
    digests: Sequence[str] = ()

    def links(self, pages: Sequence[tuple[Path, About]], name: str, *, says: bool = True) -> str:
        """Return a list of links to other pages, with what each found."""
        if self.place is None or not pages:
            return ""
        items = "".join(
            f'<li><a href="{escape(link_to(path, beside=self.place))}">{escape(f"{name}: {path.name}")}</a> '
            f"{escape(about.says) if says else ''}</li>"
            for path, about in pages
        )
        return f'<ul class="links">{items}</ul>'
