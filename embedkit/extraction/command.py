"""`embedkit extract`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from embedkit import console
from embedkit.backbones.options import BackboneSpec
from embedkit.console import counted
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.extraction.options import ExtractCall, ExtractPlaces
from embedkit.files.showing import text
from embedkit.images.options import Overrides
from embedkit.options import add_flags, add_json_flag, from_flags

if TYPE_CHECKING:
    from embedkit.extraction.extract import Extraction
    from embedkit.extraction.plan import ExtractionPlan

# Seconds that the last line tells apart from the rate.
_WORTH_SAYING = 3.0


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit extract``."""
    add_dataset_flags(parser)
    add_flags(parser, ExtractPlaces, BackboneSpec, Overrides, ExtractCall)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    spec, preprocessing = from_flags(BackboneSpec, args), from_flags(Overrides, args)
    data, options = from_flags(DatasetOptions, args), from_flags(ExtractCall, args)
    output = from_flags(ExtractPlaces, args).output
    from embedkit.extraction.calls import extract
    from embedkit.extraction.plan import ExtractionPlan

    found = extract(args.dataset, output, data, spec, preprocessing, options)
    if args.json:
        console.print_json(found.record() if isinstance(found, ExtractionPlan) else asdict(found))
    elif isinstance(found, ExtractionPlan):
        _print_plan(found)
    else:
        _print_done(found)


def _print_plan(plan: ExtractionPlan) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="What embedkit extract would do", show_header=False)
    for key, value in plan.record().items():
        table.add_row(key, Text(text(value)))
    console.print_table(table)


def _print_done(done: Extraction) -> None:
    rate = f", {done.images_per_second:.1f} images/s" if done.images_per_second else ""
    bound = f", {done.bound.words}" if done.bound else ""
    long = done.beginning is not None and done.beginning > _WORTH_SAYING
    rate += f" behind {done.beginning:.0f} s to begin" if long else ""
    failed = f", {counted(done.n_failed, 'image')} skipped (reasons in the file)" if done.n_failed else ""
    if done.done != "waiting":
        line = (
            f"{done.path}: {done.n} x {done.d} features {done.done} in {done.precision}{rate}{failed}{bound}."
        )
        print(console.sentences(line))
