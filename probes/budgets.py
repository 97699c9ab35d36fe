"""`embedkit probe --budget`: what a probe reads out with few labels, over several draws of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import progress
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.files.predictions import Predictions, write_predictions
from embedkit.files.results import RESULTS_FILE, Result, append_result, result_provenance
from embedkit.files.store import FeatureFile
from embedkit.preparing.direction import cosine_remark
from embedkit.preparing.matrix import checked_rows
from embedkit.preparing.preparation import preparation_for, prepare
from embedkit.scoring.budget import Budget
from embedkit.scoring.dividing import by_name
from embedkit.scoring.scored import Scored, score_classes, score_regression
from embedkit.scoring.splits import Split
from embedkit.scoring.spread import over_draws
from probes.division import Dealt, Labelled, deal_rows, learnable, probed, settle_rows
from probes.few_labels import fit_within, shuffled_classes, take
from probes.fitting import Fitted, read_features
from probes.kinds.around import Around, Pool
from probes.options import DRAWS, ProbeOptions, check_budgets
from probes.run import asked, candidate_name, predictions_path


@dataclass(frozen=True)
class Drawn:
    """One draw of one budget.

    Parameters
    ----------
    model
        The fitted probe.
    rows
        What it was fitted on.
    scored
        On the test rows.
    seconds
        Of the fit and the predictions.
    """

    model: Any
    rows: NDArray[np.int64]
    scored: Scored
    seconds: float


def probe_budgets(
    features: str | os.PathLike[str] | FeatureFile,
    options: ProbeOptions,
    budgets: Sequence[Budget],
    *,
    draws: int = DRAWS,
    output: str | os.PathLike[str] | None = None,
    dealt: Dealt | None = None,
) -> tuple[tuple[Result, ...], tuple[str, ...]]:
    """Fit a probe with the labels of each budget, several times, and score it on the same test rows.

    A budget's rows are drawn from the training rows, the same share or number of each class, and the
    budgets of one draw are nested. Settings are chosen by cross-validation among the budget's rows; the
    labels of validation rows are never looked at. Only the preparation, which reads no label, is fitted on
    all training rows.

    Parameters
    ----------
    features
        A feature file with labels, or with targets for a regression; or its path.
    options
        Kind, split and settings.
    budgets
        Numbers of labels.
    draws
        Random draws of each; a budget that takes every training row has one.
    output
        Folder for results.jsonl and the predictions; nothing is written without it.
    dealt
        The file's rows, if they were dealt out already with this split and seed.

    Returns
    -------
    results
        One a budget: every metric is the mean over the draws with the 95 % interval of that mean (Student's
        t over the draws; other training rows, the same test rows).
    notes
        What a reader must know.

    Raises
    ------
    UsageError
        Folds, ``refit``, or fewer than one draw.
    EmbedkitError
        A file that can't be read or probed; the message says what to do.
    """
    if draws < 1:
        raise UsageError(f"--draws {draws}: at least 1.")
    check_budgets(options)
    notes: list[str] = []
    with probed(features, options) as file:
        try:
            dealt = settle_rows(file, dealt or deal_rows(file, options, one_for="--budget"), options)
            labelled, splits = dealt.labelled, dealt.splits
            notes += dealt.notes
            if len(splits) > 1:
                raise DataError("--budget needs one set of test rows, and this split has several folds.")
            results = []
            for result, drawn in _probe(
                file, labelled, splits[0], options, budgets, draws=draws, notes=notes
            ):
                kept = result if output is None else _write(file, result, drawn, options, Path(output))
                results.append(kept)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
    return tuple(results), tuple(dict.fromkeys(notes))


def _probe(
    file: FeatureFile,
    labelled: Labelled,
    split: Split,
    options: ProbeOptions,
    budgets: Sequence[Budget],
    *,
    draws: int,
    notes: list[str],
) -> Iterator[tuple[Result, list[Drawn]]]:
    """Yield the result and the draws of each budget as it is done."""
    preparation = preparation_for(file, options.prep)
    learnt = learnable(file, labelled, split, options)
    used = np.union1d(learnt, split.test)
    features, with_views = read_features(file, used, preparation)
    with checked_rows():
        prepared = prepare(file, preparation, rows=learnt)
        x = prepared.transform(features, view_mean=with_views)
    pool = Pool(x[np.searchsorted(used, learnt)]) if options.probe.semi_supervised else None
    score = score_regression if options.probe.regression else score_classes
    # Targets have no classes to draw alike from.
    labels = np.zeros_like(labelled.labels) if options.probe.regression else labelled.labels
    drawn_by = by_name(labels, file.rows.class_names)
    labelled = labelled if options.probe.regression else replace(labelled, labels=drawn_by)
    classes = [
        shuffled_classes(drawn_by, split.train, np.random.default_rng([options.seed, draw]))
        for draw in range(draws)
    ]
    if prepared.steps:
        notes.append(prepared.describe())
    if options.by_cosine and (remark := cosine_remark(preparation, x, f"{options.kind} compares by cosine")):
        notes.append(remark)
    with progress(f"{options.kind} probe", len(budgets) * draws, unit="fit") as advance:
        for budget in budgets:
            _note_size(budget, classes[0], file, labels, notes)
            drawn = []
            for draw in range(draws):
                rows = take(budget, classes[draw])
                few = replace(split, train=rows)
                parts = {part: x[np.searchsorted(used, getattr(few, part))] for part in ("train", "test")}
                start = time.perf_counter()
                places = None if pool is None else Around(pool, np.searchsorted(learnt, rows))
                model, output = _fit(labelled, few, parts, options, places, seed=options.seed + draw)
                seconds = time.perf_counter() - start
                scored = score(file.rows, labelled.y, [few], [Fitted(model, prepared, {"test": output}, {})])
                drawn.append(Drawn(model, rows, scored, seconds))
                advance()
                if len(rows) == len(split.train):
                    break
            name = budget.name(regression=options.probe.regression)
            params = {**_params(options, file), "budget": name, "n_draws": draws}
            outcomes = {
                **({"preparation": [prepared.record()["preparation"]]} if prepared.steps else {}),
                "division": [{"name": split.name, **split.counts}],
                "left_out": labelled.left_out,
            }
            yield _result(file, drawn, options, params, outcomes), drawn


def _fit(
    labelled: Labelled,
    split: Split,
    x: Mapping[str, NDArray[np.float32]],
    options: ProbeOptions,
    around: Around | None,
    *,
    seed: int,
) -> tuple[Any, NDArray[np.float64]]:
    """Return a probe of the training rows, and what it says of the test rows."""
    with checked_rows():
        y, labels = labelled.y[split.train], labelled.labels[split.train]
        model = fit_within(x["train"], y, labels, options, seed=seed, around=around)
        predict = model.predict if options.probe.regression else model.predict_proba
        return model, predict(x["test"])


def _note_size(
    budget: Budget,
    classes: Sequence[NDArray[np.int64]],
    file: FeatureFile,
    labels: NDArray[np.int64],
    notes: list[str],
) -> None:
    short = [rows for rows in classes if budget.per_class is not None and len(rows) < budget.per_class]
    if short and file.rows.class_names and (labels > 0).any():
        named = ", ".join(f"{file.rows.class_names[labels[rows[0]]]} ({len(rows):,})" for rows in short)
        notes.append(f"Budget {budget.name()}: fewer training rows than that of {named}; all are taken.")


def _params(options: ProbeOptions, file: FeatureFile) -> dict[str, Any]:
    params = {
        "choice": {"by": f"{options.selected_by} in cross-validation within the budget's rows"},
        **asked(options, file),
        **options.settings,
    }
    return {name: value for name, value in params.items() if value is not None}


def _result(
    file: FeatureFile,
    drawn: Sequence[Drawn],
    options: ProbeOptions,
    params: Mapping[str, Any],
    outcomes: Mapping[str, Any],
) -> Result:
    scored = drawn[0].scored.outcomes
    return Result(
        task=f"probe {params['budget']}",
        dataset=file.dataset_name,
        features=file.features_name,
        method=options.kind,
        params=params,
        outcomes={
            **outcomes,
            **{name: scored[name] for name in ("class_names",) if name in scored},
            "n_labels": len(drawn[0].rows),
            "draws": [_record(one) for one in drawn],
        },
        split=outcomes["division"][0]["name"],
        seed=options.seed,
        metrics=over_draws([one.scored.metrics for one in drawn]),
        n=drawn[0].scored.scores.n,
        seconds=sum(one.seconds for one in drawn),
        backend=drawn[0].model.backend_,
        provenance=result_provenance(file),
    )


def _record(one: Drawn) -> dict[str, Any]:
    scores = {candidate_name(name): score for name, score in one.model.validation_scores_.items()}
    metrics = {name: metric.value for name, metric in one.scored.metrics.items()}
    return {"n_labels": len(one.rows), **one.model.chosen_, "scores": scores, "metrics": metrics}


def _write(
    file: FeatureFile, result: Result, drawn: Sequence[Drawn], options: ProbeOptions, output: Path
) -> Result:
    """Write every draw's predictions of the test rows, then the result that names them."""
    parts = [one.scored.predictions for one in drawn]
    number = np.repeat(np.arange(1, len(parts) + 1), [len(part.index) for part in parts])
    probabilities = [part.probability for part in parts if part.probability is not None]
    joined = Predictions(
        np.concatenate([part.index for part in parts]),
        np.concatenate([part.part for part in parts]),
        np.concatenate([part.fold for part in parts]),
        np.concatenate([part.true for part in parts]),
        np.concatenate([part.predicted for part in parts]),
        np.concatenate(probabilities) if probabilities else None,
        number,
    )
    path = predictions_path(file, options, output, result.params["budget"], len(drawn))
    write_predictions(path, joined, file.rows)
    result = replace(result, provenance={**result.provenance, "predictions": path.name})
    return append_result(output / RESULTS_FILE, result)
