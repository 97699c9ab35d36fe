"""What one call of `embedkit probe` does: a probe, several seeds, label budgets, or a saved probe applied."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from embedkit.errors import DataError, EmbedkitError
from embedkit.files.aside import write_text
from embedkit.files.guard import guarded
from embedkit.files.store import FeatureFile
from embedkit.scoring.applied import Applied
from embedkit.scoring.selected import selected
from embedkit.scoring.split_file import write_splits
from probes.apply import apply
from probes.budgets import probe_budgets
from probes.division import Dealt, deal_rows, probed, settle_rows
from probes.leaks.run import LeaksReport
from probes.leaks.search import find
from probes.options import DRAWS, ProbeOptions, ProbePlaces, ProbeProtocol
from probes.pictures import learning_curve_svg, reliability_svg
from probes.report import BudgetsReport, ProbeReport, SeedsReport
from probes.run import probe as probe_once


@guarded()
def probe(
    features: str | os.PathLike[str] | FeatureFile,
    options: ProbeOptions,
    protocol: ProbeProtocol,
    places: ProbePlaces,
) -> ProbeReport | SeedsReport | BudgetsReport | Applied:
    """Measure what a probe reads out of a feature file.

    Parameters
    ----------
    features
        A feature file with labels, or with targets for a regression; or its path.
    options
        Kind, split and settings.
    protocol
        Seeds, label budgets, and whether copies are looked for first.
    places
        What is written where, and the saved probe that is applied, if any.

    Returns
    -------
    ProbeReport, SeedsReport, BudgetsReport or Applied
        The second with several ``seeds``, the third with a ``budget``, the last with ``apply``.

    Raises
    ------
    UsageError
        Options that don't go together.
    EmbedkitError
        A file that can't be read or probed; the message says what to do.
    """
    places.check(options, protocol)
    if places.apply is not None:
        with selected(features, options) as file:
            return apply(places.apply, file, output=places.output)
    with probed(features, options) as file:
        try:
            one_for = places.one_split or ("--budget" if protocol.budget else None)
            leaks = _copies(file, options, one_for) if protocol.leaks or options.dedupe else None
            if protocol.budget:
                return _budgets(file, options, protocol, places, leaks)
            if protocol.seeds > 1:
                return _seeds(file, options, protocol, places, leaks)
            return _single(file, options, places, leaks)
        except DataError as error:
            raise EmbedkitError(f"{file.path}: {error}") from error


@dataclass(frozen=True)
class _Copies:
    """Copies that were looked for, and the rows dealt out once for the scores with them and without."""

    report: LeaksReport
    dealt: Dealt

    def at(self, file: FeatureFile, options: ProbeOptions, first: int) -> Dealt:
        """Return the rows as they are dealt out with the options' seed; the copies are the same."""
        return (
            self.dealt if options.seed == first else replace(deal_rows(file, options), leaks=self.dealt.leaks)
        )


def _copies(file: FeatureFile, options: ProbeOptions, one_for: str | None) -> _Copies:
    notes: list[str] = []
    dealt = deal_rows(file, options, one_for=one_for)
    settle_rows(file, dealt, replace(options, dedupe=None))  # refused before the images are read
    found = find(file, notes)
    report = LeaksReport(found, file.rows.ids, dealt.splits, tuple(notes))
    return _Copies(report, replace(dealt, leaks=found))


def _single(
    file: FeatureFile, options: ProbeOptions, places: ProbePlaces, copies: _Copies | None
) -> ProbeReport:
    dealt, leaks = (
        (copies.dealt, copies.report)
        if copies
        else (deal_rows(file, options, one_for=places.one_split), None)
    )
    output = places.output
    before = None
    if options.dedupe:
        before = probe_once(file, replace(options, dedupe=None), output=output, dealt=dealt)
    report = probe_once(file, options, output=output, save_model=places.save_model, dealt=dealt)
    if places.save_split is not None:
        write_splits(places.save_split, report.splits, file.rows.ids)
    if places.plot is not None:
        write_text(places.plot, reliability_svg(report.result))
    return replace(report, before=before, leaks=leaks)


def _seeds(
    file: FeatureFile,
    options: ProbeOptions,
    protocol: ProbeProtocol,
    places: ProbePlaces,
    copies: _Copies | None,
) -> SeedsReport:
    each = [replace(options, seed=options.seed + i) for i in range(protocol.seeds)]
    notes = []
    if copies is not None:
        notes.append(f"Test rows are those of seed {options.seed}; other seeds divide the rows anew.")
    deals = [copies.at(file, one, options.seed) if copies else None for one in each]

    def fit(*, dedupe: str | None) -> tuple[ProbeReport, ...]:
        return tuple(
            probe_once(file, replace(one, dedupe=dedupe), output=places.output, dealt=dealt)
            for one, dealt in zip(each, deals, strict=True)
        )

    before = fit(dedupe=None) if options.dedupe else ()
    reports = fit(dedupe=options.dedupe)
    if all(report.result.metrics == reports[0].result.metrics for report in reports):
        notes.append(f"--kind {options.kind} draws nothing and the split is given: every seed says the same.")
    return SeedsReport(reports, before, copies.report if copies else None, tuple(notes))


def _budgets(
    file: FeatureFile,
    options: ProbeOptions,
    protocol: ProbeProtocol,
    places: ProbePlaces,
    copies: _Copies | None,
) -> BudgetsReport:
    def fit(*, dedupe: str | None) -> BudgetsReport:
        results, notes = probe_budgets(
            file,
            replace(options, dedupe=dedupe),
            protocol.budgets,
            draws=protocol.draws or DRAWS,
            output=places.output,
            dealt=copies.dealt if copies else None,
        )
        return BudgetsReport(results, notes)

    before = fit(dedupe=None) if options.dedupe else None
    report = fit(dedupe=options.dedupe)
    if places.plot is not None:
        write_text(places.plot, learning_curve_svg(report.results))
    return replace(report, before=before, leaks=copies.report if copies else None)
