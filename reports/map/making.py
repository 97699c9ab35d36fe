"""A feature file as a page: its rows chosen, prepared, laid out, and joined by what is known of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.files.results import Result
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile
from embedkit.options import PREP
from embedkit.versions import own_version
from reports.report_options import NONE, ReportOptions

if TYPE_CHECKING:
    from reports.map.columns import Column
    from reports.map.content import Page
    from reports.map.evidence import Clustering, Evidence
    from reports.map.fidelity import Fidelity
    from reports.map.layout import Map
    from reports.map.linked.sets import LinkedSet
    from reports.map.neighbours import Neighbours
    from reports.map.sheets import Sheets


def make_page(
    files: Sequence[FeatureFile],
    options: ReportOptions,
    results: Sequence[tuple[Path, Result]],
    *,
    where: Path,
) -> Page:
    """Return what a report shows of a feature file, and of others of the same images beside it.

    Parameters
    ----------
    files
        Open; rows of the others are matched to those of the first by id.
    options
        How it is made.
    results
        With the folder that each stands in; those of other files are left.
    where
        Where they are from.
    """
    from reports.map.columns import Category, limited
    from reports.map.content import Page
    from reports.map.evidence import find_evidence, joined
    from reports.map.facts import about, facts, stem_of, told
    from reports.map.linked.matching import names_of
    from reports.map.ranks import ranks

    call = _Call(options, {id(result): folder for folder, result in results}, where)
    file, several = files[0], len(files) > 1
    names = names_of(files) if several else ("",)
    call.say(*dict.fromkeys(text for one in files for text in one.remarks))
    points, rows, left_out = _choose_rows(files, names, call)
    every = {one.sha256 for one in files} if several else set()
    known = [
        find_evidence(results, one, rows.ids, where=where, called=name, others=every)
        for one, name in zip(files, names, strict=True)
    ]
    evidence = joined(known)
    call.say(*evidence.notes)
    laid = lay_rows_out(file, points, options, known[0].clusterings, call.say)
    sides = list(zip(names, files, known, strict=True))
    linked = [_link(sides[0], side, rows.ids, laid, call) for side in sides[1:]]
    sheets = None
    if options.thumbnails and options.max_thumbnails:
        sheets, problems = _sheets(file, rows.ids, laid.map.xy, evidence.clusterings, options)
        call.say(*problems)
    every_column = _columns(rows, evidence, laid, sheets, linked)
    columns = [limited(column) if isinstance(column, Category) else column for column in every_column]
    label = next((c for c in columns if isinstance(c, Category) and c.key == "label"), None)
    return Page(
        title=f"{file.dataset_name} · {told(names) if several else file.features_name}",
        file_stem=stem_of(files),
        facts=facts(files, rows),
        about=[pair for one in files for pair in about(one, options)],
        provenance=file.provenance,
        notes=call.notes,
        ids=rows.ids,
        map=laid.map,
        caption=laid.caption,
        columns=columns,
        rows=rows,
        known=every_column,
        color=_first_color([column.key for column in columns], options.color, str(file.path)),
        neighbours=laid.neighbours,
        near=laid.near,
        sheets=sheets,
        ranks=ranks(laid.neighbours, label, evidence.clusterings),
        clusterings=evidence.clusterings,
        confusions=evidence.confusions,
        board=evidence.board,
        version=own_version(),
        name=names[0],
        faith="" if laid.faith is None else laid.faith.short(),
        linked=linked,
        left_out=left_out,
    )


@dataclass(frozen=True)
class _Call:
    """How a page is made: options, the folder of each result by its identity, and what is said of it."""

    options: ReportOptions
    folders: dict[int, Path]
    where: Path
    notes: list[str] = field(default_factory=list)

    def say(self, *texts: str) -> None:
        for text in texts:
            self.notes.append(text)
            note(text)


def _choose_rows(
    files: Sequence[FeatureFile], names: Sequence[str], call: _Call
) -> tuple[NDArray[np.int64], Rows, list[tuple[str, NDArray[np.str_]]]]:
    """Return which rows of the first file are shown, what is known of them, and the ids that are left out."""
    from reports.map.linked.matching import labelled, match

    file, shared, left_out = files[0], None, list[tuple[str, NDArray[np.str_]]]()
    if len(files) > 1:
        matched = match(files, names)
        call.say(*matched.notes)
        shared, left_out = matched.shared, list(zip(names, matched.left_out, strict=True))
    points, reason = _points(file.ok, call.options, shared)
    if reason:
        call.say(reason)
    if not len(points):
        raise EmbedkitError(f"{file.path}: no row could be read when it was extracted: nothing to show.")
    rows, notes = labelled(file.rows.take(points), files, names)
    call.say(*notes)
    return points, rows, left_out


# Name, file, and what is known of it.
_Side = tuple[str, FeatureFile, "Evidence"]


def _link(one: _Side, other: _Side, ids: NDArray[np.str_], onto: Laid, call: _Call) -> LinkedSet:
    """Lay another set out, its map over the first one, and count the neighbours that both have."""
    from reports.map.linked.matching import rows_by_id
    from reports.map.linked.sets import LinkedSet, aligned, overlap_words, shared_neighbours
    from reports.map.linked.verdicts import verdict_words

    (first, a, of_a), (name, b, of_b) = one, other
    laid = lay_rows_out(b, rows_by_id(b, ids), call.options, of_b.clusterings, call.say)
    xy, apart = aligned(laid.map.xy, onto.map.xy)
    shared = shared_neighbours(onto.neighbours.index, laid.neighbours.index)
    runs_a, runs_b = ([(call.folders[id(run)], run) for run in of.board.runs] for of in (of_a, of_b))
    return LinkedSet(
        name=name,
        xy=xy,
        caption=(
            f"{laid.caption} Shifted, turned and mirrored onto the map of {first}, and given its size "
            f"(Procrustes disparity {apart:.2f}: 0 where two maps are the same, 1 where nothing is alike)."
        ),
        faith="" if laid.faith is None else laid.faith.short(),
        neighbours=laid.neighbours,
        near=laid.near,
        shared=shared,
        column=f"kept:{name}",
        says=(
            overlap_words(shared, onto.neighbours.k, first, name),
            *verdict_words((runs_a, runs_b), (a, b), (first, name), where=call.where),
        ),
    )


@dataclass(frozen=True)
class Laid:
    """Rows of a feature file, laid out.

    Parameters
    ----------
    map, caption
        Their places, and how they came about.
    faith
        How far these are to be believed, where it is measured.
    neighbours, near
        The nearest of each in the features, and by what.
    """

    map: Map
    caption: str
    faith: Fidelity | None
    neighbours: Neighbours
    near: str


def lay_rows_out(
    file: FeatureFile,
    points: NDArray[np.int64],
    options: ReportOptions,
    clusterings: Sequence[Clustering],
    say: Callable[[str], None],
) -> Laid:
    """Lay rows of a feature file out, and find the nearest of each.

    Parameters
    ----------
    file
        Open.
    points : (n,) int64
        Its rows.
    options
        How it is done.
    clusterings
        Of the file; the first says how features are prepared where `options` don't.
    say
        Is told what a reader must know.
    """
    from reports.map.neighbours import describe, measure, nearest_neighbours

    shown = _rows_of_the_map(file, points, options, clusterings, say)
    layout, faith = _map(file, shown, file.rows.ids[points], options, say)
    searched = NONE if options.prep is None else options.prep
    near = measure(options.metric(searched))
    x = shown.x if searched == shown.prep else np.asarray(file.read(points))
    caption = " ".join(part for part in (shown.words, layout.describe(), faith and faith.describe()) if part)
    return Laid(layout, caption, faith, nearest_neighbours(x, metric=near), describe(near, searched))


@dataclass(frozen=True)
class _Rows:
    """Features as a map is made of them: rows (n, d), the steps, and what the caption says of them."""

    x: NDArray[np.float32]
    prep: str
    words: str


def _map(
    file: FeatureFile, rows: _Rows, ids: NDArray[np.str_], options: ReportOptions, say: Callable[[str], None]
) -> tuple[Map, Fidelity | None]:
    from reports.map.coordinates import keep, kept, place_of
    from reports.map.fidelity import fidelity
    from reports.map.layout import Plan, comparable, lay_out

    metric = options.metric(rows.prep)
    plan = Plan(
        projection=options.projection,
        seed=options.seed,
        n_neighbors=options.n_neighbors,
        min_dist=options.min_dist,
        metric=metric,
        prepared=rows.prep != NONE,
    )
    place = place_of(rows.x, plan)
    known = kept(place, len(rows.x))
    if known is None and plan.projection == "umap":
        note(f"Laying out {len(rows.x):,} images; UMAP compiles itself first, which takes some seconds.")
    try:
        layout = lay_out(rows.x, plan, known=known, show_progress=True)
    except UsageError:
        raise
    except EmbedkitError as error:
        raise EmbedkitError(f"{file.path}: {error}") from error
    if n := len(layout.unplaced):
        named = ", ".join(str(name) for name in ids[layout.unplaced[:3]]) + ", ..." * (n > 3)
        say(
            f"UMAP found nothing near {n} {'image' if n == 1 else 'images'} ({named}) and so no place: "
            f"{'it lies' if n == 1 else 'they lie in a line'} below the map."
        )
    elif known is None and layout.method != "pca":
        keep(place, layout.xy)
    measured = None
    if metric != "manhattan":
        measured = fidelity(comparable(rows.x, metric), layout.xy, seed=options.seed)
    return layout, measured


def _points(
    ok: NDArray[np.bool_], options: ReportOptions, shared: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], str]:
    points = np.flatnonzero(ok if shared is None else shared)
    if len(points) <= options.max_points:
        n_bad = 0 if shared is not None else int((~ok).sum())  # of several files that is said already
        return points, f"{n_bad} images that could not be read are left out." if n_bad else ""
    chosen = np.random.default_rng(options.seed).choice(points, options.max_points, replace=False)
    return np.sort(chosen), (
        f"The map shows {options.max_points:,} of {len(points):,} images, drawn at random with seed "
        f"{options.seed}; --max-points shows more."
    )


def _rows_of_the_map(
    file: FeatureFile,
    points: NDArray[np.int64],
    options: ReportOptions,
    clusterings: Sequence[Clustering],
    say: Callable[[str], None],
) -> _Rows:
    """Prepare the features as asked, else as a clustering of them was or would be."""
    from embedkit.preparing.direction import cosine_remark
    from embedkit.preparing.preparation import prepare
    from reports.map.layout import MIN_ROWS

    steps, why = options.prep, ""
    if steps is None:
        raw = np.asarray(file.read(points))
        # Of so few rows, or of equal ones, nothing can be fitted; the map says so itself.
        if len(points) < MIN_ROWS or (np.isfinite(raw).all() and not np.ptp(raw, axis=0).any()):
            return _Rows(raw, NONE, "")
        asked = [str(found) for one in clusterings if (found := one.result.params.get("prep"))]
        steps = asked[0] if asked else PREP
        why = f", as for the clustering {clusterings[0].title}" if asked else ", as a clustering would"
    if steps == NONE:
        return _Rows(np.asarray(file.read(points)), NONE, "")
    try:
        prepared = prepare(file, steps, rows=points)
        x = prepared.transform_file(file, points)
    except DataError as error:
        raise EmbedkitError(f"{file.path}: {error}") from error
    if options.prep is not None and prepared.steps:
        say(f"Features of the map are prepared first ({prepared.name}). {prepared.describe()}")
    if options.metric(steps) in ("cosine", "correlation"):
        remark = cosine_remark(prepared.preparation, x, f"The map compares by {options.metric(steps)}")
        if remark is not None:
            say(remark)
    words = f"Features prepared by {prepared.name}{why}: {x.shape[1]} of {file.d} dimensions; then:"
    return _Rows(np.asarray(x, np.float32), steps, words)


def _sheets(
    file: FeatureFile,
    ids: NDArray[np.str_],
    xy: NDArray[np.float32],
    clusterings: Sequence[Clustering],
    options: ReportOptions,
) -> tuple[Sheets | None, list[str]]:
    from embedkit.datasets.source_images import find_dataset
    from reports.map.sections.clusters import central_rows
    from reports.map.sheets import read_sheets, thinning_order
    from reports.map.thumbnails import choose_rows

    central = [
        row for clustering in clusterings for rows in central_rows(clustering).values() for row in rows
    ]
    chosen = choose_rows(len(ids), options.max_thumbnails, central, seed=options.seed)
    chosen = [chosen[i] for i in thinning_order(xy[chosen])]
    try:
        dataset = find_dataset(file.made, options.path, ids=ids.tolist(), where=str(file.path))
        crop = file.made.center_crop
        size = options.picture_size(len(chosen))
        sheets = read_sheets(dataset, ids.tolist(), chosen, size=size, center_crop=crop)
    except (EmbedkitError, OSError) as error:
        if options.path is not None:  # asked for by name: not something to go on without
            raise
        return None, [
            f"No pictures: {error} Name where the images are with --path, or silence this with "
            "--no-thumbnails."
        ]
    problems = list(sheets.notes)
    if len(chosen) < len(ids):
        problems.append(
            f"Pictures of {len(chosen):,} of {len(ids):,} images are kept; --max-thumbnails keeps more."
        )
    return sheets, problems


def _columns(rows: Any, evidence: Any, laid: Laid, sheets: Any, linked: Sequence[LinkedSet]) -> list[Column]:
    from reports.map.columns import Number, agreement_column, annotation_columns

    annotations = annotation_columns(rows)
    columns = [column for column in annotations if column.section == "Annotations"]
    columns += [column for clustering in evidence.clusterings for column in clustering.columns()]
    columns += evidence.predictions
    if rows.labels is not None and laid.neighbours.k:
        columns.append(agreement_column(rows.labels, laid.neighbours.index))
    for one in linked:
        title = f"neighbours that stay in {one.name}"
        columns.append(Number(one.column, title, "Features", one.shared.astype(np.float32)))
    if sheets is not None:
        columns.append(Number("brightness", "mean brightness (0-255)", "Images", sheets.brightness))
    columns += [column for column in annotations if column.section == "Targets"]
    if not columns:
        # A file with nothing but features still has a map; its order is what is left to see.
        order = np.arange(len(rows), dtype=np.float32)
        columns.append(Number("row", "row of the file", "Features", order))
    columns += [] if laid.faith is None else laid.faith.columns()
    return _with_unique_keys(columns)


def _with_unique_keys(columns: list[Column]) -> list[Column]:
    seen: set[str] = set()
    unique = []
    for column in columns:
        key, number = column.key, 2
        while key in seen:
            key, number = f"{column.key}#{number}", number + 1
        seen.add(key)
        unique.append(column if key == column.key else dataclasses.replace(column, key=key))
    return unique


def _first_color(keys: list[str], wanted: str | None, where: str) -> str:
    if wanted is None:
        return next((key for key in keys if key == "label" or key.startswith("cluster:")), keys[0])
    if wanted in keys:
        return wanted
    if wanted == "cluster":
        found = [key for key in keys if key.startswith("cluster:")]
        if found:
            return found[0]
    raise UsageError(
        f"--color {wanted}: {where} and its results have no such column. There are: {', '.join(keys)}."
    )
