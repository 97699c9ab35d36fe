"""`embedkit predict`: its options, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from embedkit import console
from embedkit.datasets.options import DatasetOptions, add_dataset_flags
from embedkit.options import add_flags, add_json_flag, from_flags
from embedkit.workflows.predict_options import PredictOptions, PredictPlaces


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit predict``."""
    parser.add_argument("model", type=Path, help="the folder `model` that `embedkit finetune` left")
    add_dataset_flags(parser)
    add_flags(parser, PredictPlaces, PredictOptions)
    add_json_flag(parser)
    return _run


def _run(args: argparse.Namespace) -> None:
    data, options = from_flags(DatasetOptions, args), from_flags(PredictOptions, args)
    output = from_flags(PredictPlaces, args).output
    from embedkit.workflows.predict import predict

    said = predict(args.model, args.dataset, output, data, options)
    for line in said.notes:
        console.note(line)
    if args.json:
        console.print_json(said.document(args.model))
    else:
        from embedkit.scoring.score_tables import print_applied

        print_applied(said)
    console.note(f"Predictions in {said.predictions_path}.")
