"""A feature file as a page: its rows chosen, prepared, laid out, and joined by what is known of them."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import counted, note
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.files.results import Result
from embedkit.files.rows import Rows
from embedkit.files.rows_together import rows_together
from embedkit.files.store import FeatureFile
from embedkit.options import PREP
from embedkit.versions import own_version
from reports.report_options import NONE, ReportOptions

if TYPE_CHECKING:
    from reports.map.columns import Category, Column
    from reports.map.content import Page
    from reports.map.evidence import Clustering, Evidence
    from reports.map.fidelity import Fidelity
    from reports.map.laid import Laid, Shown
    from reports.map.layout import Map, Plan
    from reports.map.linked.sets import LinkedSet


def make_page(
    files: Sequence[FeatureFile],
    options: ReportOptions,
    results: Sequence[tuple[Path, Result]],
    *,
    where: Path,
    new: FeatureFile | None = None,
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
    new
        Other images of the first file's kind of features, open, that are placed on its map.
    """
    from reports.map.columns import Category, limited
    from reports.map.content import Page
    from reports.map.facts import about, facts, stem_of, told
    from reports.map.linked.matching import names_of
    from reports.map.newcomers import SET, newcomers, placed_on
    from reports.map.pictures import all_pictures
    from reports.map.ranks import ranks

    call = _Call(options, {id(result): folder for folder, result in results}, where)
    file, several = files[0], len(files) > 1
    names = names_of(files) if several else ("",)
    call.say(*dict.fromkeys(text for one in files for text in one.remarks))
    points, rows, left_out = _choose_rows(files, names, call)
    others = None if new is None else newcomers(file, new, options, call.say)
    rows = rows if others is None else rows_together(rows, others.rows)
    known, evidence = _evidence(files, names, rows, results, call)
    laid = lay_rows_out(file, points, options, known[0].clusterings, call.say)
    laid = laid if others is None else placed_on(laid, file, others, options)
    sides = list(zip(names, files, known, strict=True))
    linked = [_link(sides[0], side, rows.ids, laid, call) for side in sides[1:]]
    sheets = all_pictures(file, others, laid, evidence.clusterings, options, call.say)
    every_column = _columns(rows, evidence, laid, sheets, linked)
    columns = [limited(column) if isinstance(column, Category) else column for column in every_column]
    color = options.color or (None if others is None else SET)
    return Page(
        title=f"{file.dataset_name} · {told(names) if several else file.features_name}",
        file_stem=stem_of(files),
        facts=facts(files, rows, n_new=len(rows) - len(points)),
        about=[pair for one in (*files, *([] if new is None else [new])) for pair in about(one, options)],
        provenance=file.provenance,
        notes=call.notes,
        ids=rows.ids,
        map=laid.map,
        caption=laid.caption,
        columns=columns,
        rows=rows,
        known=every_column,
        color=_first_color([column.key for column in columns], color, str(file.path)),
        neighbours=laid.neighbours,
        near=laid.near,
        sheets=sheets,
        ranks=ranks(laid.neighbours, _label_among(columns), evidence.clusterings),
        clusterings=evidence.clusterings,
        confusions=evidence.confusions,
        sure=evidence.sure,
        board=evidence.board,
        runs=where,
        version=own_version(),
        name=names[0],
        faith="" if laid.faith is None else laid.faith.short(),
        linked=linked,
        left_out=left_out,
        n_new=len(rows) - len(points),
        digests=[one.sha256 for one in files],
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
) -> tuple[NDArray[np.int64], Rows, dict[str, NDArray[np.str_]]]:
    """Return which rows of the first file are shown, what is known of them, and by note who is left out."""
    from reports.map.linked.matching import labelled, match

    file, shared, left_out = files[0], None, dict[str, NDArray[np.str_]]()
    if len(files) > 1:
        matched = match(files, names)
        shared, left_out = matched.shared, matched.left_out
        call.say(*left_out, *matched.notes)
    points, reason = _points(file.ok, call.options, shared)
    if reason:
        call.say(reason)
    if not len(points):
        raise EmbedkitError(f"{file.path}: no row could be read when it was extracted: nothing to show.")
    rows, notes = labelled(file.rows.take(points), files, names)
    call.say(*notes)
    return points, rows, left_out


