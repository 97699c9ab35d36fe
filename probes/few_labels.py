"""Few labels: nested random subsets of the training rows, and a choice that needs no other label."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.scoring.budget import Budget
from embedkit.scoring.dividing import deal
from probes.kinds.around import Around
from probes.kinds.logistic import ConvergenceWarning
from probes.options import ProbeOptions

MOST_FOLDS = 5
# Of kNN, as far as there are rows: few labels are no use to a hundred neighbours.
KS = (1, 3, 5, 10, 20, 100, 200)
# Of an MLP that has no rows to stop by.
EPOCHS = 50


def shuffled_classes(
    labels: NDArray[np.int64], train: NDArray[np.int64], random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return the training rows of each class in an order of chance; a budget takes the first of each.

    So the budgets of one draw are nested: what a small one holds, a larger one holds too.
    """
    return [random.permutation(train[labels[train] == label]) for label in np.unique(labels[train])]


def take(budget: Budget, classes: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the rows that a budget takes of shuffled classes, rising."""
    return np.sort(np.concatenate([rows[: budget.n_of(len(rows))] for rows in classes]))


def held_out(labels: NDArray[np.int64], random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return the rows that each fold of a stratified cross-validation holds out; none where that can't be.

    At most five folds, and as many as the largest class has rows. A class with a single row is never held
    out, so that every fold learns every class.
    """
    _, label, counts = np.unique(labels, return_inverse=True, return_counts=True)
    k = min(MOST_FOLDS, int(counts.max()))
    if k < 2:
        return []
    folds = deal(np.where(counts[label] > 1, label, -1), k, random)
    return [fold for fold in folds if len(fold)]


def fit_within(
    x: NDArray[np.float32],
    y: NDArray[Any],
    labels: NDArray[np.int64],
    options: ProbeOptions,
    *,
    seed: int,
    around: Around | None = None,
) -> Any:
    """Fit a probe with these rows alone, its settings chosen by cross-validation among them.

    Parameters
    ----------
    x : (n, d)
        Features.
    y : (n,) or (n, t)
        Labels or targets.
    labels : (n,) int64
        What the folds are stratified by.
    options
        Kind and settings. What was given as one value is not chosen.
    seed
        Of the folds, and of the probe where it draws anything.
    around
        Where the rows lie among all that a semi-supervised probe may learn from; other probes leave it.

    Returns
    -------
    Probe
        Fitted on all n rows, with the score of each candidate over the held-out rows in
        ``validation_scores_``; empty where nothing was chosen.
    """
    kind = options.probe
    drawn = {"random_state": seed} if "random_state" in kind.arguments else {}
    folds = held_out(labels, np.random.default_rng(seed))
    if options.kind == "knn":
        n = len(x) - max((len(fold) for fold in folds), default=0)
        ks = tuple(k for k in options.n_neighbors or KS if k <= n) or (1,)
        options = replace(options, n_neighbors=ks)
    around = around if kind.semi_supervised else None
    scores, fitted = _cross_validate(x, y, folds, options, drawn, around)
    if scores:
        pick = min if kind.regression else max
        best = pick(scores, key=lambda candidate: scores[candidate])
        settings = dict(zip(kind.unchosen, best if isinstance(best, tuple) else (best,), strict=True))
    else:
        asked = {name: options.settings.get(name, value) for name, value in kind.unchosen.items()}
        settings = {name: _middle(value) for name, value in asked.items()}
    if "n_epochs" in kind.arguments:
        pair = tuple(settings.values())
        kept = [model.epochs_[pair] for model in fitted if pair in model.epochs_]
        drawn["n_epochs"] = max(1, round(float(np.median(kept)))) if kept else EPOCHS
    model = options.make(**settings, **drawn)
    _fit(model, x, y, around=around)
    model.validation_scores_ = scores
    return model


def _cross_validate(
    x: NDArray[np.float32],
    y: NDArray[Any],
    folds: Sequence[NDArray[np.int64]],
    options: ProbeOptions,
    drawn: Mapping[str, Any],
    around: Around | None,
) -> tuple[dict[Any, float], list[Any]]:
    """Return the score of each candidate over all held-out rows, and the fitted probes."""
    totals: dict[Any, float] = {}
    times: dict[Any, int] = {}
    fitted = []
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(x)), fold)
        if options.probe.regression and len(rest) < 2:
            continue
        model = options.make(**drawn)
        _fit(model, x[rest], y[rest], (x[fold], y[fold]), None if around is None else around.of(rest, fold))
        fitted.append(model)
        for candidate, score in model.validation_scores_.items():
            # Squared, errors of folds add up to those of all their rows.
            value = score**2 if options.probe.regression else score
            totals[candidate] = totals.get(candidate, 0.0) + value * len(fold)
            times[candidate] = times.get(candidate, 0) + 1
    n = sum(len(fold) for fold in folds)
    # A fold too small for some candidate (a k above its rows) rules it out.
    means = {name: total / n for name, total in totals.items() if times[name] == len(fitted)}
    return {name: float(np.sqrt(v)) if options.probe.regression else v for name, v in means.items()}, fitted


def _fit(
    model: Any,
    x: NDArray[np.float32],
    y: NDArray[Any],
    validation: Any = None,
    around: Around | None = None,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the notes hold it
        model.fit(x, y, validation=validation, **({} if around is None else {"around": around}))


def _middle(value: Any) -> Any:
    """Return the middle of several values that were given to choose from, in their order."""
    return value[len(value) // 2] if isinstance(value, tuple) else value
