"""The results that belong to a feature file, and the clusters that they assigned."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.results import RESULTS_FILE, Result, read_results
from reports.columns import Category, Column, Number, limited
from reports.leaderboard import leaderboard, settings_text

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
    """

    result: Result
    title: str
    cluster: NDArray[np.int64]
    distance: NDArray[np.float32] | None
    probability: NDArray[np.float32] | None

    def columns(self) -> list[Column]:
        """Return cluster, distance and probability as columns to colour by."""
        numbers = np.unique(self.cluster[self.cluster >= 0])
        codes = np.full(len(self.cluster), -1, np.int64)
        codes[self.cluster >= 0] = np.searchsorted(numbers, self.cluster[self.cluster >= 0])
        names = tuple(f"cluster {number}" for number in numbers)
        missing = "noise" if (self.cluster == -1).any() else "not assigned"
        found: list[Column] = [
            limited(Category(f"cluster:{self.title}", self.title, "Clusterings", codes, names, missing))
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
    results
        The newest of identical runs.
    clusterings
        Those whose assignments could be read.
    confusions
        Of every result that keeps one.
    notes
        What was left out, and why.
    """

    results: tuple[Result, ...] = ()
    clusterings: tuple[Clustering, ...] = ()
    confusions: tuple[Confusion, ...] = ()
    notes: tuple[str, ...] = field(default=())


def find_evidence(runs: Path, *, features_sha256: str, ids: NDArray[np.str_]) -> Evidence:
    """Collect the results below `runs` that were computed on the feature file with this SHA-256.

    Raises
    ------
    EmbedkitError
        A results.jsonl with a line that is no result.
    """
    folders: dict[int, Path] = {}
    mine: list[Result] = []
    n_others = 0
    for file in sorted(runs.rglob(RESULTS_FILE)):
        for result in read_results(file):
            if result.provenance.get("features_sha256") == features_sha256:
                mine.append(result)
                folders[id(result)] = file.parent
            else:
                n_others += 1
    notes = []
    if n_others and not mine:
        notes.append(
            f"{runs}: none of its {n_others} results was computed on this file as it is now, so no result "
            "is shown. Run `embedkit cluster` or `embedkit probe` on it."
        )
    newest = [entry.result for entry in leaderboard(mine).entries]
    titles = _unique_titles(newest)
    clusterings, confusions = [], []
    for result, title in zip(newest, titles, strict=True):
        if (name := result.provenance.get("assignments")) is not None:
            try:
                clusterings.append(read_clustering(folders[id(result)] / str(name), ids, result, title))
            except (EmbedkitError, OSError) as error:
                notes.append(f"{title}: its clusters are not shown. {error}")
        if (confusion := _confusion(result, title)) is not None:
            confusions.append(confusion)
    return Evidence(tuple(newest), tuple(clusterings), tuple(confusions), tuple(notes))


def _unique_titles(results: Sequence[Result]) -> list[str]:
    short = [result.method for result in results]
    settings = [settings_text(result) for result in results]
    titles: list[str] = []
    for i, result in enumerate(results):
        title = short[i] if short.count(short[i]) == 1 else f"{short[i]} ({settings[i]})"
        if titles.count(title):
            title = f"{title} seed {result.seed}"
        number, base = 2, title
        while title in titles:
            title, number = f"{base} #{number}", number + 1
        titles.append(title)
    return titles


def read_clustering(path: Path, ids: NDArray[np.str_], result: Result, title: str) -> Clustering:
    """Read an assignments file: CSV with the columns id, cluster and, where known, distance, probability.

    Raises
    ------
    EmbedkitError
        No such file, a column missing, a number that is none, or no id of the feature file in it.
    """
    if not path.is_file():
        raise EmbedkitError(f"{path}: no such file; restore it, or run `embedkit cluster` again.")
    row_of = {str(name): row for row, name in enumerate(ids)}
    cluster = np.full(len(ids), UNASSIGNED, np.int64)
    numbers: dict[str, NDArray[np.float32]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        header = reader.fieldnames or []
        if "id" not in header or "cluster" not in header:
            raise EmbedkitError(f"{path}: not an assignments file; it needs the columns id and cluster.")
        for name in ("distance", "probability"):
            if name in header:
                numbers[name] = np.full(len(ids), np.nan, np.float32)
        for line in reader:
            row = row_of.get(line["id"])
            if row is None:
                continue
            try:
                cluster[row] = int(line["cluster"])
                for name, values in numbers.items():
                    values[row] = float(line[name]) if line[name] else np.nan
            except (TypeError, ValueError) as error:
                raise EmbedkitError(
                    f"{path}:{reader.line_num}: {error}. Run `embedkit cluster` again."
                ) from error
    if (cluster == UNASSIGNED).all():
        raise EmbedkitError(f"{path}: none of its ids is in the feature file. Run `embedkit cluster` again.")
    return Clustering(result, title, cluster, numbers.get("distance"), numbers.get("probability"))


def _confusion(result: Result, title: str) -> Confusion | None:
    params: Mapping[str, Any] = result.params
    rows = params.get("confusion_matrix", params.get("confusion"))
    if rows is None:
        return None
    try:
        counts = np.asarray(rows, dtype=np.int64)
    except (TypeError, ValueError):
        return None
    if counts.ndim != 2 or not counts.size:
        return None
    classes = tuple(str(name) for name in params.get("class_names", ()))
    if len(classes) != counts.shape[0]:
        classes = tuple(f"class {i}" for i in range(counts.shape[0]))
    columns = classes if counts.shape[1] == len(classes) else tuple(str(i) for i in range(counts.shape[1]))
    return Confusion(title, counts, classes, columns)
