"""`embedkit probe`: feature file in, one Result line and a table of predictions out."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note, print_json
from embedkit.errors import DataError, EmbedkitError
from embedkit.results import RESULTS_FILE, Metric, Result, append_result, result_provenance
from embedkit.store import FeatureFile
from probes.device import DEVICES
from probes.options import SPLIT_NAMES, ProbeOptions
from probes.registry import PROBES
from probes.report import Predictions, ProbeReport
from probes.scores import score_predictions, wilson
from probes.selection import SELECT
from probes.splits import Split, write_splits

OUTPUT = "runs"
DEFAULTS = ProbeOptions()


def probe(
    path: str | os.PathLike[str],
    options: ProbeOptions = DEFAULTS,
    *,
    output: str | os.PathLike[str] | None = None,
) -> ProbeReport:
    """Measure what a probe reads out of a feature file: ``embedkit probe`` as a function.

    Parameters
    ----------
    path
        A feature file with labels, or with targets for a regression.
    options
        Kind, split and settings.
    output
        Folder for results.jsonl and the predictions; nothing is written without it.

    Raises
    ------
    EmbedkitError
        A file that can't be read or probed; the message says what to do.
    """
    with FeatureFile(path) as file:
        try:
            report = _probe(file, options)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        if output is None:
            return report
        return _write(file, report, options, Path(output))


def _probe(file: FeatureFile, options: ProbeOptions) -> ProbeReport:
    from probes.division import draw_splits, usable_labels, usable_targets
    from probes.fitting import Fitted, fit_splits

    notes: list[str] = []
    regression = options.probe.regression
    labels, left_out = (usable_targets if regression else usable_labels)(file, notes)
    splits = draw_splits(file.rows, labels, options, notes)
    used = np.unique(np.concatenate([part for s in splits for part in (s.train, s.validation, s.test)]))
    left_out["outside_split"] = int((labels >= 0).sum()) - len(used)
    if left_out["outside_split"]:
        notes.append(f"Left out {left_out['outside_split']:,} labelled rows that no part of the split holds.")
    if not regression:
        _check_classes(file, labels, used, splits)
    y: NDArray[Any] = np.asarray(file.rows.targets, dtype=np.float64) if regression else labels
    fitted, seconds = fit_splits(file, y, splits, options, notes)
    score = _score_targets if regression else _score_classes
    scores, predictions, metrics, outcomes = score(file, y, splits, fitted, notes)
    models: list[Any] = [fit.model for fit in fitted]
    steps: list[Any] = [fit.prepared for fit in fitted]

    def over_folds(values: list[Any]) -> Any:
        return values[0] if len(values) == 1 else values

    first: Fitted = fitted[0]
    prepared = bool(first.prepared.steps)
    params = {
        **{name: over_folds([m.chosen_[name] for m in models]) for name in models[0].chosen_},
        **{name: value for name, value in options.settings.items() if name not in models[0].chosen_},
        "temperature": getattr(models[0], "temperature", None),
        "prep": first.prepared.name if prepared else None,
        "preparation": [step.record()["preparation"] for step in steps] if prepared else None,
        "refit": options.refit,
        "class_weight": options.class_weight,
        "choice": {
            "by": f"validation {options.selected_by}",
            "grid": list(models[0].validation_scores_),
            "scores": [{_candidate(v): s for v, s in m.validation_scores_.items()} for m in models],
        },
        "division": {"asked": options.split, "folds": [{"name": s.name, **s.counts} for s in splits]},
        "left_out": left_out,
        **outcomes,
    }
    result = Result(
        task="probe",
        dataset=file.dataset_name,
        features=file.features_name,
        method=options.kind,
        params={name: value for name, value in params.items() if value is not None},
        split=splits[0].name.partition(" fold ")[0],
        seed=options.seed,
        metrics=metrics,
        n=scores.n,
        seconds=seconds,
        backend=models[0].backend_,
        provenance=result_provenance(file) | {"fits": [model.details_ for model in models]},
    )
    return ProbeReport(result, scores, predictions, splits, tuple(dict.fromkeys(notes)), tuple(models))


def _check_classes(
    file: FeatureFile, labels: NDArray[np.int64], used: NDArray[np.int64], splits: Sequence[Split]
) -> None:
    classes = np.unique(labels[used])
    for split in splits:
        missing = np.setdiff1d(classes, labels[split.train])
        if len(missing):
            raise DataError(
                f"split {split.name!r} has no training rows of class "
                f"{file.rows.class_names[missing[0]]!r}. Draw one with --split stratified."
            )


def _score_classes(
    file: FeatureFile,
    labels: NDArray[np.int64],
    splits: Sequence[Split],
    fitted: Sequence[Any],
    notes: list[str],
) -> tuple[Any, Predictions, dict[str, Metric], dict[str, Any]]:
    index, part, fold, p = _join(splits, fitted)
    classes = np.unique(np.concatenate([labels[split.train] for split in splits]))
    predictions = Predictions(index, part, fold, labels[index], classes[p.argmax(axis=1)], p.max(axis=1))
    test = part == "test"
    class_names = [file.rows.class_names[label] for label in classes]
    scores = score_predictions(
        np.searchsorted(classes, labels[index])[test], p[test], class_names=class_names, fold=fold[test]
    )
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
    return (
        scores,
        predictions,
        metrics,
        {"class_names": class_names, "confusion": scores.confusion.tolist()},
    )


def _score_targets(
    file: FeatureFile,
    y: NDArray[np.float64],
    splits: Sequence[Split],
    fitted: Sequence[Any],
    notes: list[str],
) -> tuple[Any, Predictions, dict[str, Metric], dict[str, Any]]:
    from probes.regression_scores import score_targets

    del notes  # nothing to say
    index, part, fold, predicted = _join(splits, fitted)
    test = part == "test"
    means = np.stack([y[split.train].mean(axis=0) for split in splits])[fold - 1]
    scores = score_targets(y[index][test], predicted[test], means[test], target_names=file.rows.target_names)
    predictions = Predictions(index, part, fold, y[index], predicted, None)
    return scores, predictions, dict(scores.metrics), {"targets": [asdict(t) for t in scores.targets]}


def _join(
    splits: Sequence[Split], fitted: Sequence[Any]
) -> tuple[NDArray[np.int64], NDArray[np.str_], NDArray[np.int64], NDArray[np.float64]]:
    """Join the folds in the file's order: test rows of each, and validation rows where there is one split."""
    index, part, fold, outputs = [], [], [], []
    for number, (split, fit) in enumerate(zip(splits, fitted, strict=True), start=1):
        for name in ("validation", "test") if len(splits) == 1 else ("test",):
            rows: NDArray[np.int64] = getattr(split, name)
            index.append(rows)
            part.append(np.full(len(rows), name))
            fold.append(np.full(len(rows), number))
            outputs.append(fit.outputs[name])
    joined = np.concatenate(index)
    order = np.argsort(joined, kind="stable")
    parts: NDArray[np.str_] = np.concatenate(part)[order]
    return joined[order], parts, np.concatenate(fold)[order], np.concatenate(outputs)[order]


