"""`embedkit probe`: feature file in, one Result line and a table of predictions out."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.console import note, print_json, print_table, progress
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.results import RESULTS_FILE, Metric, Result, append_result, result_provenance
from embedkit.store import FeatureFile
from probes.device import DEVICES
from probes.knn import KS, TEMPERATURE, KNNProbe, check_k
from probes.linear import C_GRID, LinearProbe, check_c_grid
from probes.logistic import ConvergenceWarning
from probes.scores import Scores, score_predictions, wilson
from probes.selection import SELECT
from probes.splits import (
    FRACTIONS,
    Split,
    file_split,
    folds,
    group_split,
    read_splits,
    stratified_split,
    write_splits,
)

if TYPE_CHECKING:
    from embedkit.rows import Rows

OUTPUT = "runs"
# The options of each kind that other kinds don't have.
KINDS: dict[str, tuple[str, ...]] = {
    "linear": ("c_grid", "class_weight", "device"),
    "knn": ("k", "temperature"),
}
SPLIT_NAMES = ("auto", "file", "stratified", "group", "kfold:K", "FILE.json")


@dataclass(frozen=True)
class ProbeOptions:
    """How to probe; what is None takes the default of its kind.

    Parameters
    ----------
    kind
        ``linear`` or ``knn``.
    split
        ``auto`` (the file's own, else by group, else stratified), ``file``, ``stratified``, ``group``,
        ``kfold:5``, or the path of a saved split, ending in .json.
    seed
        Of the split.
    fractions
        Of train, validation and test; 0.7, 0.15, 0.15 by default. Where test is given (``file``, ``kfold``),
        the first two say how the rest is divided.
    select
        ``accuracy``, ``balanced_accuracy`` or, for ``linear``, ``log_loss``: what the validation rows choose
        C or k by.
    refit
        Fit once more on training and validation rows together after the choice.
    c_grid, class_weight, device
        For ``linear``, as in `LinearProbe`.
    k, temperature
        For ``knn``.
    prep
        What happens to the features first, in the words of `embedkit.preparation.Preparation.parse`; fitted
        on the training rows of each split.

    Raises
    ------
    UsageError
        An unknown kind, split, select or preparation, or an option of another kind.
    """

    kind: str = "linear"
    split: str = "auto"
    seed: int = 0
    fractions: tuple[float, float, float] | None = None
    select: str = "accuracy"
    refit: bool = False
    c_grid: tuple[float, ...] | None = None
    k: tuple[int, ...] | None = None
    temperature: float | None = None
    prep: str = "none"
    class_weight: str | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"--kind {self.kind}: unknown. Give one of {', '.join(KINDS)}.")
        for kind, names in KINDS.items():
            for name in names:
                if kind != self.kind and getattr(self, name) is not None:
                    raise UsageError(
                        f"--{name.replace('_', '-')} is for --kind {kind}, not {self.kind}. Leave it out."
                    )
        if self.select not in SELECT:
            raise UsageError(f"--select {self.select}: unknown. Give one of {', '.join(SELECT)}.")
        if self.select == "log_loss" and self.kind == "knn":
            raise UsageError("--select log_loss is for --kind linear: votes can be 0. Leave it out.")
        if self.fractions is not None and self.split.endswith(".json"):
            raise UsageError("--fractions says nothing about a saved split. Leave it out.")
        known = self.split in ("auto", "file", "stratified", "group") or self.split.endswith(".json")
        if not known:
            name, _, k = self.split.partition(":")
            if name != "kfold" or not k.isdigit():
                raise UsageError(f"--split {self.split}: unknown. Give one of {', '.join(SPLIT_NAMES)}.")
        if self.prep != "none":
            # On use: `--help` waits for no scikit-learn.
            from embedkit.preparation import Preparation

            Preparation.parse(self.prep)
        if self.c_grid is not None:
            check_c_grid(self.c_grid)
        if self.temperature is not None and not self.temperature > 0:
            raise UsageError(f"--temperature {self.temperature:g}: give a number above 0.")
        for k_ in self.k or ():
            check_k(k_, k_)


@dataclass(frozen=True)
class Predictions:
    """What the probes said of the rows that they were not fitted on.

    Parameters
    ----------
    index : (n,) int64
        Row in the feature file.
    part : (n,) str
        ``validation`` or ``test``; with folds only ``test``.
    fold : (n,) int64
        Number of the split, from 1.
    true, predicted : (n,) int64
        Class, as in the feature file.
    probability : (n,) float64
        Of the predicted class.
    """

    index: NDArray[np.int64]
    part: NDArray[np.str_]
    fold: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]


@dataclass(frozen=True)
class ProbeReport:
    """One probe of one feature file.

    Parameters
    ----------
    result
        The line of results.jsonl.
    scores
        On the test rows, with the confusion matrix and each class's figures.
    predictions
        Of validation and test rows.
    splits
        The split, or the folds.
    notes
        What a reader of the numbers must know: rows left out, choices at the edge of a grid.
    predictions_path
        The CSV, where an output folder was given.
    """

    result: Result
    scores: Scores
    predictions: Predictions
    splits: tuple[Split, ...]
    notes: tuple[str, ...]
    predictions_path: Path | None = None


def probe(
    path: str | os.PathLike[str],
    options: ProbeOptions = ProbeOptions(),
    *,
    output: str | os.PathLike[str] | None = None,
) -> ProbeReport:
    """Measure what a probe reads out of a feature file: ``embedkit probe`` as a function.

    Parameters
    ----------
    path
        A feature file with labels.
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


@dataclass(frozen=True)
class _Fitted:
    """What one fitted probe chose and gave."""

    chosen: float
    validation_scores: dict[float, float]
    details: dict[str, Any]
    probabilities: dict[str, NDArray[np.float64]]  # part -> (n, c)
    each_k: dict[int, NDArray[np.float64]]  # of the test rows
    backend: str


def _probe(file: FeatureFile, options: ProbeOptions) -> ProbeReport:
    from embedkit.preparation import Preparation, prepare

    notes: list[str] = []
    labels, left_out = _labels(file, notes)
    splits = _splits(file.rows, labels, options, notes)
    used = np.unique(np.concatenate([part for s in splits for part in (s.train, s.validation, s.test)]))
    left_out["outside_split"] = int((labels >= 0).sum()) - len(used)
    if left_out["outside_split"]:
        notes.append(f"Left out {left_out['outside_split']:,} labelled rows that no part of the split holds.")
    classes = np.unique(labels[used])
    for split in splits:
        missing = np.setdiff1d(classes, labels[split.train])
        if len(missing):
            raise DataError(
                f"split {split.name!r} has no training rows of class "
                f"{file.rows.class_names[missing[0]]!r}. Draw one with --split stratified."
            )
    options = _resolve(options, min(len(split.train) for split in splits), notes)
    preparation = Preparation.parse(options.prep)
    with_views = preparation.uses_views and file.n_views > 1
    features = file.read_view_mean(used) if with_views else file.read(used)
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise DataError(
            f"{int(broken.sum()):,} of {len(features):,} rows hold NaN or infinite features, such as "
            f"{str(file.rows.ids[used[int(np.argmax(broken))]])!r}. Extract again with --precision fp32."
        )
    n_fits = len(splits) * len(options.c_grid or (1,))
    fitted = []
    start = time.perf_counter()
    # Nothing of validation and test rows may enter what the probe is fitted on.
    prepared = [prepare(file, preparation, rows=split.train) for split in splits]
    with progress(f"{options.kind} probe", n_fits, unit="fit") as advance:
        for split, fitted_on_train in zip(splits, prepared, strict=True):
            x = fitted_on_train.transform(features, view_mean=with_views)
            parts = {
                part: (x[np.searchsorted(used, index)], labels[index])
                for part, index in (
                    ("train", split.train),
                    ("validation", split.validation),
                    ("test", split.test),
                )
            }
            fitted.append(FITS[options.kind](parts, options, advance, notes))
    if preparation.steps:
        notes.append(prepared[0].describe() + " (the first fold)" * (len(prepared) > 1))
    seconds = time.perf_counter() - start

    predictions, probabilities = _predictions(splits, fitted, labels, classes)
    test = predictions.part == "test"
    class_names = [file.rows.class_names[label] for label in classes]
    position = np.searchsorted(classes, predictions.true)
    scores = score_predictions(
        position[test], probabilities[test], class_names=class_names, fold=predictions.fold[test]
    )
    if scores.absent:
        notes.append(
            f"No test rows of {', '.join(scores.absent)}: left out of balanced accuracy and ROC AUC."
        )
    metrics = dict(scores.metrics)
    metrics["majority_accuracy"] = _majority(splits, labels, scores.n)
    for k in fitted[0].each_k:
        right = [
            (classes[fit.each_k[k].argmax(axis=1)] == labels[split.test]).mean()
            for fit, split in zip(fitted, splits, strict=True)
        ]
        metrics[f"accuracy_k{k}"] = wilson(float(np.mean(right)), scores.n)
    setting = {"linear": "c", "knn": "k"}[options.kind]
    chosen = [fit.chosen for fit in fitted]
    params = {
        setting: chosen[0] if len(chosen) == 1 else chosen,
        "temperature": options.temperature,
        "prep": preparation.name if preparation.steps else None,
        "preparation": [step.record()["preparation"] for step in prepared] if preparation.steps else None,
        "refit": options.refit,
        "class_weight": options.class_weight,
        "choice": {
            "by": f"validation {options.select}",
            "grid": list(options.c_grid or options.k or ()),
            "scores": [
                {f"{value:g}": score for value, score in fit.validation_scores.items()} for fit in fitted
            ],
        },
        "division": {"asked": options.split, "folds": [{"name": s.name, **s.counts} for s in splits]},
        "left_out": left_out,
        "class_names": class_names,
        "confusion": scores.confusion.tolist(),
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
        backend=fitted[0].backend,
        provenance=result_provenance(file) | {"fits": [fit.details for fit in fitted]},
    )
    return ProbeReport(result, scores, predictions, splits, tuple(dict.fromkeys(notes)))


def _labels(file: FeatureFile, notes: list[str]) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the labels with -1 for every row that can't be used, and how many those are."""
    rows, ok = file.rows, file.ok
    if not ok.any():
        raise DataError(
            f"none of the {file.n:,} images could be read, so there is nothing to probe. `embedkit verify "
            f"{file.path}` lists the reasons."
        )
    if rows.labels is None or (rows.labels < 0).all():
        raise DataError(
            "no labels stored. Extract again from a labelled dataset: a folder with a subfolder for each "
            "class, or a CSV with a label column."
        )
    left_out = {"failed": int((~ok).sum()), "unlabelled": int((ok & (rows.labels < 0)).sum())}
    if left_out["failed"]:
        notes.append(f"Left out {left_out['failed']:,} rows whose image could not be read.")
    if left_out["unlabelled"]:
        notes.append(f"Left out {left_out['unlabelled']:,} rows without a label.")
    return np.where(ok, rows.labels, -1), left_out


def _splits(
    rows: Rows, labels: NDArray[np.int64], options: ProbeOptions, notes: list[str]
) -> tuple[Split, ...]:
    how = options.split
    if how.endswith(".json"):
        return _saved_splits(how, rows, labels, notes)
    if how == "auto":
        if rows.split is not None and (rows.split != "").any():
            how = "file"
        else:
            how = "group" if rows.group is not None else "stratified"
        notes.append(f"Split: {_SAID[how]}.")
    fractions = options.fractions or FRACTIONS
    drawn: dict[str, Any] = {"seed": options.seed, "class_names": rows.class_names}
    held: dict[str, Any] = {"groups": rows.group, "validation": fractions[1] / (fractions[0] + fractions[1])}
    if how == "file":
        if rows.split is None:
            raise DataError("no split column stored. Use --split stratified, or extract again with one.")
        return (file_split(rows.split, labels, **held, **drawn),)
    if how.startswith("kfold:"):
        if rows.group is not None:
            notes.append("The file's groups are kept together: each is in one fold.")
        return folds(labels, int(how.removeprefix("kfold:")), **held, **drawn)
    if how == "group":
        if rows.group is None:
            raise DataError("no group column stored. Use --split stratified, or extract again with one.")
        return (group_split(rows.group, labels, fractions=fractions, **drawn),)
    if rows.group is not None:
        notes.append("The file's groups are ignored; --split group keeps each on one side.")
    return (stratified_split(labels, fractions=fractions, **drawn),)


_SAID = {
    "file": "the file's own",
    "group": "drawn by group, since the file has groups",
    "stratified": "drawn at random from --seed, every class in proportion",
}


def _saved_splits(path: str, rows: Rows, labels: NDArray[np.int64], notes: list[str]) -> tuple[Split, ...]:
    saved = read_splits(path, rows.ids)
    kept = tuple(
        Split(s.name, *(part[labels[part] >= 0] for part in (s.train, s.validation, s.test))) for s in saved
    )
    n_lost = sum(sum(s.counts.values()) - sum(t.counts.values()) for s, t in zip(saved, kept, strict=True))
    if n_lost:
        notes.append(f"{path}: {n_lost:,} of its entries are rows without features or label here.")
    return kept


def _resolve(options: ProbeOptions, n_train: int, notes: list[str]) -> ProbeOptions:
    """Fill in the defaults of the kind."""
    if options.kind == "linear":
        return replace(options, c_grid=check_c_grid(options.c_grid or C_GRID))
    if options.k is None:
        fitting = tuple(k for k in KS if k <= n_train)
        if not fitting:
            raise DataError(f"{n_train} training rows are fewer than k = {KS[0]}. Give a smaller --k.")
        if len(fitting) < len(KS):
            notes.append(
                f"Left out k above the {n_train} training rows; tried {', '.join(map(str, fitting))}."
            )
        options = replace(options, k=fitting)
    return replace(
        options, k=tuple(sorted(set(options.k or ()))), temperature=options.temperature or TEMPERATURE
    )


Parts = dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]