def _evidence(
    files: Sequence[FeatureFile],
    names: Sequence[str],
    rows: Rows,
    results: Sequence[tuple[Path, Result]],
    call: _Call,
) -> tuple[list[Evidence], Evidence]:
    """Return what the results hold on each of the files, and all of it; refuse a colour that can't be there.

    That is, before a map is made, which takes its time.
    """
    from reports.map.evidence import find_evidence, joined, joint_evidence

    every = {one.sha256 for one in files} if len(files) > 1 else set()
    # A network was trained on the images, of which several files are: it stands on the page once.
    features = [(folder, result) for folder, result in results if result.task != "finetune"]
    known = [
        find_evidence(
            features if number else results, one, rows.ids, where=call.where, called=name, others=every
        )
        for number, (one, name) in enumerate(zip(files, names, strict=True))
    ]
    of_several = [joint_evidence(results, every, rows.ids, called=" + ".join(names))] if every else []
    evidence = joined([*known, *of_several])
    call.say(*evidence.notes)
    if call.options.color is not None:
        columns = _known_columns(rows, evidence)
        _check_color(call.options.color, columns, names, str(files[0].path))
        keys = [column.key for column in columns]
        several = [] if call.options.color in keys else _begun(keys, call.options.color)
        if len(several) > 1:
            more = ", ".join(repr(key) for key in several[1:])
            call.say(f"--color {call.options.color} is {several[0]!r} here; there is {more} too.")
    return known, evidence


# What columns are called that are known when the map is laid out, and the pictures are read.
LATER = (
    *("knn-agreement", "brightness", "light-size", "light-axis-ratio", "light-angle"),
    *("trustworthiness", "continuity", "row", "set", "distance-to-known"),
)


def _check_color(wanted: str, columns: Sequence[Column], names: Sequence[str], where: str) -> None:
    keys = [column.key for column in columns]
    if wanted not in (*LATER, *(f"kept:{name}" for name in names[1:])):
        _first_color(keys or list(LATER), wanted, where)


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
    from reports.map.laid import Laid
    from reports.map.neighbours import describe, measure, nearest_neighbours

    shown = _rows_of_the_map(file, points, options, clusterings, say)
    layout, faith, plan = _map(file, shown, file.rows.ids[points], options, say)
    searched = NONE if options.prep is None else options.prep
    near = measure(options.metric(searched))
    x = shown.x if searched == shown.prep else np.asarray(file.read(points))
    caption = " ".join(part for part in (shown.words, layout.describe(), faith and faith.describe()) if part)
    found = nearest_neighbours(x, metric=near)
    return Laid(
        layout, caption, faith, found, describe(near, searched, found.recall), near, points, shown, plan
    )


