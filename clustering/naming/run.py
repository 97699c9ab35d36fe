"""`embedkit name`: groups to name, and from their names labels for all images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clustering.matching import I64
from clustering.methods import MAX_SOFT
from clustering.model_file import FORMAT, SavedModel, load_model, save_model
from clustering.naming.accuracy import named_accuracies
from clustering.naming.cutting import asked_groups, cut, said
from clustering.naming.groups import Groups, describe
from clustering.naming.names import check_not_named, check_same_groups, read_names
from clustering.naming.options import NameOptions, NamePlaces
from clustering.naming.report import Named
from clustering.run import readable_rows
from clustering.scores import F64
from embedkit.console import progress
from embedkit.errors import DataError, EmbedkitError, listed
from embedkit.files.group_tables import GROUPS, NAMED
from embedkit.files.guard import guarded
from embedkit.files.identity import check_alike
from embedkit.files.results import Metric
from embedkit.files.store import FeatureFile
from embedkit.files.tables import write_table
from embedkit.scoring.class_scores import wilson
from embedkit.scoring.selected import selected


@dataclass(frozen=True)
class _Rows:
    """The n rows that could be read, and the group of each.

    `labels` (n,) are those of the file, -1 without, `clusters` (n,) the groups, -1 for none, `distance` (n,)
    is to the centre of the own group, and `confidence` (n,) NaN where that has no name.
    """

    ids: NDArray[np.str_]
    labels: I64
    clusters: I64
    distance: F64
    confidence: F64


@guarded()
def name(features: str | os.PathLike[str] | FeatureFile, options: NameOptions, places: NamePlaces) -> Named:
    """Turn names for the groups of a clustering into labels for all images; without, say what to name.

    The rows go to the groups of a saved model, as with ``embedkit cluster --apply``. Several groups may have
    one name; a row of a group without a name has no label. Where the file has labels, named accuracy says how
    many rows would be named right if each group were called after its nine most central images.

    Parameters
    ----------
    features
        A feature file made as the clustered one was, or its path.
    options
        The clustering, and the table of names.
    places
        Where the table of groups, or of labels, is written.

    Returns
    -------
    Named
        With ``groups``, ``labels``, ``metrics`` and ``to_pandas()``.

    Raises
    ------
    EmbedkitError
        A file that can't be read, features that were made otherwise, or names of other groups than there are.
    """
    assert options.clustering is not None  # the options hold it
    places.check(options)
    if places.output is not None:
        check_not_named(places.output)
    saved = load_model(options.clustering)
    with selected(features, options) as file:
        try:
            found, finer = _name(saved, file, options)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
    if places.save_model is not None:
        save_model(places.save_model, finer)
    if places.output is None:
        return found
    write_table(places.output, GROUPS if found.labels is None else NAMED, found.columns())
    return replace(found, path=places.output)


def _name(saved: SavedModel, file: FeatureFile, options: NameOptions) -> tuple[Named, SavedModel]:
    n_groups = len(saved.model.centers)
    if not n_groups:
        raise EmbedkitError(
            f"{options.clustering}: it found no group, every row is noise. Cluster otherwise."
        )
    notes: list[str] = []
    table, names = None, dict[int, str]()
    if options.names is not None:
        table, names = read_names(options.names, n_groups, notes)
    notes += check_alike(saved.fitted_on, file, model="clustering", again="cluster them anew")
    index, labels = readable_rows(file, notes)
    assert options.clustering is not None  # for mypy
    with FORMAT.using(options.clustering):
        x = saved.prepared.transform_file(file, index)
        rows = _Rows(file.rows.ids[index], labels, *_assigned(saved, x, names))
    if options.names is not None and table is not None:
        check_same_groups(options.names, table, rows.ids, rows.clusters)
    _check_empty(saved, file, rows, names if options.names is not None else range(n_groups), notes)
    groups = _described(x, rows, n_groups, options)
    if options.cut:
        mixed = groups.numbers[groups.mixed]
        which = asked_groups(options.cut, n_groups, mixed)
        notes.append(said(which, n_groups))
        if which:
            saved = cut(saved, x, rows.clusters, which, seed=options.seed)
            names = {group: name for group, name in names.items() if group not in which}
            rows = _Rows(rows.ids, labels, *_assigned(saved, x, names))
            groups = _described(x, rows, len(saved.model.centers), options)
    _note_mixed(groups, names, notes)
    named = None
    if options.names is not None and not options.cut:
        named = _labels(rows.clusters, n_groups, names)
        left = int((named == "").sum())
        notes.append(f"{len(names)} of {n_groups} groups have a name, {len(set(names.values()))} different.")
        notes += [f"{left:,} of {len(named):,} images get no label: their group has no name."] * bool(left)
    metrics = _scored(file, rows, named, options.seed, notes)
    if metrics:
        n_labels = int((groups.central >= 0).sum())
        notes.append(
            f"A linear probe with as many labels, {n_labels}: `embedkit probe {file.path} --budget "
            f"{max(1, round(n_labels / len(np.unique(labels[labels >= 0]))))}`"
        )
    title = f"{saved.method} of {file.features_name} on {file.dataset_name}: {len(index):,} rows, "
    title += f"{len(groups.numbers)} groups"
    found = Named(
        title,
        _columns(groups, rows.ids, names),
        rows.ids,
        rows.clusters,
        named,
        None if named is None else rows.confidence,
        metrics,
        tuple(notes),
    )
    return found, saved


def _described(x: NDArray[np.float32], rows: _Rows, n_groups: int, options: NameOptions) -> Groups:
    with progress("groups", n_groups, unit="group") as advance:
        return describe(x, rows.clusters, rows.distance, on_group=advance, seed=options.seed)


def _assigned(saved: SavedModel, x: NDArray[np.float32], names: Mapping[int, str]) -> tuple[I64, F64, F64]:
    """Return group, distance to its centre and confidence of each row (n,), a block of rows at a time."""
    k = len(saved.model.centers)
    words = _labels(np.arange(k), k, names)
    # Whether two groups have one name.
    alike = ((words[:, np.newaxis] == words) & (words != "")).astype(np.float64)
    clusters, distance, confidence = [], [], []
    step = max(1, MAX_SOFT // k)
    for start in range(0, len(x), step):
        found = saved.model.assign(x[start : start + step])
        sure = np.full(len(found.labels), np.nan)
        has = np.flatnonzero((found.labels >= 0) & (words[found.labels] != ""))
        if found.soft is not None and len(has):
            of_names = found.soft[has] @ alike
            sure[has] = np.clip(of_names[np.arange(len(has)), found.labels[has]], 0, 1)
        clusters.append(found.labels)
        distance.append(found.distance)
        confidence.append(sure)
    return np.concatenate(clusters), np.concatenate(distance), np.concatenate(confidence)


def _labels(clusters: I64, n_groups: int, names: Mapping[int, str]) -> NDArray[np.str_]:
    """Return the name of each row's group (n,), empty where there is none."""
    # The last is of rows that are in no group, -1.
    return np.array([*(names.get(group, "") for group in range(n_groups)), ""], dtype=np.str_)[clusters]


