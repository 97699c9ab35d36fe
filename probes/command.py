"""`embedkit probe`: its options, and what it says."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from embedkit.console import note, print_json
from embedkit.options import add_flags, add_json_flag, from_flags
from probes.kinds.settings import NAMES, Settings
from probes.leaks.command import print_leaks
from probes.options import ProbeOptions, ProbePlaces, ProbeProtocol

if TYPE_CHECKING:
    from embedkit.scoring.applied import Applied
    from probes.leaks.run import LeaksReport
    from probes.report import BudgetsReport, ProbeReport, SeedsReport


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit probe``."""
    parser.add_argument("features", help="a feature file from `embedkit extract`, with labels")
    add_flags(parser, ProbeOptions, ProbeProtocol, ProbePlaces, without=NAMES)
    add_flags(parser, Settings, title="settings of some probes")
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    options, protocol = from_flags(ProbeOptions, args), from_flags(ProbeProtocol, args)
    places = from_flags(ProbePlaces, args)
    places.check(options, protocol)
    from embedkit.scoring.applied import Applied  # with h5py and SciPy, on use
    from probes.calls import probe
    from probes.report import BudgetsReport, SeedsReport

    found = probe(args.features, options, protocol, places)
    if isinstance(found, Applied):
        _show_applied(found, places, as_json=args.json)
        return
    document = _begin(found.leaks, as_json=args.json)
    if isinstance(found, BudgetsReport):
        document |= _show_budgets(found, places, as_json=args.json)
    elif isinstance(found, SeedsReport):
        document |= _show_seeds(found, places, as_json=args.json)
    else:
        document |= _show_report(found, places, as_json=args.json)
    if args.json:
        print_json(document)
    if places.plot is not None:
        note(f"Picture in {places.plot}.")


def _begin(leaks: LeaksReport | None, *, as_json: bool) -> dict[str, Any]:
    """Show copies, which come before any score."""
    if leaks is None:
        return {}
    for line in leaks.notes:
        note(line)
    if not as_json:
        print_leaks(leaks)
        print()
    return {"leaks": leaks.document()}


def _show_report(report: ProbeReport, places: ProbePlaces, *, as_json: bool) -> dict[str, Any]:
    before = report.before
    _note(*([before] if before else []), report, places=places)
    if places.save_model is not None:
        note(f"Probe kept in {places.save_model}.")
    if places.save_split is not None:
        note(f"Split kept in {places.save_split}.")
    if as_json:
        return ({"before": _document(before)} if before else {}) | _document(report)
    from probes.tables import print_before_and_after, print_report

    print_report(report)
    if before:
        print()
        print_before_and_after(before.result, report.result)
    return {}


def _show_seeds(found: SeedsReport, places: ProbePlaces, *, as_json: bool) -> dict[str, Any]:
    for line in found.notes:
        note(line)
    _note(*found.before, *found.reports, places=places)
    if as_json:
        return ({"before": _over_seeds(found.before)} if found.before else {}) | _over_seeds(found.reports)
    from probes.tables import print_seeds, print_seeds_before_and_after

    results = [report.result for report in found.reports]
    print_seeds(results)
    if found.before:
        print()
        print_seeds_before_and_after([report.result for report in found.before], results)
    return {}


def _show_budgets(found: BudgetsReport, places: ProbePlaces, *, as_json: bool) -> dict[str, Any]:
    reports = [found.before, found] if found.before else [found]
    for line in dict.fromkeys(line for report in reports for line in report.notes):
        note(line)
    note(f"{sum(len(report.results) for report in reports)} results in {places.results}.")
    if as_json:
        before, after = _budgets(found.before), _budgets(found)
        return ({"before": before} if found.before else {}) | after
    from probes.tables import print_budgets

    for i, report in enumerate(reports):
        if i:
            print()
        print_budgets(report.results)
    return {}


def _show_applied(applied: Applied, places: ProbePlaces, *, as_json: bool) -> None:
    for line in applied.notes:
        note(line)
    if as_json:
        print_json(applied.document(places.apply))
    else:
        from embedkit.scoring.score_tables import print_applied

        print_applied(applied)
    note(f"Predictions in {applied.predictions_path}.")


def _note(*reports: ProbeReport, places: ProbePlaces) -> None:
    """Say what a reader must know of the reports, each once, and where they are."""
    for line in dict.fromkeys(line for report in reports for line in report.notes):
        note(line)
    for report in reports:
        note(f"Result in {places.results}, predictions in {report.predictions_path}.")


def _over_seeds(reports: Sequence[ProbeReport]) -> dict[str, Any]:
    from probes.report import spread

    over = spread([report.result for report in reports])
    return {"runs": [_document(report) for report in reports], "over_seeds": over}


def _budgets(report: BudgetsReport | None) -> dict[str, Any]:
    return {"budgets": [json.loads(r.to_json()) for r in report.results] if report else []}


def _document(report: ProbeReport) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(report.result.to_json())
    classes = getattr(report.scores, "classes", None)
    if classes is not None:
        document["classes"] = [asdict(scores) for scores in classes]
    document["notes"] = list(report.notes)
    return document
