"""The results that belong to a feature file, and the clusters that they assigned."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.results import Result, computed_on, joined_from
from embedkit.files.store import FeatureFile
from embedkit.files.tables import ASSIGNMENTS, read_table
from embedkit.scoring.class_scores import wilson
from embedkit.scoring.confusions import confusion_of
from reports.leaderboard.cells import settings
from reports.leaderboard.table import Leaderboard, leaderboard
from reports.map.columns import Category, Column, Number
from reports.map.predicted import prediction_columns, read_predictions
from reports.map.sureness import Answers, Sureness, sureness
from reports.map.trees import DensityTree, read_tree

# Class of a row that an assignments file doesn't mention; noise is -1 as everywhere.
UNASSIGNED = -2


@dataclass(frozen=True)
class Clustering:
    """One assignments file, in the order of the feature file's rows.

    Parameters
    ----------
    result
        The line that names the file.
    title
        Method and settings, unique among a file's clusterings.
    cluster : (n,) int64
        Cluster of each row; -1 for noise, -2 where the file doesn't mention the row.
    distance, probability : (n,) float32, optional
        To the cluster's centre; that the row belongs to its cluster.
    of
        The name of its feature set, where a page shows several.
    tree
        Into which groups HDBSCAN parts the rows.
    """

    result: Result
    title: str
    cluster: NDArray[np.int64]
    distance: NDArray[np.float32] | None
    probability: NDArray[np.float32] | None
    of: str = ""
    tree: DensityTree | None = None

    def name(self, number: int) -> str:
        """Name a cluster, with the class that it was matched to where most of it surely is of that class.

        Surely: the lower end of the 95 % interval of its share among the cluster's labelled rows is above a
        half.
        """
        if number == -1:
            return "noise"
        matched, low, confusion = self.matched(number), None, self._confusion
        # Of two classes of one name it is not known which is meant.
        if confusion and confusion.row_names.count(matched) == 1 and matched in confusion.column_names:
            inside = confusion.counts[:, confusion.column_names.index(matched)]
            n, own = int(inside.sum()), int(inside[confusion.row_names.index(matched)])
            low = wilson(own / n, n).low if n else None
        return f"cluster {number} ({matched})" if low is not None and low > 0.5 else f"cluster {number}"

    @cached_property
    def _confusion(self) -> Confusion | None:
        return _confusion(self.result, self.title)

    def matched(self, number: int) -> str:
        """Return the class that a cluster was matched to; empty where to none."""
        matching = self.result.outcomes.get("matching")
        found = matching.get(str(number)) if isinstance(matching, Mapping) else None
        return "" if found is None else str(found)

    def columns(self) -> list[Column]:
        """Return cluster, distance and probability as columns to colour by."""
        numbers = np.unique(self.cluster[self.cluster >= 0])
        codes = np.full(len(self.cluster), -1, np.int64)
        codes[self.cluster >= 0] = np.searchsorted(numbers, self.cluster[self.cluster >= 0])
        names = tuple(self.name(int(number)) for number in numbers)
        missing = "noise" if (self.cluster == -1).any() else "not assigned"
        classes = tuple(self.matched(int(number)) for number in numbers)
        key, section = f"cluster:{self.title}", "Clusterings"
        found: list[Column] = [
            Category(key, self.title, section, codes, names, missing, classes),
        ]
        if self.distance is not None:
            title = f"distance to centre, {self.title}"
            found.append(Number(f"distance:{self.title}", title, "Clusterings", self.distance))
        if self.probability is not None:
            title = f"probability, {self.title}"
            found.append(Number(f"probability:{self.title}", title, "Clusterings", self.probability))
        return found


@dataclass(frozen=True)
class Confusion:
    """A matrix of counts, true classes down.

    Parameters
    ----------
    title
        Method and settings.
    counts : (c, m)
        Rows of each class by predicted class or cluster.
    row_names, column_names
        The c true classes; the m predictions.
    """

    title: str
    counts: NDArray[np.int64]
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """What a folder of results holds on one feature file.

    Parameters
    ----------
    board
        The newest of identical runs, in order.
    clusterings
        Those whose assignments could be read.
    predictions
        What probes said of the rows they were not fitted on, as columns.
    sure
        How sure they were of them.
    confusions
        Of every result that keeps one.
    notes
        What was left out, and why.
    """

    board: Leaderboard = field(default_factory=lambda: Leaderboard(()))
    clusterings: tuple[Clustering, ...] = ()
    predictions: tuple[Column, ...] = ()
    sure: tuple[Sureness | Answers, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    notes: tuple[str, ...] = field(default=())


def find_evidence(
    located: Iterable[tuple[Path, Result]],
    file: FeatureFile,
    ids: NDArray[np.str_],
    *,
    where: Path,
    called: str = "",
    others: Collection[str] = (),
) -> Evidence:
    """Pick the results that were computed on this very feature file, and read what they name.

    So are those of networks that were trained with labels on the images that the file is of.

    Parameters
    ----------
    located
        Results with the folder that each stands in.
    file
        Matched by the SHA-256 that results record; one of the same dataset and features but another
        SHA-256 is counted in a note.
    ids : (n,) str
        The rows that the clusterings and predictions are given for.
    where
        Where the results are from, for the note.
    called
        The name of the feature set, where there are several: it stands before each title.
    others
        SHA-256 of the other files on the page, whose results are not of another version of this one.
    """
    mine: list[tuple[Path, Result]] = []
    n_stale = 0
    for folder, result in located:
        computed = computed_on(result)
        if file.sha256 in computed or _of_its_images(result, file):
            mine.append((folder, result))
        elif set(others).isdisjoint(computed):
            named = (result.dataset, result.features)
            n_stale += named == (file.dataset_name, file.features_name)
    notes = []
    if n_stale:
        notes.append(
            f"{where}: {n_stale} of its results were computed on another version of this feature file and "
            "are not shown."
        )
    return read_evidence(mine, ids, called=called, notes=notes)


def joint_evidence(
    located: Iterable[tuple[Path, Result]], digests: Collection[str], ids: NDArray[np.str_], *, called: str
) -> Evidence:
    """Pick the results that were computed on several of a page's feature files side by side.

    Parameters
    ----------
    located, ids
        As in `find_evidence`.
    digests
        SHA-256 of the files.
    called
        What stands before each title.
    """
    mine = [
        (folder, result)
        for folder, result in located
        if len(of := set(joined_from(result))) > 1 and of <= set(digests)
    ]
    return read_evidence(mine, ids, called=called)


def read_evidence(
    mine: Sequence[tuple[Path, Result]], ids: NDArray[np.str_], *, called: str = "", notes: Sequence[str] = ()
) -> Evidence:
    """Read what results name: assignments and predictions, as far as they can be read."""
    folders = {id(result): folder for folder, result in mine}
    notes = list(notes)
    board = leaderboard([result for _, result in mine])
    newest = board.runs
    titles = [f"{called}: {title}" if called else title for title in _unique_titles(newest)]
    clusterings, confusions = [], []
    predictions: list[Column] = []
    sure: list[Sureness | Answers] = []
    for result, title in zip(newest, titles, strict=True):
        if (name := result.provenance.get("assignments")) is not None:
            try:
                found, lost = read_clustering(folders[id(result)] / str(name), ids, result, title)
                clusterings.append(replace(found, of=called))
                notes += [f"{title}: {lost}"] if lost else []
            except (EmbedkitError, OSError) as error:
                notes.append(f"{title}: its clusters are not shown. {error}")
        if (name := result.provenance.get("predictions")) is not None:
            try:
                path = folders[id(result)] / str(name)
                table = read_predictions(path)
                found_sure = sureness(table, result, title, str(name))
                sure += [] if found_sure is None else [found_sure]
                predictions += prediction_columns(table, path, ids, title)
            except (EmbedkitError, OSError) as error:
                notes.append(f"{title}: its predictions are not shown. {error}")
        if (confusion := _confusion(result, title)) is not None:
            confusions.append(confusion)
    return Evidence(
        board, tuple(clusterings), tuple(predictions), tuple(sure), tuple(confusions), tuple(notes)
    )


def _of_its_images(result: Result, file: FeatureFile) -> bool:
    """Whether it is of a network that was trained with labels on the dataset that a feature file is of."""
    told, mine = result.provenance.get("dataset"), file.made.fingerprint
    return (
        result.task == "finetune"
        and mine is not None
        and isinstance(told, Mapping)
        and told.get("fingerprint") == mine
    )


def joined(every: Sequence[Evidence]) -> Evidence:
    """Return the evidence on several feature files of the same rows as one."""
    if len(every) == 1:
        return every[0]
    return Evidence(
        leaderboard([run for one in every for run in one.board.runs]),
        *(
            tuple(item for one in every for item in getattr(one, name))
            for name in ("clusterings", "predictions", "sure", "confusions", "notes")
        ),
    )


def _unique_titles(results: Sequence[Result]) -> list[str]:
    """Name each result by its method, and by the task, settings and split that set it apart from its like."""
    titles: list[str] = []
    for result in results:
        alike = [other for other in results if (other.task, other.method) == (result.task, result.method)]
        every = [settings(other) | {"split": other.split, "seed": f"seed={other.seed}"} for other in alike]
        own = settings(result) | {"split": result.split, "seed": f"seed={result.seed}"}
        apart = [text for name, text in own.items() if any(other.get(name) != text for other in every)]
        tasks = {other.task for other in results if other.method == result.method}
        base = title = " ".join([result.method, *([f"({result.task})"] if len(tasks) > 1 else []), *apart])
        number = 2
        while title in titles:
            title, number = f"{base} #{number}", number + 1
        titles.append(title)
    return titles


def read_clustering(path: Path, ids: NDArray[np.str_], result: Result, title: str) -> tuple[Clustering, str]:
    """Read the table of assignments that a result names, in the order of `ids`, and the tree beside it.

    Where there should be a tree and it can't be read, the text says why.

    Raises
    ------
    EmbedkitError
        No such file, no table of assignments, or no id of the feature file in it.
    """
    table = read_table(path, ASSIGNMENTS)
    rows, inside = table.among(ids)
    if not len(rows):
        raise EmbedkitError(f"{path}: none of its ids is in the feature file. Run `embedkit cluster` again.")
    cluster = np.full(len(ids), UNASSIGNED, np.int64)
    cluster[rows] = table["cluster"][inside]
    numbers: dict[str, NDArray[np.float32]] = {}
    for name in ("distance", "probability"):
        if name in table and np.isfinite(table[name][inside]).any():
            numbers[name] = np.full(len(ids), np.nan, np.float32)
            numbers[name][rows] = table[name][inside]
    tree, lost = None, ""
    if (beside := result.provenance.get("tree")) is not None:
        try:
            tree = read_tree(path.parent / str(beside), table, rows, inside, len(ids))
        except (EmbedkitError, OSError) as error:
            lost = f"its tree is not shown. {error}"
    own = numbers.get("distance"), numbers.get("probability")
    return Clustering(result, title, cluster, *own, tree=tree), lost


def _confusion(result: Result, title: str) -> Confusion | None:
    found: Mapping[str, Any] = result.outcomes
    counts = confusion_of(found)
    if counts is None:
        return None
    classes = _names(found.get("class_names"))
    if len(classes) != counts.shape[0]:
        classes = tuple(f"class {i}" for i in range(counts.shape[0]))
    columns = _names(found.get("confusion_columns", classes))
    if len(columns) != counts.shape[1]:
        columns = tuple(str(i) for i in range(counts.shape[1]))
    return Confusion(title, counts, classes, columns)


def _names(found: object) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()  # a line may keep anything
