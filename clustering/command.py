"""`embedkit cluster`: its options, and what it says."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clustering.options import ALL, AUTO, PREP, SETTINGS, ClusterOptions, flag
from embedkit.console import note, print_json, print_table
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.results import RESULTS_FILE

if TYPE_CHECKING:
    from clustering.run import ClusterRun

OUTPUT = "runs"


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit cluster``."""
    parser.add_argument("features", help="a feature file from `embedkit extract`")
    parser.add_argument(
        "--method",
        choices=(*SETTINGS, ALL),
        default=None,
        help="which method (default: kmeans), or all of them, compared",
    )
    parser.add_argument(
        "--prep",
        metavar="STEPS",
        help=f"prepare first (default: {PREP}): none, pca95, pca64, whiten30, l2, view-whiten, joined with +",
    )
    parser.add_argument(
        "--pca",
        type=_pca,
        metavar="0.95|64|none",
        help="short for --prep: PCA to a fraction of the variance, or to a number of components",
    )
    parser.add_argument("--seed", type=int, help="of restarts, resamples and permutations (default: 0)")
    parser.add_argument(
        "-k",
        type=_number_or_auto,
        help="clusters, or auto; not for hdbscan (default: the number of classes present)",
    )
    parser.add_argument("--n-init", type=int, metavar="N", help="kmeans, gmm: restarts (default: 10, 3)")
    parser.add_argument(
        "--spherical", action="store_const", const=True, help="kmeans: cluster by direction (cosine)"
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        help="where it computes (default: auto, a GPU if the method can use one)",
    )
    parser.add_argument(
        "--min-cluster-size",
        type=_number_or_auto,
        metavar="N|auto",
        help="hdbscan: fewest rows of a cluster; auto chooses without labels (default: 1 %% of the rows)",
    )
    parser.add_argument(
        "--min-samples",
        type=int,
        metavar="N",
        help="hdbscan: neighbours of a core point; more make more noise (default: the min cluster size)",
    )
    parser.add_argument(
        "--target-noise",
        type=float,
        metavar="SHARE",
        help="hdbscan: choose both of these so that about this share of the rows is noise, as in 0.2",
    )
    parser.add_argument(
        "--linkage",
        choices=("ward", "average", "complete", "single"),
        help="agglomerative: what is merged next (default: ward)",
    )
    parser.add_argument(
        "--covariance",
        choices=("full", "tied", "diag", "spherical"),
        help="gmm: shape of the components (default: full)",
    )
    parser.add_argument("--n-components", type=int, metavar="N", help="umap: dimensions (default: 5)")
    parser.add_argument("--n-neighbors", type=int, metavar="N", help="umap: neighbours (default: 15)")
    parser.add_argument("--n-heads", type=int, metavar="N", help="temi: heads trained (default: 16)")
    parser.add_argument(
        "--beta", type=float, help="temi: less makes cluster sizes more even, 0 to 1 (default: 0.6)"
    )
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="temi: passes over the rows (default: 100, few rows more)"
    )
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="spread over N seeds, --seed the first (default: 1)"
    )
    parser.add_argument(
        "--stability", action="store_true", help="how often each cluster comes back in bootstrap resamples"
    )
    parser.add_argument("--explain", action="store_true", help="say why the clustering scores as it does")
    parser.add_argument(
        "--save-model", metavar="FILE|DIR", help="where the model goes (default: beside the assignments)"
    )
    parser.add_argument(
        "--apply",
        metavar="MODEL",
        help="assign the rows to the clusters of a saved model instead; nothing is fitted",
    )
    parser.add_argument("-o", "--output", default=OUTPUT, help="folder for results.jsonl and assignments")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")
    return _run


def _number_or_auto(text: str) -> int | str:
    if text == AUTO:
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give an integer of at least 1, or {AUTO}") from None


def _pca(text: str) -> str:
    """Return the `--prep` that a `--pca` is short for."""
    if text.lower() == "none":
        return "none"
    message = (
        f"{text!r}: give a fraction of the variance between 0 and 1 such as 0.95, a number of components "
        "such as 64, or none"
    )
    try:
        value: float | int = int(text) if re.fullmatch(r"\d+", text) else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(message) from None
    if not (value >= 1 if isinstance(value, int) else 0 < value < 1):
        raise argparse.ArgumentTypeError(message)
    return f"pca:{value}"


def _run(args: argparse.Namespace) -> None:
    names = {field.name for field in fields(ClusterOptions)} - {"method", "prep", "seed"}
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    given |= {name: getattr(args, name) for name in ("method", "seed") if getattr(args, name) is not None}
    if args.pca is not None and args.prep is not None:
        raise UsageError("--pca is short for a --prep. Give one of them.")
    if (prep := args.prep or args.pca) is not None:
        given["prep"] = prep
    if args.apply is not None:
        _run_apply(args, given)
        return
    options = ClusterOptions(**given)
    if options.method == ALL:
        _run_all(args, options)
        return
    from clustering.run import cluster

    run = cluster(args.features, options, output=args.output, save_model=args.save_model)
    _show(run, as_json=args.json)
    note(
        f"Result in {Path(args.output) / RESULTS_FILE}, assignments in {run.assignments_path}, the model in "
        f"{run.model_path}."
    )


def _run_all(args: argparse.Namespace, options: ClusterOptions) -> None:
    if args.save_model is not None:
        raise UsageError(
            "--save-model is for one method; --method all keeps every model beside its assignments."
        )

    def say(name: str, run: ClusterRun | EmbedkitError) -> None:
        if isinstance(run, EmbedkitError):
            note(f"{name}: {run}")
        else:
            note(f"{name}: {run.result.seconds:.1f} s.")

    from clustering.compare import beats_chance, compare
    from clustering.tables import comparison_table

    compared = compare(args.features, options, output=args.output, on_run=say)
    for line in dict.fromkeys(line for run in compared.runs for line in run.notes):
        note(line)
    if args.json:
        results = [json.loads(run.result.to_json()) for run in compared.runs]
        for document, run in zip(results, compared.runs, strict=True):
            document["beats_chance"] = beats_chance(run)
        print_json({"results": results, "failures": compared.failures})
    else:
        print_table(comparison_table(compared))
        for run in compared.runs:
            if run.diagnosis is not None:
                print(f"\n{run.result.method}\n{run.diagnosis.text}")
    note(f"Results in {Path(args.output) / RESULTS_FILE}, assignments and models beside it.")


def _run_apply(args: argparse.Namespace, given: dict[str, Any]) -> None:
    from clustering.apply import apply

    unused = [
        flag(name) for name in given if name != "seed" and not (given[name] is False or given[name] == 1)
    ]
    unused += ["--save-model"] * (args.save_model is not None)
    if unused:
        raise UsageError(f"--apply takes everything from the model. Leave out {', '.join(unused)}.")
    run = apply(args.apply, args.features, output=args.output, seed=given.get("seed", 0))
    _show(run, as_json=args.json)
    note(f"Result in {Path(args.output) / RESULTS_FILE}, assignments in {run.assignments_path}.")


def _show(run: ClusterRun, *, as_json: bool) -> None:
    for line in run.notes:
        note(line)
    if as_json:
        document = json.loads(run.result.to_json())
        document["notes"] = list(run.notes)
        print_json(document)
    else:
        from clustering.tables import print_run

        print_run(run)
