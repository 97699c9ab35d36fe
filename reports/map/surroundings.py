"""What stands on a page besides the rows of its files: ranks, trainings, views, and other pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from embedkit.console import note
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.source_images import find_dataset
from embedkit.errors import EmbedkitError
from embedkit.files.results import Result
from embedkit.files.store import FeatureFile
from embedkit.scoring.outcomes import Outcomes, TrueClasses, read_outcomes
from reports.leaderboard.table import Leaderboard
from reports.map.beside import find_beside
from reports.map.content import Page
from reports.map.trainings import find_trainings
from reports.map.views import ViewSheet, view_sheet
from reports.report_options import ReportOptions


def surrounded(
    page: Page,
    files: Sequence[FeatureFile],
    options: ReportOptions,
    results: Sequence[tuple[Path, Result]],
    *,
    place: Path,
) -> Page:
    """Return a page with what there is to say besides its rows.

    Parameters
    ----------
    page
        Of the files.
    files
        Open.
    options
        How it is made.
    results
        With the folder that each stands in.
    place
        Where it is written.
    """
    notes = list(page.notes)

    def say(text: str) -> None:
        notes.append(text)
        note(text)

    fingerprints = {found for one in files if (found := one.made.fingerprint)}
    return dataclasses.replace(
        page,
        board=_ranked(page.board, files, {id(result): folder for folder, result in results}),
        trainings=find_trainings(files, page.runs, say),
        views=_view_sheets(files, options, say),
        beside=find_beside(page.runs, fingerprints, say),
        place=place,
        notes=notes,
    )


def _ranked(board: Leaderboard, files: Sequence[FeatureFile], folders: dict[int, Path]) -> Leaderboard:
    """Test which of the results can be told apart, as the leaderboard does."""
    classes = TrueClasses(files)

    def read(result: Result) -> Outcomes:
        try:
            return read_outcomes(result, folders[id(result)], classes)
        except OSError as error:
            raise EmbedkitError(f"what it said of each image can't be read ({error.strerror})") from error

    return board.with_ranks(read)


def _view_sheets(
    files: Sequence[FeatureFile], options: ReportOptions, say: Callable[[str], None]
) -> list[ViewSheet]:
    """Draw what the views of each file drew, of those whose views or input differ."""
    if not (options.thumbnails and options.max_thumbnails):
        return []
    found: dict[str, ViewSheet] = {}
    for file in files:

        def images(file: FeatureFile = file) -> Dataset:
            return find_dataset(file.made, options.path, ids=file.rows.ids.tolist(), where=str(file.path))

        record = file.made.extraction
        key = "" if record is None else repr((record.views, record.preprocessing))
        if key not in found and (sheet := view_sheet(file, images, say)) is not None:
            found[key] = sheet
    return list(found.values())
