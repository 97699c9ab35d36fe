"""What one call of `embedkit export` does."""

from __future__ import annotations

import contextlib
import html
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.store import FeatureFile
from embedkit.scoring.selected import selected
from reports.export.comma_separated import write_csv
from reports.export.known import ID, IMAGE, NEIGHBORS, VECTOR, X, Y, known_columns
from reports.export.options import CSV, CSV_FILE, FOLDER, PARQUET, TABLE_FILE, ExportOptions, ExportPlaces
from reports.export.pictures import files, sprite
from reports.export.projector import LEAST_D, MOST_POINTS, Projector, check_folder, write_projector
from reports.export.table import F32, Contents, Rowwise, check_library, write_table
from reports.report_options import MapOptions, ReportOptions

if TYPE_CHECKING:
    from reports.map.content import Page


@dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    path
        The table, or the folder.
    n_images
        Its rows.
    n_pictures
        Rows with a picture.
    columns
        Of the table, or of the folder's table of what is known.
    n_bytes
        Size of all of it.
    open_with
        Commands that open it, as words.
    notes
        What is missing, and why.
    """

    path: Path
    n_images: int
    n_pictures: int
    columns: tuple[str, ...]
    n_bytes: int
    open_with: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    @property
    def facts(self) -> str:
        """What is in it, on one line."""
        return (
            f"{self.n_images:,} images, {self.n_pictures:,} pictures, {len(self.columns)} columns, "
            f"{self.n_bytes / 1e6:.1f} MB."
        )

    @property
    def commands(self) -> list[str]:
        """The commands that open it, to be pasted."""
        return [shlex.join(words) for words in self.open_with]

    def __repr__(self) -> str:
        return "\n".join([f"{self.path}: {self.facts}", *self.commands, *self.notes])

    def _repr_html_(self) -> str:
        code = "".join(f"<li><code>{html.escape(one)}</code></li>" for one in self.commands)
        notes = "".join(f"<li>{html.escape(one)}</li>" for one in self.notes)
        return f"<p>{html.escape(f'{self.path}: {self.facts}')}</p><ul>{code}{notes}</ul>"


@guarded()
def export(
    features: str | os.PathLike[str] | FeatureFile | Sequence[str | os.PathLike[str] | FeatureFile],
    map_options: MapOptions | None = None,
    options: ExportOptions | None = None,
    places: ExportPlaces | None = None,
) -> Exported:
    """Write what a report knows of each image for another program: a table, or a projector's folder.

    Parameters
    ----------
    features
        A feature file, or its path. Of several of the same images a table has the map of each.
    map_options
        How the map is made, as for a report, and which pictures are kept.
    options
        What else is written.
    places
        Where results are read, and what is written.

    Returns
    -------
    Exported
        It names what was written, and the commands that open it.

    Raises
    ------
    EmbedkitError
        No feature file, no row to show, the same features everywhere, or a damaged results.jsonl.
    UsageError
        An option out of range, a name that says neither table nor folder, a folder that holds other things,
        or no pyarrow.
    """
    from reports.map.facts import stem_of
    from reports.map.making import make_page
    from reports.report import results_below

    asked, options, places = map_options or MapOptions(), options or ExportOptions(), places or ExportPlaces()
    several = [features] if isinstance(features, (str, os.PathLike, FeatureFile)) else list(features)
    _check(several, options, places)
    with contextlib.ExitStack() as opened:
        every = [opened.enter_context(selected(one, asked)) for one in several]
        file = every[0]
        target = places.output or places.folder / f"{stem_of(every)}.parquet"
        how = {PARQUET: TABLE_FILE, CSV: CSV_FILE}.get(places.kind, FOLDER)
        check_outputs("-o", {target: how}, *every, asked, places)
        results = results_below(places.runs, places.folder)
        page = make_page(every, ReportOptions(**vars(asked)), results, where=places.folder)
        vectors = _vectors(every, page)
        columns = known_columns(page, _paths(file, page, asked), taken=tuple(vectors))
        commands: tuple[tuple[str, ...], ...] = ()
        if places.kind == PARQUET:
            contents = Contents(
                columns,
                page.neighbours,
                {} if page.sheets is None else files(page.sheets),
                vectors if options.vectors else {},
                _about(page),
            )
            write_table(target, contents)
            names, commands = contents.names, _open_table(target, contents)
        elif places.kind == CSV:
            names = write_csv(target, columns, vectors if options.vectors else {})
        else:
            square, side = (None, 0) if page.sheets is None else sprite(page.sheets)
            projector = Projector(columns, file.d, vectors[VECTOR], square, side)
            write_projector(target, projector)
            names, commands = projector.names, (("tensorboard", "--logdir", str(target)),)
        said = _said(places, page, file.d)
    return Exported(
        path=target,
        n_images=len(page.ids),
        n_pictures=0 if page.sheets is None else page.sheets.n_pictures,
        columns=names,
        n_bytes=_size(target),
        open_with=commands,
        notes=(*page.notes, *said),
    )


def _check(several: Sequence[Any], options: ExportOptions, places: ExportPlaces) -> None:
    """Refuse before anything is computed what can't be written."""
    if not several:
        raise UsageError("No feature file. Name one, or several of the same images.")
    if len(several) > 1 and not places.to_table:
        raise UsageError(
            f"-o {places.output}: a projector's folder is of one feature file, and {len(several)} are named. "
            "Export each by itself, or to a table."
        )
    if places.kind == PARQUET:
        check_library()
    elif places.output is not None and not places.to_table:
        if options.vectors:
            raise UsageError("--vectors is for a table: a projector holds them anyway. Leave it out.")
        check_folder(places.output)