def _check_empty(saved: SavedModel, file: FeatureFile, rows: _Rows, groups: Any, notes: list[str]) -> None:
    """Refuse groups of the clustered file that have no image left; of other files they are only said."""
    empty = sorted(set(groups) - set(rows.clusters.tolist()))
    if not empty:
        return
    which = f"group{'s' if len(empty) > 1 else ''} {listed(list(map(str, empty)))}"
    if saved.fitted_on["features_sha256"] == file.sha256:
        raise DataError(
            f"no image is left in {which}, of those that are looked at. Take all rows that were clustered, "
            "or cluster these."
        )
    notes.append(f"No image of this file is in {which}.")


def _note_mixed(groups: Groups, names: Mapping[int, str], notes: list[str]) -> None:
    mixed = groups.numbers[groups.mixed]
    if names:
        mixed = np.array([group for group in mixed if int(group) in names], dtype=np.int64)
    if len(mixed):
        notes.append(
            f"Of two kinds of images by their distances: group{'s' if len(mixed) > 1 else ''} "
            f"{listed([str(group) for group in mixed])}. One name suits half of such a group; --cut mixed "
            "cuts them in two."
        )


def _scored(
    file: FeatureFile, rows: _Rows, named: NDArray[np.str_] | None, seed: int, notes: list[str]
) -> dict[str, Metric]:
    """Score groups called after their central images and, where the names are classes, the names given."""
    known = np.flatnonzero(rows.labels >= 0)
    if not len(known):
        return {}
    metrics = named_accuracies(rows.labels[known], rows.clusters[known], rows.distance[known], seed=seed)
    if named is None:
        return metrics
    classes = file.rows.class_names
    if not set(named[known].tolist()) & set(classes):
        notes.append(f"No name is a class of the file ({listed(classes)}): the names given have no accuracy.")
        return metrics
    true, said = np.array(classes)[rows.labels[known]], named[known]
    has = said != ""
    right = true == said
    first = {
        "accuracy": wilson(float(right.mean()), len(known), note="of the names given; no name is wrong"),
        "coverage": wilson(float(has.mean()), len(known), note="of the rows with a label, those with a name"),
    }
    return first | metrics


def _columns(groups: Groups, ids: NDArray[np.str_], names: Mapping[int, str]) -> dict[str, NDArray[Any]]:
    central = np.where(groups.central >= 0, ids[groups.central], "")
    return {
        "group": groups.numbers,
        "name": np.array([names.get(int(group), "") for group in groups.numbers], dtype=np.str_),
        "rows": groups.rows,
        "spread": groups.spread,
        "separation": groups.separation,
        "mixed": np.where(groups.mixed, "yes", ""),
        **{f"central:{place}": column for place, column in enumerate(central.T, 1)},
    }
