"""How good predictions are on test rows, each figure with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError
from embedkit.files.results import Metric
from embedkit.scoring.metrics import SHARE, Z95, estimate, within

# Of the classes a row is held to be, with more classes than that.
TOP = 5


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class.

    Parameters
    ----------
    name
        Of the class.
    n
        Its test rows.
    precision, recall
        With Wilson intervals. A precision is undefined where nothing was predicted as this class, a recall
        where no test row has it.
    f1
        Harmonic mean of the two, without an interval.
    roc_auc
        How often a row of the class is ranked above a row of another; with folds, over all their rows.
    """

    name: str
    n: int
    precision: Metric
    recall: Metric
    f1: Metric
    roc_auc: Metric


@dataclass(frozen=True)
class Scores:
    """What predictions of n rows are worth.

    Parameters
    ----------
    metrics
        ``accuracy``, ``balanced_accuracy``, ``roc_auc``; with more than five classes ``top5_accuracy``.
    confusion : (c, c) int64
        Rows by true class (down) and predicted class (across).
    classes
        Scores of each class.
    absent
        Names of classes that no row has; balanced accuracy and ROC AUC leave them out.
    n
        Number of rows.
    """

    metrics: Mapping[str, Metric]
    confusion: NDArray[np.int64]
    classes: tuple[ClassScores, ...]
    absent: tuple[str, ...]
    n: int


def score_predictions(
    y: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    *,
    class_names: Sequence[str],
    fold: NDArray[np.int64] | None = None,
) -> Scores:
    """Score the probabilities that one model, or one model a fold, gave to test rows.

    Parameters
    ----------
    y : (n,) int64
        True class, 0 to c - 1.
    probabilities : (n, c) float
        The largest one is the prediction; ties go to the first class. For the top 5 see `among_the_first`.
    class_names
        Names of the c classes.
    fold : (n,) int64, optional
        Fold of each row. Each metric is then the mean of its values in the folds.

    Returns
    -------
    Scores
        Intervals are about the test rows, given the fitted models: Wilson's for accuracy, precision and
        recall; for balanced accuracy the classes' Wilson intervals combined (MOVER); for ROC AUC the
        structural components of DeLong, on the logit scale.

    References
    ----------
    Wilson 1927; Zou and Donner 2008, Construction of confidence limits about effect measures (MOVER);
    DeLong et al. 1988, Comparing the areas under two or more correlated ROC curves.
    """
    c = len(class_names)
    if probabilities.shape != (len(y), c) or not len(y):
        raise DataError(
            f"probabilities of shape {probabilities.shape} don't fit {len(y)} rows and {c} classes."
        )
    folds = [np.ones(len(y), bool)] if fold is None else [fold == f for f in np.unique(fold)]
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(y * c + predicted, minlength=c * c).reshape(c, c)
    absent = tuple(str(class_names[j]) for j in range(c) if not confusion[j].any())
    without = f"without {', '.join(absent)}: no test rows" if absent else None
    metrics = {
        "accuracy": wilson(float(np.mean([(y[f] == predicted[f]).mean() for f in folds])), len(y)),
        "balanced_accuracy": _balanced_accuracy(y, predicted, folds, without),
        "roc_auc": roc_auc(y, probabilities, folds=folds, note=without),
    }
    if c > TOP:
        hit = among_the_first(y, probabilities, TOP)
        metrics[f"top{TOP}_accuracy"] = wilson(float(np.mean([hit[f].mean() for f in folds])), len(y))
    classes = tuple(
        _class_scores(str(name), j, confusion, _class_auc(y == j, probabilities[:, j]))
        for j, name in enumerate(class_names)
    )
    return Scores(metrics, confusion, classes, absent, len(y))


def among_the_first(
    y: NDArray[np.int64], probabilities: NDArray[np.float64], most: int
) -> NDArray[np.float64]:
    """Return how far each row's own class is among the `most` classes that its row is held to be (n,).

    A class that was given nothing, as by a vote without one of its neighbours, is not held to be anything,
    so that fewer than `most` may be. Where classes that are given the same compete for the last places, each
    has its share of them: 2 places among 4 such classes count 0.5. So no figure depends on the order of the
    classes.

    Parameters
    ----------
    y : (n,) int64
        True class.
    probabilities : (n, c) float
        Of each class, at least 0.
    most
        Places.
    """
    own = probabilities[np.arange(len(y)), y][:, None]
    above, equal = (probabilities > own).sum(axis=1), (probabilities == own).sum(axis=1)
    return np.where(own[:, 0] > 0, np.clip((most - above) / equal, 0, 1), 0.0)


def wilson(p: float, n: int, *, note: str | None = None) -> Metric:
    """A fraction p of n rows with Wilson's 95 % interval, undefined where there are no rows."""
    if n == 0:
        return Metric(None, note=note or "no rows")
    centre = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * float(np.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2)))
    return within(SHARE, p, centre - half, centre + half, note)


