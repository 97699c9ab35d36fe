"""`embedkit probe`: its options, and which of the rooms' functions a call runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit.console import note, print_json
from embedkit.errors import UsageError
from probes.device import DEVICES
from probes.options import DEDUPE, SPLIT_NAMES, ProbeOptions
from probes.registry import PROBES
from probes.selection import SELECT

if TYPE_CHECKING:
    from probes.leaks import Leaks
    from probes.report import ProbeReport

OUTPUT = "runs"


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
    _add_protocol(parser)
    parser.add_argument("--save-model", metavar="FILE", help="keep the fitted probe, for --apply FILE")
    parser.add_argument(
        "--apply",
        metavar="MODEL",
        help="fit nothing: predict every row with a probe of --save-model; -o FILE.csv names the predictions",
    )
    parser.add_argument("--save-split", metavar="FILE.json", help="keep the split, for --split FILE.json")
    parser.add_argument("-o", "--output", default=OUTPUT, help="folder for results.jsonl and predictions")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")

    def handle(args: argparse.Namespace) -> None:
        given = [name for name, value in vars(args).items() if value != parser.get_default(name)]
        run(args, given)

    return handle


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add every probe's own options, one flag for those of the same name."""
    group = parser.add_argument_group("settings of one probe")
    by_name: dict[str, list[tuple[str, Any]]] = {}
    for kind, entry in PROBES.items():
        for option in entry.options:
            by_name.setdefault(option.name, []).append((kind, option))
    for name, found in by_name.items():
        option = found[0][1]
        help_ = "; ".join(f"{kind}: {o.help}" for kind, o in found)
        flag = f"--{name.replace('_', '-')}"
        if option.flag:
            group.add_argument(flag, action="store_true", default=None, help=help_)
        else:
            several: dict[str, Any] = {"nargs": "+"} if option.many else {}
            group.add_argument(flag, type=option.type, choices=option.choices, help=help_, **several)


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("protocol")
    group.add_argument(
        "--budget",
        metavar="N,P%,...",
        help="few labels: numbers of training images a class (1,5,10) and percentages of them (1%%,100%%); "
        "settings are chosen by cross-validation among them",
    )
    group.add_argument("--draws", type=int, help="random draws of each budget (default: 5)")
    group.add_argument(
        "--leaks", action="store_true", help="before any score, say which test images are trained on as well"
    )
    group.add_argument(
        "--dedupe",
        choices=DEDUPE,
        help="drop: leave copies of later parts out of training and validation; group: move copies to where "
        "the first is; with the score before and after",
    )


def run(args: argparse.Namespace, given: Sequence[str]) -> None:
    """Run ``embedkit probe`` with the options that were `given`."""
    if args.apply:
        _apply(args, given)
        return
    options = _options(args)
    leaks, found = _leaks(args, options) if args.leaks or options.dedupe else (None, None)
    document: dict[str, Any] = {} if found is None else {"leaks": found}
    if args.budget:
        _budgets(args, given, options, leaks, document)
        return
    if args.draws is not None:
        raise UsageError("--draws says how often a --budget is drawn, and none is given. Leave it out.")
    if options.dedupe:
        before = _one(args, replace(options, dedupe=None), leaks)
        document["before"] = _document(before)
    report = _one(args, options, leaks, save_model=args.save_model)
    document |= _document(report)
    if args.save_split:
        _save_split(args, report)
    if args.json:
        print_json(document)
    else:
        _print(report)
        if options.dedupe:
            from probes.output import print_before_and_after

            print_before_and_after(before.result, report.result)


