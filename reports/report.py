"""An interactive map of a feature file, in one HTML file."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import os
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from embedkit.console import note
from embedkit.errors import UsageError
from embedkit.files.aside import write_bytes
from embedkit.files.feature_set import opened as opened_file
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.regular import resolved
from embedkit.files.results import Result, locate_results
from embedkit.files.showing import data_frame, page_link
from embedkit.files.store import FeatureFile
from embedkit.options import from_mapping
from embedkit.scoring.selected import selected
from reports.figure_options import FIGURE, FigureOptions
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
        The map itself: `figure` and `save_figure` draw it.
    figure_file
        The map for a paper, where one was asked for.
    known
        What is known of each image: name to (n,) values.
    """

    path: Path
    n_points: int
    n_thumbnails: int
    n_results: int
    n_bytes: int
    columns: tuple[str, ...]
    notes: tuple[str, ...]
    drawn: Drawn = dataclasses.field(repr=False)
    figure_file: Path | None = None
    known: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict, repr=False)

    def to_pandas(self) -> Any:
        """Return what is known of each image, a row each, as a pandas DataFrame.

        Its columns are ``id``, the places ``x`` and ``y`` on the map, and what the page colours by, with all
        categories; `embedkit.export` writes the same as a Parquet table.

        Raises
        ------
        EmbedkitError
            pandas is not installed.
        """
        return data_frame(self.known)

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

    def save_figure(self, path: str | os.PathLike[str], color: str | None = None, **how: Any) -> Path:
        """Draw the map for a paper, and return its path.

        Parameters
        ----------
        path
            A ``.pdf``, ``.svg`` or ``.png``, which is replaced.
        color
            As in `figure`.
        **how
            ``figure_size``, ``figure_dpi``, ``figure_names`` and ``figure_thumbnails``, as
            `embedkit.report` takes them.

        Raises
        ------
        UsageError
            No such column, an option out of range, no pictures, no matplotlib, or no room for the map.
        """
        options = from_mapping(FigureOptions, {"figure": Path(path), **how}, "save_figure")
        check_outputs("save_figure", {Path(path): FIGURE})
        for text in self.drawn.save(options, color):
            note(text)
        return Path(path)

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
        notes = "".join(f"<li>{html.escape(one)}</li>" for one in self.notes)
        return page_link(self.path, self.facts) + (f"<ul>{notes}</ul>" if notes else "")


@guarded()
def report(
    features: str | os.PathLike[str] | FeatureFile | Sequence[str | os.PathLike[str] | FeatureFile],
    options: ReportOptions | None = None,
    places: ReportPlaces | None = None,
    figure: FigureOptions | None = None,
    *,
    results: Sequence[tuple[Path, Result]] | None = None,
) -> Report:
    """Write an interactive map of a feature file as one HTML file that needs no network.

    Parameters
    ----------
    features
        A feature file, or its path. Of several of the same images the first map stands beside those of the
        others.
    options
        How it is made.
    places
        Where results are read, and where it is written.
    figure
        The map for a paper beside it.
    results
        Those already read, with the folder that each stands in, instead of those below ``runs``.

    Returns
    -------
    Report
        It names the file, and shows a link to it in a notebook.

    Raises
    ------
    EmbedkitError
        No feature file, no row to show, no image that is in all files, the same features
        everywhere, or a damaged results.jsonl.
    UsageError
        An option out of range, or a column that isn't there.
    """
    from reports.export.known import known_columns
    from reports.map.facts import stem_of
    from reports.map.figure import Drawn
    from reports.map.making import make_page
    from reports.map.page import render
    from reports.map.surroundings import surrounded

    options, places = options or ReportOptions(), places or ReportPlaces()
    figure = figure or FigureOptions()
    several = [features] if isinstance(features, (str, os.PathLike, FeatureFile)) else list(features)
    if not several:
        raise UsageError("No feature file. Name one, or several of the same images.")
    _check(figure, options, n_files=len(several))
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(selected(one, options)) for one in several]
        target = places.output or places.folder / f"{stem_of(files)}.html"
        check_outputs("-o", {target: PAGE}, *files, options, places, figure)
        if results is None:
            results = results_below(places.runs, places.folder)
        new = None if options.transform is None else opened.enter_context(opened_file(options.transform))
        page = make_page(files, options, results, where=places.folder, new=new)
        page = surrounded(page, files, options, results, place=target)
    drawn = Drawn(page.ids, page.map.xy, tuple(page.columns), page.color, page.map.axes, page.sheets)
    notes = list(page.notes)
    n_bytes = _write(target, render(page))
    if figure.figure is not None:
        for text in drawn.save(figure):
            notes.append(text)
            note(text)
    if places.open:
        webbrowser.open(resolved(target).as_uri())
    return Report(
        path=target,
        n_points=len(page.ids),
        n_thumbnails=0 if page.sheets is None else page.sheets.n_pictures,
        n_results=len(page.board.runs),
        n_bytes=n_bytes,
        columns=tuple(column.key for column in page.columns),
        notes=tuple(notes),
        drawn=drawn,
        figure_file=figure.figure,
        known=known_columns(page),
    )


def _check(figure: FigureOptions, options: ReportOptions, *, n_files: int) -> None:
    """Refuse before anything is computed what can't be drawn."""
    if options.transform is not None and n_files > 1:
        raise UsageError(
            f"--transform {options.transform}: new images are placed on one map, and {n_files} feature files "
            "are named. Give one."
        )
    if figure.figure is None:
        return
    if n_files > 1:
        raise UsageError(
            f"--figure {figure.figure}: it draws the map of one feature file, and {n_files} are named. "
            "Make a figure of each by itself."
        )
    from reports.map.paper.drawing import check_library

    check_library()
    if figure.figure_thumbnails is not None and not (options.thumbnails and options.max_thumbnails):
        raise UsageError(
            "--figure-thumbnails wants pictures. Leave --no-thumbnails and --max-thumbnails 0 out."
        )


def results_below(named: Path | None, folder: Path) -> list[tuple[Path, Result]]:
    """Read what is below a folder; nothing where there is none, unless it was named.

    Raises
    ------
    UsageError
        The folder that was named is not there.
    """
    if named is not None and not named.is_dir():
        raise UsageError(f"--runs {named}: no such folder.")
    return locate_results(folder, missing_ok=True) if folder.is_dir() else []


def _write(path: Path, text: str) -> int:
    data = text.encode("utf-8")
    write_bytes(path, data)
    return len(data)
