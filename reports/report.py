"""An interactive map of a feature file, in one HTML file."""

from __future__ import annotations

import dataclasses
import html
import os
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedkit.errors import UsageError
from embedkit.files.aside import write_bytes
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.regular import resolved
from embedkit.files.results import RESULTS_FILE, Result, locate_results
from embedkit.files.showing import page_link
from embedkit.files.store import FeatureFile
from embedkit.scoring.selected import selected
from reports.report_options import PAGE, ReportOptions, ReportPlaces

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from reports.map.figure import Drawn


@dataclass(frozen=True)
class Report:
    """What was written.

    Parameters
    ----------
    path
        The HTML file.
    n_points
        Images on the map.
    n_thumbnails
        Images with a picture.
    n_results
        Results shown.
    n_bytes
        Size of the file.
    columns
        What the map can be coloured by.
    notes
        What is missing, and why; also in the page.
    drawn
        The map itself: `figure` draws it.
    """

    path: Path
    n_points: int
    n_thumbnails: int
    n_results: int
    n_bytes: int
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    drawn: Drawn = dataclasses.field(repr=False)

    def figure(self, color: str | None = None) -> Figure:
        """Return the map as a plotly figure, which shows itself in a notebook.

        Parameters
        ----------
        color
            One of `columns`; the one that the page opens with by default.

        Raises
        ------
        UsageError
            No such column.
        """
        return self.drawn.figure(color)

    @property
    def facts(self) -> str:
        """What is in it, on one line."""
        return (
            f"{self.n_points:,} images, {self.n_thumbnails:,} pictures, "
            f"{self.n_results} {'result' if self.n_results == 1 else 'results'}, {self.n_bytes / 1e6:.1f} MB."
        )

    def __repr__(self) -> str:
        return "\n".join([f"{self.path}: {self.facts}", *self.notes])

    def _repr_html_(self) -> str:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in self.notes)
        return page_link(self.path, self.facts) + (f"<ul>{notes}</ul>" if notes else "")


@guarded()
def report(
    features: str | os.PathLike[str] | FeatureFile,
    options: ReportOptions | None = None,
    places: ReportPlaces | None = None,
    *,
    results: Sequence[tuple[Path, Result]] | None = None,
) -> Report:
    """Write an interactive map of a feature file as one HTML file that needs no network.

    Parameters
    ----------
    features
        A feature file, or its path.
    options
        How it is made.
    places
        Where results are read, and where it is written.
    results
        Those already read, with the folder that each stands in, instead of those below ``runs``.

    Returns
    -------
    Report
        It names the file, and shows a link to it in a notebook.

    Raises
    ------
    EmbedkitError
        No feature file, no row to show, the same features everywhere, or a damaged results.jsonl.
    UsageError
        An option out of range, or a column that isn't there.
    """
    from reports.map.figure import Drawn
    from reports.map.making import make_page
    from reports.map.page import render

    options, places = options or ReportOptions(), places or ReportPlaces()
    with selected(features, options) as file:
        target = places.output or places.folder / f"{file.path.stem}.html"
        check_outputs("-o", {target: PAGE}, file, options, places)
        if results is None:
            if places.runs is not None and not places.runs.is_dir():
                raise UsageError(f"--runs {places.runs}: no such folder.")
            results = _results(places.folder)
        page = make_page(file, options, results, where=places.folder)
    n_bytes = _write(target, render(page))
    if places.open:
        webbrowser.open(resolved(target).as_uri())
    return Report(
        path=target,
        n_points=len(page.ids),
        n_thumbnails=0 if page.sheets is None else page.sheets.n_pictures,
        n_results=len(page.board.runs),
        n_bytes=n_bytes,
        columns=tuple(column.key for column in page.columns),
        notes=tuple(page.notes),
        drawn=Drawn(page.ids, page.map.xy, tuple(page.columns), page.color),
    )


def _results(folder: Path) -> list[tuple[Path, Result]]:
    """Read what is below a folder; nothing where there is none."""
    there = folder.is_dir() and next(folder.rglob(RESULTS_FILE), None) is not None
    return locate_results(folder) if there else []


def _write(path: Path, text: str) -> int:
    data = text.encode("utf-8")
    write_bytes(path, data)
    return len(data)
