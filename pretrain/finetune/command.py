"""`embedkit finetune`: its options, and what it says."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from embedkit import console
from embedkit.backbones.options import BackboneSpec
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.images.options import Overrides
from embedkit.options import add_flags, add_json_flag, from_flags
from pretrain.finetune.options import FinetuneCall, FinetunePlaces

if TYPE_CHECKING:
    from pretrain.finetune.report import Finetuned, FinetuneReport
    from pretrain.finetune.variants import Variants


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit finetune``."""
    add_dataset_flags(parser)
    add_flags(parser, FinetunePlaces, FinetuneCall)
    add_flags(parser, BackboneSpec, Overrides)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    spec, preprocessing = from_flags(BackboneSpec, args), from_flags(Overrides, args)
    data, options = from_flags(DatasetOptions, args), from_flags(FinetuneCall, args)
    output = from_flags(FinetunePlaces, args).output
    from pretrain.finetune.calls import finetune
    from pretrain.finetune.variants import Variants

    made = finetune(args.dataset, output, data, spec, preprocessing, options)
    if isinstance(made, Variants):
        _print_variants(made, as_json=args.json)
        return
    if not made.reports:  # of another process than the first
        return
    for line in dict.fromkeys(line for report in made.reports for line in report.notes):
        console.note(line)
    if args.json:
        console.print_json(_document(made))
    else:
        _print(made)
    console.note(f"{made.page}: scores, losses, views and the recipe.")
    console.note(
        f"Results in {made.path}, the network in {made.model}: `embedkit predict {made.model} IMAGES`."
    )


def _print_variants(made: Variants, *, as_json: bool) -> None:
    from embedkit.console import print_table
    from embedkit.scoring.score_tables import columns
    from pretrain.finetune.variants import PAIRS, TABLE

    if as_json:
        console.print_json(made.document())
    else:
        cells = made.cells()
        table = columns(*cells[0])
        for row in cells:
            table.add_row(*row.values())
        print_table(table)
        print()
        for line in (made.sentence, *made.more):
            print(console.sentences(line))
    console.note(
        f"Each run in {made.path / TABLE}, the tests in {made.path / PAIRS}; a folder each beside them."
    )


def _document(made: Finetuned) -> dict[str, object]:
    return {
        "model": str(made.model),
        "runs": [json.loads(result.to_json()) for result in made.results],
        "frozen": [json.loads(result.to_json()) for result in made.frozen],
        "bought": None if made.bought is None else asdict(made.bought),
        "sentence": made.sentence,
    }


def _print(made: Finetuned) -> None:
    from embedkit.scoring.score_tables import print_over_seeds

    if len(made.reports) == 1:
        _print_report(made.reports[0])
    else:
        first = made.results[0]
        print_over_seeds(f"{first.method}: {first.features} on {first.dataset}, {first.split}", made.results)
    if made.sentence:
        print()
        print(console.sentences(made.sentence))


def _print_report(report: FinetuneReport) -> None:
    from embedkit.console import print_table
    from embedkit.scoring.score_tables import add_metrics, metrics_table, print_each

    result = report.result
    counts = result.outcomes["division"][0]
    rows = (
        f"{counts['train']:,} train, {counts['validation']:,} validation, {counts['test']:,} test"
        if len(report.splits) == 1
        else f"{len(report.splits)} folds, {result.n:,} images tested once each"
    )
    table = metrics_table(f"{result.method}: {result.features} on {result.dataset}")
    table.add_row("split", "", "", f"{result.split}, seed {result.seed}: {rows}")
    epochs = ", ".join("+".join(map(str, kept)) for kept in result.outcomes["kept"])
    table.add_row("epochs kept", epochs, "", f"of {', '.join(map(str, result.outcomes['epochs']))} trained")
    add_metrics(table, result.metrics)
    print_table(table)
    print()
    print_each(report.scores)
