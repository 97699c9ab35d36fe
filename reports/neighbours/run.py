"""What one call of `embedkit similar` or `embedkit outliers` does."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, EmbedkitError
from embedkit.files.aside import write_text
from embedkit.files.guard import guarded
from embedkit.files.neighbours import nearest_rows, rows_of
from embedkit.files.results import computed_on, locate_results
from embedkit.files.store import FeatureFile
from embedkit.files.tables import ASSIGNMENTS, OUTLIERS, SIMILAR, read_table, write_table
from embedkit.files.usable_rows import read_usable
from embedkit.options import RUNS
from embedkit.preparing.preparation import prepare
from embedkit.preparing.steps import Preparation
from embedkit.scoring.selected import selected
from reports.neighbours.farthest import farthest
from reports.neighbours.found import Found
from reports.neighbours.options import (
    PAGE,
    OutliersOptions,
    OutliersPlaces,
    SimilarOptions,
    SimilarPlaces,
)


@guarded()
def similar(
    features: str | os.PathLike[str] | FeatureFile,
    options: SimilarOptions,
    places: SimilarPlaces = SimilarPlaces(),
) -> Found:
    """Find the images that are most like one, by the cosine similarity of their features; exact.

    Parameters
    ----------
    features
        A feature file, or its path.
    options
        Which image, and how many are found.
    places
        Where they are written, and where the images are.

    Returns
    -------
    Found
        The images, the most similar first, with ``to_pandas()``.

    Raises
    ------
    UsageError
        Neither an id nor an image.
    EmbedkitError
        No such row, or an image or a file that can't be read.
    """
    with selected(features, options) as file:
        rows, x, transform = _prepared(file, options.prep)
        if options.image is not None:
            from embedkit.extraction.again import embed_image

            moved = {name: one for name in ("weights", "adapter") if (one := getattr(options, name))}
            query = transform(embed_image(file, options.image, moved)[None])
            name, own = str(options.image), None
        else:
            name = str(options.id)
            own = rows_of(file, [name])
            query = x[own]
        place, similarity = nearest_rows(query, x, options.n, own=own)
        at = rows[place[0]]
        if not len(at):
            raise EmbedkitError(f"{file.path}: there is no other image to be like {name}. Give more.")
        table: dict[str, NDArray[Any]] = {
            "id": file.rows.ids[at],
            "place": np.arange(1, len(at) + 1),
            "similarity": similarity[0],
            "query": np.full(len(at), name),
            **_labels(file, at),
        }
        images = "image" if len(at) == 1 else "images"
        title = f"{len(at):,} {images} most like {name}, by cosine similarity{_of(options.prep)}"
        found = Found(title, SIMILAR, table, tuple(file.remarks))
        return _written(file, found, places, query=options.image or name)


@guarded()
def outliers(
    features: str | os.PathLike[str] | FeatureFile,
    options: OutliersOptions = OutliersOptions(),
    places: OutliersPlaces = OutliersPlaces(),
) -> Found:
    """Find the images that are least like any other: far from their k-th nearest, by cosine; exact.

    Parameters
    ----------
    features
        A feature file, or its path.
    options
        How many, and by which neighbour.
    places
        Where they are written, where the images are, and where clusterings are.

    Returns
    -------
    Found
        The images, the farthest first, with ``to_pandas()``.

    Raises
    ------
    EmbedkitError
        One row only, or a file that can't be read.
    """
    with selected(features, options) as file:
        rows, x, _ = _prepared(file, options.prep)
        if len(rows) < 2:
            raise EmbedkitError(f"{file.path}: one image is like no other. Give more.")
        k = min(options.kth, len(rows) - 1)
        notes = list(file.remarks)
        if k < options.kth:
            only = "Only 1 other image" if k == 1 else f"Only {k} other images"
            notes.append(f"{only}: the distance to the farthest counts.")
        far = farthest(x, k, options.n)
        at = rows[far.index]
        table: dict[str, NDArray[Any]] = {
            "id": file.rows.ids[at],
            "place": np.arange(1, len(at) + 1),
            "distance": far.distance,
            "nearest": file.rows.ids[rows[far.nearest]],
            **_labels(file, at),
            **_strengths(file, at, places, notes),
        }
        title = (
            f"{len(at):,} images least like any other: cosine distance to neighbour {k}{_of(options.prep)}"
        )
        return _written(file, Found(title, OUTLIERS, table, tuple(notes)), places)


def _prepared(file: FeatureFile, words: str) -> tuple[NDArray[np.int64], NDArray[np.float32], Any]:
    """Return the rows that could be read, their features, and what prepares other features alike."""
    rows = np.flatnonzero(file.ok)
    if not len(rows):
        raise EmbedkitError(f"{file.path}: no row could be read when it was extracted: nothing to find.")
    try:
        if not Preparation.parse(words).steps:
            return rows, read_usable(file, rows), lambda x: x
        prepared = prepare(file, words, rows=rows)
        return rows, prepared.transform_file(file, rows), prepared.transform
    except DataError as error:
        raise EmbedkitError(f"{file.path}: {error}") from error


def _of(words: str) -> str:
    return "" if words == "none" else f" after {Preparation.parse(words).name}"


def _labels(file: FeatureFile, at: NDArray[np.int64]) -> dict[str, NDArray[np.str_]]:
    if file.rows.labels is None:
        return {}
    return {"label": np.append(np.asarray(file.rows.class_names), "")[file.rows.labels[at]]}


def _strengths(
    file: FeatureFile, at: NDArray[np.int64], places: OutliersPlaces, notes: list[str]
) -> dict[str, NDArray[np.float64]]:
    """Return the strength of membership in the newest clustering that has any, if there is one."""
    folder = RUNS if places.runs is None else places.runs
    results = locate_results(folder, missing_ok=True) if folder.is_dir() else []
    for where, result in reversed(results):
        name = result.provenance.get("assignments")
        if name is None or file.sha256 not in computed_on(result):
            continue
        try:
            table = read_table(where / str(name), ASSIGNMENTS)
        except EmbedkitError as error:
            notes.append(f"Its strengths are not shown. {error}")
            continue
        if "probability" in table:
            of = dict(zip(table["id"].tolist(), table["probability"].tolist(), strict=True))
            notes.append(f"Strength: of {result.method}, {name}.")
            return {"strength": np.array([of.get(str(one), np.nan) for one in file.rows.ids[at]])}
    return {}


def _written(
    file: FeatureFile,
    found: Found,
    places: SimilarPlaces | OutliersPlaces,
    *,
    query: str | Path | None = None,
) -> Found:
    if places.output is None:
        return found
    if places.output.suffix.lower() in PAGE:
        from reports.neighbours.gallery import gallery

        text, notes = gallery(file, found, places.path, query=query)
        write_text(places.output, text)
        return replace(found, notes=(*found.notes, *notes), path=places.output)
    write_table(places.output, found.kind, found.table)
    return replace(found, path=places.output)