def _apply(args: argparse.Namespace, given: Sequence[str]) -> None:
    """Run ``embedkit probe --apply``."""
    from probes.apply import apply, write_applied
    from probes.output import print_applied

    for name in given:
        if name not in ("features", "apply", "output", "json"):
            raise UsageError(f"--apply fits nothing, so --{name.replace('_', '-')} has no say. Leave it out.")
    applied = apply(args.apply, args.features)
    path = Path(args.output)
    if path.suffix != ".csv":
        path = path / f"{Path(args.features).stem}-by-{Path(args.apply).stem}.csv"
    write_applied(path, applied)
    for line in applied.notes:
        note(line)
    if args.json:
        metrics = {name: asdict(metric) for name, metric in applied.metrics.items()}
        document = {
            "model": args.apply,
            "kind": applied.saved.kind,
            "n": len(applied.ids),
            "metrics": metrics,
        }
        document |= {"predictions": str(path), "notes": list(applied.notes)}
        if applied.scores is not None:
            document |= asdict(applied.scores)
        print_json(document)
    else:
        print_applied(applied)
    note(f"Predictions in {path}.")


def _options(args: argparse.Namespace) -> ProbeOptions:
    names = {option.name for entry in PROBES.values() for option in entry.options}
    given = {name: getattr(args, name) for name in sorted(names) if getattr(args, name) is not None}
    return ProbeOptions(
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
        dedupe=args.dedupe,
    )


def _leaks(args: argparse.Namespace, options: ProbeOptions) -> tuple[Leaks, dict[str, Any]]:
    """Look for copies, and show them before anything is scored."""
    from embedkit.errors import DataError, EmbedkitError
    from embedkit.store import FeatureFile
    from probes.division import divide_rows, read_labels
    from probes.leak_search import find
    from probes.leaks_command import describe, print_leaks

    notes: list[str] = []
    with FeatureFile(args.features) as file:
        try:
            labelled = read_labels(file, options, [])
            splits = divide_rows(file, labelled, replace(options, dedupe=None), [])
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        leaks = find(file, notes)
        found = describe(leaks, splits, file.n)
    for line in notes:
        note(line)
    if not args.json:
        print_leaks(found)
        print()
    return leaks, found


def _one(
    args: argparse.Namespace,
    options: ProbeOptions,
    leaks: Leaks | None = None,
    *,
    save_model: str | None = None,
) -> ProbeReport:
    from embedkit.results import RESULTS_FILE
    from probes.run import probe

    report = probe(args.features, options, output=args.output, save_model=save_model, leaks=leaks)
    for line in report.notes:
        note(line)
    note(f"Result in {Path(args.output) / RESULTS_FILE}, predictions in {report.predictions_path}.")
    if save_model:
        note(f"Probe kept in {save_model}.")
    return report


def _budgets(
    args: argparse.Namespace,
    given: Sequence[str],
    options: ProbeOptions,
    leaks: Leaks | None,
    document: dict[str, Any],
) -> None:
    """Run ``embedkit probe --budget``."""
    from embedkit.results import RESULTS_FILE
    from probes.budgets import DRAWS, probe_budgets
    from probes.few_labels import Budget
    from probes.output import print_budgets

    for name in ("save_model", "save_split"):
        if name in given:
            raise UsageError(
                f"--{name.replace('_', '-')} is not for --budget, which fits many. Leave it out."
            )
    budgets = [Budget.parse(text.strip()) for text in args.budget.split(",")]
    draws = DRAWS if args.draws is None else args.draws
    results, notes = probe_budgets(
        args.features, options, budgets, draws=draws, output=args.output, leaks=leaks
    )
    for line in notes:
        note(line)
    if args.json:
        print_json(document | {"budgets": [json.loads(result.to_json()) for result in results]})
    else:
        print_budgets(results)
    note(f"{len(results)} results in {Path(args.output) / RESULTS_FILE}.")


def _save_split(args: argparse.Namespace, report: ProbeReport) -> None:
    from embedkit.store import FeatureFile
    from probes.split_file import write_splits

    with FeatureFile(args.features) as file:
        write_splits(args.save_split, report.splits, file.rows.ids)
    note(f"Split kept in {args.save_split}.")


def _document(report: ProbeReport) -> dict[str, Any]:
    from probes.regression_scores import RegressionScores

    document: dict[str, Any] = json.loads(report.result.to_json())
    if not isinstance(report.scores, RegressionScores):
        document["classes"] = [asdict(scores) for scores in report.scores.classes]
    document["notes"] = list(report.notes)
    return document


def _print(report: ProbeReport) -> None:
    from probes.output import print_report

    print_report(report)
    print()
