"""How well a result did on each image, read from the predictions or assignments beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.feature_set import is_feature_set, opened
from embedkit.files.results import Result
from embedkit.files.store import FeatureFile
from embedkit.files.tables import (
    ASSIGNMENTS,
    CLASS_PREDICTIONS,
    LABELLED,
    TARGET_PREDICTIONS,
    Table,
    read_table,
)
from embedkit.scoring.labelled import labels_sha256, with_recorded_labels
from embedkit.scoring.metrics import Z95
from embedkit.scoring.paired import ALPHA, Difference, paired_difference


@dataclass(frozen=True)
class Outcomes:
    """The test rows of one result.

    Parameters
    ----------
    ids : (n,) str
        Rising.
    score : (n, r) float64
        Of each of r draws of training labels, of which there is one unless there was a label budget. 1 where
        the prediction, or the class that the cluster stands for, is the true class, else 0. Of a regression,
        minus the row's mean squared error: higher is better.
    rows
        The same for two results exactly where they tested the same images, of the same classes or targets, in
        the same folds: only then are they paired.
    """

    ids: NDArray[np.str_]
    score: NDArray[np.float64]
    rows: str

    @property
    def mean(self) -> float:
        """Over images and draws: the accuracy, or minus the mean squared error."""
        return float(self.score.mean())


def compare_outcomes(pairs: Sequence[tuple[Outcomes, Outcomes]], *, seed: int = 0) -> Difference:
    """Compare A and B over one or more seeds, in each of which both tested the same rows.

    Images are what is resampled, each with its scores from every seed and draw in which it was tested: the
    seeds divide the same images anew, so their scores are not independent. What differs from seed to seed
    (or draw to draw) in another way, through the rows that were learnt from, is added: the variance of the
    difference over them, divided by their number.

    Parameters
    ----------
    pairs
        Outcomes of A and B of each seed, with equal `Outcomes.rows`. Of more draws on one side, the first
        are taken.
    seed
        Of the resamples.
    """
    draws = [min(a.score.shape[1], b.score.shape[1]) for a, b in pairs]
    scores = [(a.score[:, :r], b.score[:, :r]) for (a, b), r in zip(pairs, draws, strict=True)]
    per_run = np.concatenate([(b - a).mean(axis=0) for a, b in scores])
    if len(per_run) == 1:
        ((of_a, of_b),) = scores
        return paired_difference(of_a[:, 0], of_b[:, 0], seed=seed)
    _, image = np.unique(np.concatenate([a.ids for a, _ in pairs]), return_inverse=True)
    times = np.bincount(image, np.concatenate([np.full(len(a), a.shape[1]) for a, _ in scores]))
    # An image that more seeds tested counts for more, as it does in the mean over the seeds.
    of_a, of_b = (
        np.bincount(image, np.concatenate([pair[side].sum(axis=1) for pair in scores])) / times.mean()
        for side in (0, 1)
    )
    error = float(per_run.std(ddof=1) / np.sqrt(len(per_run)))
    return paired_difference(of_a, of_b, seed=seed, error=error)


def compare_trainings(a: Outcomes, b: Sequence[Outcomes], *, seed: int = 0) -> Difference:
    """Compare A with the mean of several trainings of one kind, all of the same test rows.

    As in `compare_outcomes` images are resampled, each with the mean of its scores. What differs from
    training to training is added by Student's t, because they are few: the standard deviation of their
    differences from A over the root of their number, times t over the normal quantile.
    """
    if len(b) == 1:
        return compare_outcomes([(a, b[0])], seed=seed)
    draws = min(one.score.shape[1] for one in (a, *b))
    of_a = a.score[:, :draws].mean(axis=1)
    of_b = [one.score[:, :draws].mean(axis=1) for one in b]
    per_training = np.array([float((one - of_a).mean()) for one in of_b])
    from scipy.stats import t  # on use: `embedkit compare --help` waits for no SciPy

    error = float(per_training.std(ddof=1) / np.sqrt(len(b)) * t.ppf(1 - ALPHA / 2, len(b) - 1) / Z95)
    if draws > 1:  # labels drawn anew are a spread of their own
        per_draw = np.mean([(one.score[:, :draws] - a.score[:, :draws]).mean(axis=0) for one in b], axis=0)
        error = float(np.hypot(error, per_draw.std(ddof=1) / np.sqrt(draws)))
    return paired_difference(of_a, np.mean(of_b, axis=0), seed=seed, error=error)


class TrueClasses:
    """Classes of the feature files that results name, each file opened and hashed once.

    Parameters
    ----------
    files
        Open ones, which answer for every result that was computed on them, wherever it says they are.
    """

    def __init__(self, files: Iterable[FeatureFile] = ()) -> None:
        self._files = {file.sha256: file for file in files}
        self._found: dict[tuple[str, str, str], dict[str, str] | str] = {}

    def of(self, result: Result) -> dict[str, str]:
        """Return id to class of the rows that have one.

        Raises
        ------
        EmbedkitError
            The file is not where it was, has changed, or holds no classes.
        """
        selection, files = result.provenance.get("selection"), _files(result)
        found, reasons = dict[str, str](), []
        # Of joined files any may hold classes, and they don't contradict each other.
        for path, sha256 in reversed(files):
            try:
                found |= self._of_file(path, sha256, selection)
            except EmbedkitError as error:
                reasons.append(str(error))
        if len(reasons) == len(files):
            raise EmbedkitError(reasons[-1])
        return found

    def _of_file(self, path: str, sha256: str, selection: Any) -> dict[str, str]:
        key = (path, sha256, labels_sha256(selection))
        if key not in self._found:
            try:
                self._found[key] = _classes(self._files.get(sha256, path), sha256, selection)
            except EmbedkitError as error:
                self._found[key] = str(error)
        found = self._found[key]
        if isinstance(found, str):
            raise EmbedkitError(found)
        return found


def _files(result: Result) -> list[tuple[str, str]]:
    """Return path and SHA-256 of the feature file that a result names, or of those that were joined."""
    told = result.provenance
    features = told.get("features")
    several = features.get("files") if isinstance(features, Mapping) else None
    if isinstance(several, list) and several and all(isinstance(one, Mapping) for one in several):
        return [(str(one.get("file", "")), str(one.get("sha256"))) for one in several]
    return [(str(told.get("features_file", "")), str(told.get("features_sha256")))]


def _classes(features: FeatureFile | str, sha256: str, selection: Any) -> dict[str, str]:
    path = features.path if isinstance(features, FeatureFile) else Path(features)
    if not (path.is_file() or is_feature_set(path)):
        raise EmbedkitError(
            f"{path.name or 'the feature file'}, which holds the classes, is not where it was"
        )
    with opened(features) as file:
        if file.sha256 != sha256:
            raise EmbedkitError(f"{path.name}, which holds the classes, has changed since")
        rows = with_recorded_labels(file, selection).rows
        if rows.labels is None:
            raise EmbedkitError(f"{path.name} holds no classes")
        return {
            str(rows.ids[i]): rows.class_names[label] for i, label in enumerate(rows.labels) if label >= 0
        }


def read_outcomes(result: Result, folder: Path, classes: TrueClasses | None = None) -> Outcomes:
    """Read what a result said of every test image.

    A clustering's true classes are those of the feature file that it names; its matching of clusters to
    classes is taken as it is.

    Parameters
    ----------
    result
        Of ``embedkit probe`` or ``embedkit cluster``.
    folder
        Of the results.jsonl that it stands in.
    classes
        Shared by the results of one reading, so that no feature file is read for each.

    Raises
    ------
    EmbedkitError
        Nothing to read them from; the message says what is missing, in a few words.
    """
    if "predictions" in result.provenance:
        path = _beside(folder, result.provenance["predictions"])
        table = read_table(path, CLASS_PREDICTIONS, TARGET_PREDICTIONS, LABELLED)
        if table.kind is LABELLED:
            return _outcomes(_out_of_fold(table))
        return _outcomes(_tested(table.take(table["split"] == "test")))
    if "assignments" in result.provenance:
        table = read_table(_beside(folder, result.provenance["assignments"]), ASSIGNMENTS)
        true = (classes or TrueClasses()).of(result)
        matching = result.outcomes.get("matching", {})
        of_rows = zip(table["id"].tolist(), table["cluster"].tolist(), strict=True)
        return _outcomes(
            [
                ((name, "", true[name]), 0, float(matching.get(str(cluster)) == true[name]))
                for name, cluster in of_rows
                if true.get(name)
            ]
        )
    raise EmbedkitError("the result names neither predictions nor assignments")


# Image, fold and truth; then the draw, and the score.
_Tested = tuple[tuple[str, str, str], int, float]


def _tested(table: Table) -> list[_Tested]:
    if table.kind is TARGET_PREDICTIONS:
        targets = zip(*(values.tolist() for values in table.repeated("true").values()), strict=True)
        true = [" ".join(f"{value:g}" for value in row) for row in targets]
        score = -table["squared_error"]
    else:
        true = table["true"].tolist()
        score = (table["true"] == table["predicted"]).astype(np.float64)
    folds = [str(fold) for fold in table["fold"]]
    draws = table["draw"].tolist() if "draw" in table else [0] * len(table)
    keys = zip(table["id"].tolist(), folds, true, strict=True)
    return list(zip(keys, draws, score.tolist(), strict=True))


def _out_of_fold(table: Table) -> list[_Tested]:
    """Return what was said of the rows with a label by probes that never saw them."""
    if "fold" not in table:
        return []
    tested = table.take(table["fold"] > 0)
    right = (tested["label"] == tested["predicted"]).astype(np.float64).tolist()
    ids, folds, true = (tested[name].tolist() for name in ("id", "fold", "label"))
    return [
        ((name, str(fold), label), 0, score)
        for name, fold, label, score in zip(ids, folds, true, right, strict=True)
    ]


def _outcomes(lines: list[_Tested]) -> Outcomes:
    if not lines:
        raise EmbedkitError("no test row with a known class")
    scores: dict[tuple[str, str, str], list[float]] = {}
    for key, _, score in sorted(lines):
        scores.setdefault(key, []).append(score)
    if len({len(draws) for draws in scores.values()}) > 1:
        raise EmbedkitError("some of its test rows are there more often than others")
    digest = hashlib.sha256(repr(list(scores)).encode()).hexdigest()
    ids = np.array([key[0] for key in scores], np.str_)
    return Outcomes(ids, np.array(list(scores.values()), np.float64), digest)


def _beside(folder: Path, name: object) -> Path:
    path = folder / str(name)
    if not path.is_file():
        raise EmbedkitError(f"{path.name} is not beside it")
    return path