def _as_they_are(file: FeatureFile, points: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.asarray(file.read(points))


def _map(
    file: FeatureFile, rows: Shown, ids: NDArray[np.str_], options: ReportOptions, say: Callable[[str], None]
) -> tuple[Map, Fidelity | None, Plan]:
    from reports.map.coordinates import keep, kept, place_of
    from reports.map.fidelity import fidelity
    from reports.map.layout import MIN_ROWS, Plan, comparable, lay_out

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
    if known is None and plan.projection == "umap" and len(rows.x) >= MIN_ROWS:
        first = "" if "umap" in sys.modules else "; UMAP compiles itself first, which takes some seconds"
        note(f"{file.path.name}: laying out {len(rows.x):,} images{first}.")
    try:
        layout = lay_out(rows.x, plan, known=known, show_progress=True)
    except UsageError:
        raise
    except EmbedkitError as error:
        raise EmbedkitError(f"{file.path}: {error}") from error
    if n := len(layout.unplaced):
        named = ", ".join(str(name) for name in ids[layout.unplaced[:3]]) + ", ..." * (n > 3)
        say(
            f"{file.path.name}: UMAP found nothing near {n} {'image' if n == 1 else 'images'} ({named}) and "
            "so no place: "
            f"{'it lies' if n == 1 else 'they lie in a line'} below the map."
        )
    elif known is None and layout.method != "pca":
        keep(place, layout.xy)
    measured = None
    if metric != "manhattan":
        measured = fidelity(comparable(rows.x, metric), layout.xy, seed=options.seed)
    return layout, measured, plan


def _points(
    ok: NDArray[np.bool_], options: ReportOptions, shared: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], str]:
    points = np.flatnonzero(ok if shared is None else shared)
    if len(points) <= options.max_points:
        n_bad = 0 if shared is not None else int((~ok).sum())  # of several files that is said already
        return points, f"{counted(n_bad, 'image')} that could not be read left out." if n_bad else ""
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
) -> Shown:
    """Prepare the features as asked, else as a clustering of them was or would be."""
    from embedkit.preparing.direction import cosine_remark
    from embedkit.preparing.preparation import prepare
    from reports.map.laid import Shown
    from reports.map.layout import MIN_ROWS

    steps, why, k = options.prep, "", None
    if steps is None:
        raw = np.asarray(file.read(points))
        # Of so few rows, or of equal ones, nothing can be fitted; the map says so itself.
        if len(points) < MIN_ROWS or (np.isfinite(raw).all() and not np.ptp(raw, axis=0).any()):
            return Shown(raw, NONE, "", _as_they_are)
        like = next((one for one in clusterings if one.result.params.get("prep")), None)
        if like is None:
            steps, why = PREP, ", as a clustering would"
        else:
            steps, why = str(like.result.params["prep"]), f", as for the clustering {like.title}"
            # Among the outcomes where it wasn't asked for.
            k = like.result.outcomes.get("k", like.result.params.get("k"))
    if steps == NONE:
        return Shown(_as_they_are(file, points), NONE, "", _as_they_are)
    try:
        prepared = prepare(file, steps, rows=points, n_clusters=k if isinstance(k, int) else None)
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
    return Shown(np.asarray(x, np.float32), steps, words, prepared.transform_file)


def _known_columns(rows: Rows, evidence: Evidence) -> list[Column]:
    """Return the columns that need neither a map nor pictures."""
    from reports.map.columns import annotation_columns

    annotations = annotation_columns(rows)
    columns = [column for column in annotations if column.section == "Annotations"]
    columns += [column for clustering in evidence.clusterings for column in clustering.columns()]
    columns += evidence.predictions
    return _with_unique_keys([*columns, *(one for one in annotations if one.section == "Targets")])


def _columns(rows: Any, evidence: Any, laid: Laid, sheets: Any, linked: Sequence[LinkedSet]) -> list[Column]:
    from reports.map.columns import Number, agreement_column

    known = _known_columns(rows, evidence)
    columns = [column for column in known if column.section != "Targets"]
    if rows.labels is not None and laid.neighbours.k:
        columns.append(agreement_column(rows.labels, laid.neighbours.index))
    for one in linked:
        title = f"neighbours that stay in {one.name}"
        columns.append(Number(one.column, title, "Features", one.shared.astype(np.float32)))
    if sheets is not None:
        columns.append(Number("brightness", "mean brightness (0-255)", "Images", sheets.brightness))
        columns += sheets.light_columns()
    columns += [column for column in known if column.section == "Targets"]
    if not columns:
        # A file with nothing but features still has a map; its order is what is left to see.
        order = np.arange(len(rows), dtype=np.float32)
        columns.append(Number("row", "row of the file", "Features", order))
    columns += laid.columns
    return _with_unique_keys(columns)


def _label_among(columns: Sequence[Column]) -> Category | None:
    from reports.map.columns import Category

    return next((c for c in columns if isinstance(c, Category) and c.key == "label"), None)


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


def _begun(keys: Sequence[str], wanted: str) -> list[str]:
    """Columns that `cluster`, or `cluster:kmeans` where several runs of k-means are there, begins."""
    return [key for key in keys if key.startswith("cluster:" if wanted == "cluster" else f"{wanted} ")]


def _first_color(keys: list[str], wanted: str | None, where: str) -> str:
    if wanted is None:
        return next((key for key in keys if key == "label" or key.startswith("cluster:")), keys[0])
    if wanted in keys:
        return wanted
    if found := _begun(keys, wanted):
        return found[0]
    raise UsageError(
        f"--color {wanted}: {where} and its results have no such column. There are: {', '.join(keys)}."
    )