def _fit_linear(
    parts: Parts, options: ProbeOptions, advance: Callable[[], None], notes: list[str]
) -> _Fitted:
    model = LinearProbe(
        c_grid=options.c_grid or C_GRID,
        select=options.select,
        refit=options.refit,
        class_weight=options.class_weight,
        device=options.device or "cpu",
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(*parts["train"], validation=parts["validation"], advance=advance)
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):  # which the notes hold
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    notes += model.notes_
    assert model.validation_output_ is not None  # for mypy: a split has validation rows
    return _Fitted(
        model.c_,
        model.validation_scores_,
        model.details_,
        # The validation rows' are those of the probe that was fitted without them.
        {"validation": model.validation_output_, "test": model.predict_proba(parts["test"][0])},
        {},
        model.backend_,
    )


def _fit_knn(parts: Parts, options: ProbeOptions, advance: Callable[[], None], notes: list[str]) -> _Fitted:
    del notes  # nothing can go wrong that is not refused
    model = KNNProbe(
        k=options.k or KS,
        temperature=options.temperature or TEMPERATURE,
        select=options.select,
        refit=options.refit,
    )
    model.fit(*parts["train"], validation=parts["validation"])
    each_k = model.predict_proba_each(parts["test"][0])
    advance()
    assert model.validation_probabilities_ is not None  # for mypy: a split has validation rows
    return _Fitted(
        model.k_,
        {float(k): score for k, score in model.validation_scores_.items()},
        {},
        {"validation": model.validation_probabilities_, "test": each_k[model.k_]},
        each_k,
        "torch-cpu",
    )