def _class_scores(name: str, j: int, confusion: NDArray[np.int64], roc_auc: Metric) -> ClassScores:
    right, n, called = int(confusion[j, j]), int(confusion[j].sum()), int(confusion[:, j].sum())
    return ClassScores(
        name,
        n,
        precision=wilson(right / max(called, 1), called, note=None if called else "never predicted"),
        recall=wilson(right / max(n, 1), n, note=None if n else "no test rows"),
        f1=Metric(2 * right / (n + called)) if n + called else Metric(None, note="no rows"),
        roc_auc=roc_auc,
    )


def _class_auc(mine: NDArray[np.bool_], score: NDArray[np.float64]) -> Metric:
    """Return the area of one class against the rest, with DeLong's interval on the logit scale."""
    if mine.all() or not mine.any():
        return Metric(None, note="test rows on one side only")
    # Of two classes with opposite scores both areas are equal, so their mean is either.
    return roc_auc(mine.astype(np.int64), np.column_stack([-score, score]))


def _balanced_accuracy(
    y: NDArray[np.int64],
    predicted: NDArray[np.int64],
    folds: Sequence[NDArray[np.bool_]],
    note: str | None,
) -> Metric:
    values = []
    for f in folds:
        recalls = [(predicted[f & (y == j)] == j).mean() for j in np.unique(y[f])]
        values.append(np.mean(recalls))
    value = float(np.mean(values))
    # Of a sum of independent estimates, MOVER adds the squared distances to their limits.
    present = np.unique(y)
    intervals = [wilson(float((predicted[y == j] == j).mean()), int((y == j).sum())) for j in present]
    below = sum((i.value - i.low) ** 2 for i in intervals if i.value is not None and i.low is not None)
    above = sum((i.high - i.value) ** 2 for i in intervals if i.value is not None and i.high is not None)
    return estimate(
        "balanced_accuracy",
        value,
        value - float(np.sqrt(below)) / len(present),
        value + float(np.sqrt(above)) / len(present),
        note,
    )


def roc_auc(
    y: NDArray[np.int64],
    scores: NDArray[np.float64],
    *,
    folds: Sequence[NDArray[np.bool_]] | None = None,
    note: str | None = None,
) -> Metric:
    """Return the macro ROC AUC, one class against the rest, with DeLong's interval on the logit scale.

    Parameters
    ----------
    y : (n,) int64
        True class; classes that no row has are left out.
    scores : (n, c) float
        Higher means more likely; column j belongs to class j. Probabilities, or how much a row belongs to
        the cluster that stands for the class. A constant column has an area of 0.5.
    folds
        Masks (n,) of the rows that were scored by one model; the metric is the mean over them.
    note
        Of the metric, where its interval needs none.
    """
    folds = [np.ones(len(y), bool)] if folds is None else folds
    values, variances = [], []
    for f in folds:
        if len(np.unique(y[f])) < 2:
            return Metric(None, note="rows of one class have no ROC curve")
        value, variance = macro_roc_auc(y[f], scores[f])
        values.append(value)
        variances.append(variance)
    value = float(np.mean(values))
    spread = float(np.sqrt(np.sum(variances))) / len(folds)
    return _auc_metric(value, spread, note)


def _auc_metric(value: float, spread: float, note: str | None) -> Metric:
    if not 0 < value < 1:
        return Metric(value, note=note or "perfectly separated: no interval")
    logit, half = np.log(value / (1 - value)), Z95 * spread / (value * (1 - value))
    return estimate("roc_auc", value, _expit(logit - half), _expit(logit + half), note)


def macro_roc_auc(y: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[float, float]:
    """Return the mean one-versus-rest area under the ROC curve of the classes in `y`, and its variance.

    Parameters
    ----------
    y : (n,) int64
        True class, at least two different ones.
    scores : (n, c) float
        Higher means more likely; column j belongs to class j.

    Notes
    -----
    A row's component is its chance to be ordered rightly against the other side. Summed over the classes
    before they are squared, components carry the classes' covariance with them.
    """
    classes = np.unique(y)
    component = np.zeros(len(y))
    areas = []
    for j in classes:
        mine, score = y == j, scores[:, j]
        inside, outside = np.sort(score[mine]), np.sort(score[~mine])
        # The fraction of the other side that a row beats, ties counting half.
        beats = _rank(outside, score[mine]) / len(outside)
        beaten = 1 - _rank(inside, score[~mine]) / len(inside)
        area = float(beats.mean())
        areas.append(area)
        component[mine] += (beats - area) / np.sqrt(len(inside) * max(len(inside) - 1, 1))
        component[~mine] += (beaten - area) / np.sqrt(len(outside) * max(len(outside) - 1, 1))
    return float(np.mean(areas)), float((component**2).sum()) / len(classes) ** 2


def _rank(ordered: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    below = np.searchsorted(ordered, values, side="left")
    return (below + np.searchsorted(ordered, values, side="right")) / 2


def _expit(value: Any) -> Any:
    return 1 / (1 + np.exp(-value))
