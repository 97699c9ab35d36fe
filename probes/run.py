"""One probe of one feature file: one Result line and a table of predictions."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.files.identity import identity
from embedkit.files.lengths import named_after
from embedkit.files.predictions import write_predictions
from embedkit.files.results import RESULTS_FILE, Result, append_result, result_provenance
from embedkit.files.selected_file import rows_and_options
from embedkit.files.store import FeatureFile
from embedkit.preparing.preparation import preparation_for
from embedkit.scoring.scored import score_classes, score_regression
from probes.division import Dealt, deal_rows, probed, settle_rows
from probes.fitting import fit_splits
from probes.model_file import SavedProbe, save_probe
from probes.options import ProbeOptions
from probes.report import ProbeReport

DEFAULTS = ProbeOptions()


def probe(
    features: str | os.PathLike[str] | FeatureFile,
    options: ProbeOptions = DEFAULTS,
    *,
    output: str | os.PathLike[str] | None = None,
    save_model: str | os.PathLike[str] | None = None,
    dealt: Dealt | None = None,
) -> ProbeReport:
    """Measure what one probe reads out of a feature file.

    Parameters
    ----------
    features
        A feature file with labels, or with targets for a regression; or its path.
    options
        Kind, split and settings.
    output
        Folder for results.jsonl and the predictions; nothing is written without it.
    save_model
        File to keep the fitted probe in, for `probes.model_file.load_probe`.
    dealt
        The file's rows, if they were dealt out already with this split and seed.

    Raises
    ------
    EmbedkitError
        A file that can't be read or probed; the message says what to do.
    """
    with probed(features, options) as file:
        try:
            dealt = dealt or deal_rows(file, options, one_for=None if save_model is None else "--save-model")
            report = _probe(file, options, dealt, single=save_model is not None)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        if save_model is not None:
            _save(file, report, options, save_model)
        return report if output is None else _write(file, report, options, Path(output))


def _probe(
    file: FeatureFile,
    options: ProbeOptions,
    dealt: Dealt,
    *,
    single: bool = False,
) -> ProbeReport:
    dealt = settle_rows(file, dealt, options)
    labelled, splits, notes = dealt.labelled, dealt.splits, list(dealt.notes)
    if single and len(splits) > 1:
        raise UsageError(
            f"--save-model keeps one probe, and the {len(splits)} folds fit one each. Give another --split, "
            "such as stratified."
        )
    fitted, seconds = fit_splits(file, labelled, splits, options, notes)
    score = score_regression if options.probe.regression else score_classes
    scored = score(file.rows, labelled.y, splits, fitted)
    models = [fit.model for fit in fitted]
    steps = [fit.prepared for fit in fitted]

    def over_folds(values: list[Any]) -> Any:
        return values[0] if len(values) == 1 else values

    prepared = bool(steps[0].steps)
    grid = list(models[0].validation_scores_)
    used = {name: over_folds([m.chosen_[name] for m in models]) for name in models[0].chosen_}
    given = models[0].chosen_ if len(grid) < 2 else {}  # one candidate was no choice
    params = {
        **{name: value for name, value in options.settings.items() if name not in used},
        **given,
        **asked(options, file),
        "temperature": getattr(models[0], "temperature", None),
        "refit": options.refit,
        "choice": {"by": f"validation {options.selected_by}", "grid": grid},
    }
    outcomes = {
        **({} if given else used),
        "choice": {
            "of": list(used),
            "scores": [{candidate_name(v): s for v, s in m.validation_scores_.items()} for m in models],
        },
        "preparation": [step.record()["preparation"] for step in steps] if prepared else None,
        "division": [{"name": s.name, **s.counts} for s in splits],
        "left_out": labelled.left_out,
        **scored.outcomes,
    }
    result = Result(
        task="probe",
        dataset=file.dataset_name,
        features=file.features_name,
        method=options.kind,
        params={name: value for name, value in params.items() if value is not None},
        outcomes={name: value for name, value in outcomes.items() if value is not None},
        split=splits[0].name.partition(" fold ")[0],
        seed=options.seed,
        metrics=scored.metrics,
        n=scored.scores.n,
        seconds=seconds,
        backend=models[0].backend_,
        provenance=result_provenance(file) | {"fits": [model.details_ for model in models]},
    )
    notes += scored.notes
    return ProbeReport(
        result, scored.scores, scored.predictions, splits, tuple(dict.fromkeys(notes)), tuple(fitted)
    )


def asked(options: ProbeOptions, file: FeatureFile) -> dict[str, Any]:
    """Return the settings that probes of all kinds and budgets share; None where there is nothing to say.

    How rows were divided is in a result's split; of a saved one that names only what it once was.
    """
    preparation = preparation_for(file, options.prep)
    return {
        "prep": preparation.name if preparation.steps else None,
        "class_weight": options.class_weight,
        "dedupe": options.dedupe,
        "split_file": options.split if options.split.endswith(".json") else None,
        "fractions": options.fractions,
    }


def candidate_name(value: Any) -> str:
    """Write one candidate of a grid: a number, a word, or several settings at once."""
    if isinstance(value, tuple):
        return " ".join(map(candidate_name, value))
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _save(
    file: FeatureFile, report: ProbeReport, options: ProbeOptions, path: str | os.PathLike[str]
) -> None:
    fit, params, outcomes = report.fits[0], report.result.params, report.result.outcomes
    train = report.splits[0].train
    if options.probe.regression:
        names, baseline = file.rows.target_names, np.asarray(file.rows.targets)[train].mean(axis=0)
    else:
        names = tuple(outcomes["class_names"])
        baseline = np.unique(np.asarray(file.rows.labels)[train], return_counts=True)[1] / len(train)
    settings: dict[str, Any] = {
        "choice": {**params["choice"], **outcomes["choice"]},
        "division": {"asked": options.split, "folds": outcomes["division"]},
        **fit.model.chosen_,
    }
    settings |= {"refit": options.refit, "class_weight": options.class_weight, "seed": options.seed}
    saved = SavedProbe(
        options.kind, fit.model, fit.prepared, names, baseline, fit.temperature, settings, identity(file)
    )
    save_probe(path, saved)


def _write(file: FeatureFile, report: ProbeReport, options: ProbeOptions, output: Path) -> ProbeReport:
    """Write the predictions, then the result that names them."""
    # `auto` divides few rows in two ways, for other options than these.
    folded = [report.result.split] if options.split == "auto" and len(report.splits) > 1 else []
    path = predictions_path(file, options, output, *folded)
    write_predictions(path, report.predictions, file.rows)
    result = replace(report.result, provenance={**report.result.provenance, "predictions": path.name})
    result = append_result(output / RESULTS_FILE, result)
    return replace(report, result=result, predictions_path=path)


def predictions_path(file: FeatureFile, options: ProbeOptions, output: Path, *more: object) -> Path:
    """Name the predictions of a file under these options, and whatever else they depend on."""
    settings = json.dumps([file.sha256, *rows_and_options(file, options), *more], sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return output / named_after(file.path, f"probe-{options.kind}-{digest}.csv")
