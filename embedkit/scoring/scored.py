"""What fitted models are worth on the test rows of their splits: predictions, metrics, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embedkit.files.predictions import Predictions
from embedkit.files.results import Metric
from embedkit.files.rows import Rows
from embedkit.scoring.calibration import N_BINS, errors_by_chance, reliability, scale
from embedkit.scoring.class_scores import Scores, score_predictions, wilson
from embedkit.scoring.confusions import kept
from embedkit.scoring.splits import Split
from embedkit.scoring.target_scores import RegressionScores, score_targets


class Fit(Protocol):
    """What a model that was fitted on one split says of it.

    Attributes
    ----------
    outputs
        ``test``, and ``validation`` where it is known, to (n, c) probabilities or (n, t) targets.
    each
        Of the test rows, for every candidate of a model that gives them all at once, such as kNN.
    temperature
        That calibrates the probabilities of the validation rows best; None where it is not known.
    """

    @property
    def outputs(self) -> Mapping[str, NDArray[np.float64]]: ...  # noqa: D102

    @property
    def each(self) -> Mapping[int, NDArray[np.float64]]: ...  # noqa: D102

    @property
    def temperature(self) -> float | None: ...  # noqa: D102


@dataclass(frozen=True)
class Scored:
    """Test rows scored.

    Parameters
    ----------
    scores
        With each class's or target's.
    predictions
        Of test rows, and of validation rows where there is one split that has their outputs.
    metrics
        Of the result.
    outcomes
        What else the result keeps of them.
    notes
        What a reader must know.
    """

    scores: Scores | RegressionScores
    predictions: Predictions
    metrics: dict[str, Metric]
    outcomes: dict[str, Any]
    notes: tuple[str, ...] = ()


def score_classes(
    rows: Rows, labels: NDArray[np.int64], splits: Sequence[Split], fitted: Sequence[Fit]
) -> Scored:
    """Score probabilities of classes."""
    index, part, fold, p = _join(splits, fitted)
    classes = np.unique(np.concatenate([labels[split.train] for split in splits]))
    predictions = Predictions(index, part, fold, labels[index], classes[p.argmax(axis=1)], p.max(axis=1))
    test = part == "test"
    class_names = [rows.class_names[label] for label in classes]
    y = np.searchsorted(classes, labels[index])[test]
    scores = score_predictions(y, p[test], class_names=class_names, fold=fold[test])
    notes = []
    if scores.absent:
        notes.append(
            f"No test rows of {', '.join(scores.absent)}: left out of balanced accuracy and ROC AUC."
        )
    metrics = dict(scores.metrics)
    majority = [(labels[s.test] == np.bincount(labels[s.train]).argmax()).mean() for s in splits]
    metrics["majority_accuracy"] = wilson(
        float(np.mean(majority)), scores.n, note="always the largest training class"
    )
    for k in fitted[0].each:
        right = [
            (classes[fit.each[k].argmax(axis=1)] == labels[split.test]).mean()
            for fit, split in zip(fitted, splits, strict=True)
        ]
        metrics[f"accuracy_k{k}"] = wilson(float(np.mean(right)), scores.n)
    calibration, record = _calibration(y, p[test], fold[test], [fit.temperature for fit in fitted])
    outcomes = {"class_names": class_names, **kept(scores.confusion), "calibration": record}
    return Scored(scores, predictions, metrics | calibration, outcomes, tuple(notes))


def score_regression(
    rows: Rows, y: NDArray[np.float64], splits: Sequence[Split], fitted: Sequence[Fit]
) -> Scored:
    """Score predicted targets."""
    index, part, fold, predicted = _join(splits, fitted)
    test = part == "test"
    means = np.stack([y[split.train].mean(axis=0) for split in splits])[fold - 1]
    scores = score_targets(y[index][test], predicted[test], means[test], target_names=rows.target_names)
    predictions = Predictions(index, part, fold, y[index], predicted, None)
    outcomes = {"targets": [asdict(target) for target in scores.targets]}
    return Scored(scores, predictions, dict(scores.metrics), outcomes)


def _calibration(
    y: NDArray[np.int64],
    p: NDArray[np.float64],
    fold: NDArray[np.int64],
    temperatures: Sequence[float | None],
) -> tuple[dict[str, Metric], dict[str, Any]]:
    """Return the calibration's metrics and record, before and after each fold's temperature."""
    right, confidence = p.argmax(axis=1) == y, p.max(axis=1)
    plain = reliability(confidence, right)
    chance = errors_by_chance(confidence)
    metrics = {
        "expected_calibration_error": Metric(
            plain.error,
            note=f"{N_BINS} bins; perfect calibration would show {chance.mean():.3f} on these rows, "
            f"1 time in 20 over {np.quantile(chance, 0.95):.3f}",
        )
    }
    record: dict[str, Any] = {"n_bins": N_BINS, "bins": [asdict(one) for one in plain.bins]}
    known = [t for t in temperatures if t is not None]
    if len(known) == len(temperatures):
        scaled = np.concatenate([scale(p[fold == i], t) for i, t in enumerate(known, start=1)])
        outcome = np.concatenate([right[fold == i] for i in range(1, len(known) + 1)])
        after = reliability(scaled.max(axis=1), outcome)
        shown = ", ".join(f"{t:.3g}" for t in known)
        metrics["expected_calibration_error_scaled"] = Metric(
            after.error, note=f"at temperature {shown}, of validation rows"
        )
        record["temperature"] = known[0] if len(known) == 1 else known
        record["bins_scaled"] = [asdict(one) for one in after.bins]
    for name, some in (("confidence_right", right), ("confidence_wrong", ~right)):
        metrics[name] = (
            Metric(float(np.median(confidence[some])), note="median")
            if some.any()
            else Metric(None, note="no such predictions")
        )
    return metrics, record


def _join(
    splits: Sequence[Split], fitted: Sequence[Fit]
) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.int64], NDArray[np.float64]]:
    """Join the folds in the file's order: test rows of each, and validation rows where there is one split."""
    index, part, fold, outputs = [], [], [], []
    for number, (split, fit) in enumerate(zip(splits, fitted, strict=True), start=1):
        for name in ("validation", "test") if len(splits) == 1 else ("test",):
            output = fit.outputs.get(name)
            if output is None:
                continue
            rows: NDArray[np.int64] = getattr(split, name)
            index.append(rows)
            part.append(np.full(len(rows), name))
            fold.append(np.full(len(rows), number))
            outputs.append(output)
    joined = np.concatenate(index)
    order = np.argsort(joined, kind="stable")
    parts: NDArray[np.str_] = np.concatenate(part)[order]
    return joined[order], parts, np.concatenate(fold)[order], np.concatenate(outputs)[order]