def _candidate(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else str(value)


def _write(file: FeatureFile, report: ProbeReport, options: ProbeOptions, output: Path) -> ProbeReport:
    """Write the predictions, then the result that names them."""
    from probes.output import write_predictions

    settings = json.dumps([file.sha256, asdict(options)], sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    path = output / f"{file.path.stem}-probe-{options.kind}-{digest}.csv"
    write_predictions(path, report.predictions, file.rows)
    result = replace(report.result, provenance={**report.result.provenance, "predictions": path.name})
    append_result(output / RESULTS_FILE, result)
    return replace(report, result=result, predictions_path=path)


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit probe``."""
    parser.add_argument("features", help="a feature file with labels, from `embedkit extract`")
    parser.add_argument("--kind", choices=tuple(PROBES), default="linear", help="which probe")
    parser.add_argument(
        "--split",
        default="auto",
        metavar="HOW",
        help=f"{', '.join(SPLIT_NAMES)}; auto takes the file's own, else by group, else stratified",
    )
    parser.add_argument(
        "--prep",
        default="none",
        metavar="STEPS",
        help="prepare the features first: none, l2, pca95, whiten30, view-whiten, ..., joined with +; fitted "
        "on the training rows",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split, and of the probe")
    parser.add_argument(
        "--fractions",
        type=float,
        nargs=3,
        metavar=("TRAIN", "VALIDATION", "TEST"),
        help="of the rows (default: 0.7 0.15 0.15); with a given test set, the first two divide the rest",
    )
    parser.add_argument(
        "--select",
        choices=tuple(SELECT),
        help="what validation rows choose settings by (default: accuracy; RMSE of targets)",
    )
    parser.add_argument(
        "--refit", action="store_true", help="after the choice, fit on training and validation rows together"
    )
    parser.add_argument(
        "--class-weight",
        choices=("balanced",),
        help="weigh rows so that every class counts the same (default: every row does)",
    )
    parser.add_argument(
        "--device", choices=DEVICES, help="where to compute (default: cpu; auto takes a GPU if there is one)"
    )
    _add_settings(parser)
    parser.add_argument("--save-split", metavar="FILE.json", help="keep the split, for --split FILE.json")
    parser.add_argument("-o", "--output", default=OUTPUT, help="folder for results.jsonl and predictions")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    return _run


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add every probe's own options, one flag for those of the same name."""
    by_name: dict[str, list[tuple[str, Any]]] = {}
    for kind, entry in PROBES.items():
        for option in entry.options:
            by_name.setdefault(option.name, []).append((kind, option))
    for name, found in by_name.items():
        option = found[0][1]
        help_ = "; ".join(f"{kind}: {o.help}" for kind, o in found)
        flag = f"--{name.replace('_', '-')}"
        if option.flag:
            parser.add_argument(flag, action="store_true", default=None, help=help_)
        else:
            several: dict[str, Any] = {"nargs": "+"} if option.many else {}
            parser.add_argument(flag, type=option.type, choices=option.choices, help=help_, **several)


def _run(args: argparse.Namespace) -> None:
    from probes.output import print_report
    from probes.regression_scores import RegressionScores

    names = {option.name for entry in PROBES.values() for option in entry.options}
    given = {name: getattr(args, name) for name in sorted(names) if getattr(args, name) is not None}
    options = ProbeOptions(
        kind=args.kind,
        split=args.split,
        seed=args.seed,
        fractions=None if args.fractions is None else tuple(args.fractions),
        select=args.select,
        refit=args.refit,
        settings={name: tuple(v) if isinstance(v, list) else v for name, v in given.items()},
        prep=args.prep,
        class_weight=args.class_weight,
        device=args.device,
    )
    report = probe(args.features, options, output=args.output)
    for line in report.notes:
        note(line)
    if args.save_split:
        with FeatureFile(args.features) as file:
            write_splits(args.save_split, report.splits, file.rows.ids)
        note(f"Split kept in {args.save_split}.")
    if args.json:
        document = json.loads(report.result.to_json())
        if not isinstance(report.scores, RegressionScores):
            document["classes"] = [asdict(scores) for scores in report.scores.classes]
        document["notes"] = list(report.notes)
        print_json(document)
    else:
        print_report(report)
    note(f"Result in {Path(args.output) / RESULTS_FILE}, predictions in {report.predictions_path}.")