FITS: dict[str, Callable[[Parts, ProbeOptions, Callable[[], None], list[str]], _Fitted]] = {
    "linear": _fit_linear,
    "knn": _fit_knn,
}


def _predictions(
    splits: Sequence[Split],
    fitted: Sequence[_Fitted],
    labels: NDArray[np.int64],
    classes: NDArray[np.int64],
) -> tuple[Predictions, NDArray[np.float64]]:
    """Join the folds: test rows of each; validation rows only where there is one split."""
    index, part, fold, probabilities = [], [], [], []
    for number, (split, fit) in enumerate(zip(splits, fitted, strict=True), start=1):
        for name in ("validation", "test") if len(splits) == 1 else ("test",):
            rows: NDArray[np.int64] = getattr(split, name)
            index.append(rows)
            part.append(np.full(len(rows), name))
            fold.append(np.full(len(rows), number))
            probabilities.append(fit.probabilities[name])
    joined, p = np.concatenate(index), np.concatenate(probabilities)
    order = np.argsort(joined, kind="stable")
    joined, p = joined[order], p[order]
    predictions = Predictions(
        joined,
        np.concatenate(part)[order],
        np.concatenate(fold)[order],
        labels[joined],
        classes[p.argmax(axis=1)],
        p.max(axis=1),
    )
    return predictions, p


