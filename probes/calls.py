"""What one call of `embedkit probe` does: a probe, several seeds, label budgets, or a saved probe applied."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from embedkit.console import note, print_json
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.files.results import RESULTS_FILE
from embedkit.files.store import FeatureFile
from embedkit.scoring.split_file import write_splits
from embedkit.scoring.target_scores import RegressionScores
from probes.apply import apply, write_applied
from probes.budgets import DRAWS, probe_budgets
from probes.division import Dealt, deal_rows, settle_rows
from probes.few_labels import Budget
from probes.leaks.command import describe, print_leaks
from probes.leaks.search import find
from probes.options import ProbeOptions
from probes.pictures import learning_curve_svg, reliability_svg
from probes.report import ProbeReport
from probes.run import probe
from probes.tables import (
    print_applied,
    print_before_and_after,
    print_budgets,
    print_report,
    print_seeds,
    print_seeds_before_and_after,
    spread,
)


def run(args: argparse.Namespace, options: ProbeOptions) -> None:
    """Fit and score as asked, copies first."""
    dealt, document = _leaks(args, options) if args.leaks or options.dedupe else (None, {})
    if args.budget:
        _budgets(args, options, dealt, document)
    elif args.seeds is not None:
        _seeds(args, options, dealt, document)
    else:
        _single(args, options, dealt, document)


def run_apply(args: argparse.Namespace, given: Sequence[str]) -> None:
    """Predict with a saved probe."""
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
        document: dict[str, Any] = {"model": args.apply, "kind": applied.saved.kind, "n": len(applied.ids)}
        document |= {"predictions": str(path), "notes": applied.notes}
        if applied.scores is not None:
            document |= asdict(applied.scores)
        print_json(document | {"metrics": {name: asdict(m) for name, m in applied.metrics.items()}})
    else:
        print_applied(applied)
    note(f"Predictions in {path}.")


def _single(
    args: argparse.Namespace, options: ProbeOptions, dealt: Dealt | None, document: dict[str, Any]
) -> None:
    before = _probe(args, replace(options, dedupe=None), dealt) if options.dedupe else None
    report = _probe(args, options, dealt, save_model=args.save_model)
    if args.save_split:
        with FeatureFile(args.features) as file:
            write_splits(args.save_split, report.splits, file.rows.ids)
        note(f"Split kept in {args.save_split}.")
    if args.plot:
        _draw(args.plot, reliability_svg(report.result))
    if args.json:
        print_json(document | ({"before": _document(before)} if before else {}) | _document(report))
        return
    print_report(report)
    if before:
        print()
        print_before_and_after(before.result, report.result)


def _seeds(
    args: argparse.Namespace, options: ProbeOptions, dealt: Dealt | None, document: dict[str, Any]
) -> None:
    each = [replace(options, seed=options.seed + i) for i in range(args.seeds)]
    # Each seed's rows are dealt out once, for the runs with copies and without.
    deals = [dealt, *(dealt and _deal(args, one, dealt) for one in each[1:])]
    pairs = list(zip(each, deals, strict=True))
    before = [_probe(args, replace(one, dedupe=None), deal) for one, deal in pairs] if options.dedupe else []
    reports = [_probe(args, one, deal) for one, deal in pairs]
    results = [report.result for report in reports]
    if all(result.metrics == results[0].metrics for result in results):
        note(f"--kind {options.kind} draws nothing and the split is given: every seed says the same.")
    if args.json:
        print_json(document | ({"before": _over_seeds(before)} if before else {}) | _over_seeds(reports))
        return
    print_seeds(results)
    if before:
        print()
        print_seeds_before_and_after([report.result for report in before], results)


def _budgets(
    args: argparse.Namespace, options: ProbeOptions, dealt: Dealt | None, document: dict[str, Any]
) -> None:
    budgets = [Budget.parse(text.strip()) for text in args.budget.split(",")]
    draws = DRAWS if args.draws is None else args.draws
    found = []
    for dedupe in dict.fromkeys((None, options.dedupe)):  # copies left in first
        results, notes = probe_budgets(
            args.features,
            replace(options, dedupe=dedupe),
            budgets,
            draws=draws,
            output=args.output,
            dealt=dealt,
        )
        for line in notes:
            note(line)
        found.append(results)
    *before, after = found
    if args.plot:
        _draw(args.plot, learning_curve_svg(after))
    if args.json:
        documents = [{"budgets": [json.loads(r.to_json()) for r in results]} for results in found]
        print_json(document | ({"before": documents[0]} if before else {}) | documents[-1])
    else:
        for results in before:
            print_budgets(results)
            print()
        print_budgets(after)
    note(f"{sum(map(len, found))} results in {Path(args.output) / RESULTS_FILE}.")


def _leaks(args: argparse.Namespace, options: ProbeOptions) -> tuple[Dealt, dict[str, Any]]:
    """Look for copies, and show them before anything is scored."""
    notes: list[str] = []
    with FeatureFile(args.features) as file:
        try:
            dealt = deal_rows(file, options)
            settle_rows(file, dealt, replace(options, dedupe=None))  # refused before the images are read
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error
        leaks = find(file, notes)
        found = describe(leaks, dealt.splits, file.n)
    for line in notes:
        note(line)
    if args.seeds is not None:
        note(f"Test rows are those of seed {options.seed}; other seeds divide the rows anew.")
    if not args.json:
        print_leaks(found)
        print()
    return replace(dealt, leaks=leaks), {"leaks": found}


def _deal(args: argparse.Namespace, options: ProbeOptions, like: Dealt) -> Dealt:
    """Deal the rows out with another seed; the copies are the same."""
    with FeatureFile(args.features) as file:
        try:
            return replace(deal_rows(file, options), leaks=like.leaks)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error


def _probe(
    args: argparse.Namespace,
    options: ProbeOptions,
    dealt: Dealt | None = None,
    *,
    save_model: str | None = None,
) -> ProbeReport:
    report = probe(args.features, options, output=args.output, save_model=save_model, dealt=dealt)
    for line in report.notes:
        note(line)
    note(f"Result in {Path(args.output) / RESULTS_FILE}, predictions in {report.predictions_path}.")
    if save_model:
        note(f"Probe kept in {save_model}.")
    return report


def _draw(path: str, svg: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(svg, encoding="utf-8")
    note(f"Picture in {path}.")


def _over_seeds(reports: Sequence[ProbeReport]) -> dict[str, Any]:
    return {
        "runs": [_document(report) for report in reports],
        "over_seeds": spread([report.result for report in reports]),
    }


def _document(report: ProbeReport) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(report.result.to_json())
    if not isinstance(report.scores, RegressionScores):
        document["classes"] = [asdict(scores) for scores in report.scores.classes]
    document["notes"] = list(report.notes)
    return document