def _paths(file: FeatureFile, page: Page, asked: MapOptions) -> list[str] | None:
    """Return where each image is; None where that is not known."""
    from embedkit.datasets.source_images import find_dataset

    ids = page.ids.tolist()
    try:
        dataset = find_dataset(file.made, asked.path, ids=ids, where=str(file.path))
    except (EmbedkitError, OSError):
        if asked.path is not None:  # asked for by name: not something to go on without
            raise
        return None
    row_of = {str(name): row for row, name in enumerate(dataset.rows.ids.tolist())}
    found = [dataset.where(row_of[name]) if name in row_of else "" for name in ids]
    return [str(Path(one).absolute()) if one and Path(one).exists() else one for one in found]


def _vectors(files: Sequence[FeatureFile], page: Page) -> dict[str, Rowwise]:
    """Return what reads the features of some of the page's rows, by the name of their column."""
    found: dict[str, Rowwise] = {}
    for name, file in zip(("", *(one.name for one in page.linked)), files, strict=True):
        row_of = {str(one): row for row, one in enumerate(file.rows.ids.tolist())}
        rows = np.array([row_of[str(one)] for one in page.ids.tolist()], np.int64)

        def read(start: int, stop: int, *, of: FeatureFile = file, at: NDArray[np.int64] = rows) -> F32:
            return of.read(at[start:stop])

        found[f"{VECTOR}:{name}" if name else VECTOR] = read
    return found


def _about(page: Page) -> dict[str, str]:
    """Say what the table was made of, without the time: the same inputs give the same bytes."""
    facts = {name: text for name, text in page.about if name != "report"}
    return {**facts, "embedkit": page.version, "map": page.caption, "neighbors": page.near}


def _open_table(path: Path, contents: Contents) -> tuple[tuple[str, ...], ...]:
    given = {name: name for name in (NEIGHBORS, IMAGE) if name in contents.names}
    flags = [word for name, value in given.items() for word in (f"--{name}", value)]
    atlas = ("embedding-atlas", str(path), "--x", X, "--y", Y, "--text", ID, *flags)
    return (atlas, ("ls-ingest", path.stem, "--path", str(path), "--text_column", ID))


def _said(places: ExportPlaces, page: Page, d: int) -> list[str]:
    """Return what must be known of a projector's folder beyond what the map's notes say."""
    said = []
    if not places.to_table:
        if len(page.ids) > MOST_POINTS:
            said.append(
                f"The projector looks at the first {MOST_POINTS:,} images alone; --max-points draws fewer."
            )
        if d < LEAST_D:
            said.append(f"The projector wants {LEAST_D} dimensions: further ones of zeros are written.")
    for text in said:
        note(text)
    return said


def _size(path: Path) -> int:
    return sum(one.stat().st_size for one in (path.iterdir() if path.is_dir() else [path]))