def _majority(splits: Sequence[Split], labels: NDArray[np.int64], n: int) -> Metric:
    """What always answering the most frequent training class would score."""
    values = [(labels[s.test] == np.bincount(labels[s.train]).argmax()).mean() for s in splits]
    return wilson(float(np.mean(values)), n, note="always the largest training class")


def _write(file: FeatureFile, report: ProbeReport, options: ProbeOptions, output: Path) -> ProbeReport:
    """Write the predictions, then the result that names them."""
    settings = json.dumps([file.sha256, asdict(options)], sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    path = output / f"{file.path.stem}-probe-{options.kind}-{digest}.csv"
    rows, predictions = file.rows, report.predictions
    output.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["id", "split", "fold", "true", "predicted", "probability"])
            for i, row in enumerate(predictions.index):
                writer.writerow(
                    [
                        rows.ids[row],
                        predictions.part[i],
                        predictions.fold[i],
                        rows.class_names[predictions.true[i]],
                        rows.class_names[predictions.predicted[i]],
                        f"{predictions.probability[i]:.6g}",
                    ]
                )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    result = replace(report.result, provenance={**report.result.provenance, "predictions": path.name})
    append_result(output / RESULTS_FILE, result)
    return replace(report, result=result, predictions_path=path)


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit probe``."""
    parser.add_argument("features", help="a feature file with labels, from `embedkit extract`")
    parser.add_argument("--kind", choices=tuple(KINDS), default="linear", help="which probe")
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
    parser.add_argument("--seed", type=int, default=0, help="of the split")
    parser.add_argument(
        "--fractions",
        type=float,
        nargs=3,
        metavar=("TRAIN", "VALIDATION", "TEST"),
        help="of the rows (default: 0.7 0.15 0.15); with a given test set, the first two divide the rest",
    )
    parser.add_argument(
        "--select", choices=tuple(SELECT), default="accuracy", help="what validation rows choose C or k by"
    )
    parser.add_argument(
        "--refit", action="store_true", help="after the choice, fit on training and validation rows together"
    )
    parser.add_argument(
        "--c-grid",
        type=float,
        nargs="+",
        metavar="C",
        help="linear: C to choose from (default: 13, 1e-5 to 10)",
    )
    parser.add_argument(
        "--class-weight",
        choices=("balanced",),
        help="linear: weigh rows so that every class counts the same (default: every row does)",
    )
    parser.add_argument(
        "--device", choices=DEVICES, help="linear: where to compute (default: cpu; auto takes a GPU if any)"
    )
    parser.add_argument("--k", type=int, nargs="+", help="knn: k to choose from (default: 10 20 100 200)")
    parser.add_argument("--temperature", type=float, help="knn: of the vote (default: 0.07)")
    parser.add_argument("--save-split", metavar="FILE.json", help="keep the split, for --split FILE.json")
    parser.add_argument("-o", "--output", default=OUTPUT, help="folder for results.jsonl and predictions")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    return _run


def _run(args: argparse.Namespace) -> None:
    options = ProbeOptions(
        kind=args.kind,
        split=args.split,
        seed=args.seed,
        fractions=None if args.fractions is None else tuple(args.fractions),
        select=args.select,
        refit=args.refit,
        c_grid=None if args.c_grid is None else tuple(args.c_grid),
        k=None if args.k is None else tuple(args.k),
        temperature=args.temperature,
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
        document["classes"] = [asdict(scores) for scores in report.scores.classes]
        document["notes"] = list(report.notes)
        print_json(document)
    else:
        _print(report)
    note(f"Result in {Path(args.output) / RESULTS_FILE}, predictions in {report.predictions_path}.")


def _print(report: ProbeReport) -> None:
    from rich.table import Table
    from rich.text import Text

    result = report.result
    setting = {"linear": "c", "knn": "k"}[result.method]
    chosen = result.params[setting]
    values = ", ".join(f"{value:g}" for value in (chosen if isinstance(chosen, list) else [chosen]))
    title = f"{result.method} probe of {result.features} on {result.dataset}"
    counts = result.params["division"]["folds"][0]
    rows = (
        f"{counts['train']:,} train, {counts['validation']:,} validation, {counts['test']:,} test"
        if len(report.splits) == 1
        else f"{len(report.splits)} folds, {result.n:,} rows tested once each"
    )
    table = Table(title=Text(title, style="bold"), title_justify="left", show_edge=False)
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    table.add_column("")
    table.add_row("split", "", "", Text(f"{result.split}, seed {result.seed}: {rows}"))
    grid = len(result.params["choice"]["grid"])
    how = f"best {result.params['choice']['by']} of {grid}" if grid > 1 else "given"
    table.add_row(setting.upper() if setting == "c" else setting, Text(values), "", Text(how))
    for name, metric in result.metrics.items():
        table.add_row(_TITLES.get(name, name), *_metric_cells(metric), Text(metric.note or ""))
    print_table(table)
    print()
    table = Table(show_edge=False)
    for name in ("class", "test rows", "precision", "recall", "F1", "ROC AUC"):
        table.add_column(name, justify="left" if name == "class" else "right")
    for c in report.scores.classes:
        cells = [" ".join(_metric_cells(m)) for m in (c.precision, c.recall, c.f1, c.roc_auc)]
        table.add_row(Text(c.name), f"{c.n:,}", *cells)
    print_table(table)


_TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC AUC",
    "majority_accuracy": "majority class",
    "top5_accuracy": "right class in the top 5",
    **{f"accuracy_k{k}": f"accuracy, k = {k}" for k in KS},
}


def _metric_cells(metric: Metric) -> tuple[str, str]:
    if metric.value is None:
        return "-", ""
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f}", ""
    return f"{metric.value:.3f}", f"{metric.low:.3f}-{metric.high:.3f}"
