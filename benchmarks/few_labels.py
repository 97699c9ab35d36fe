"""Probes with few labels, by kind and preparation: accuracy on test rows, a column for each feature file.

    python benchmarks/few_labels.py features.h5 [more.h5 ...] [--budget 1,4,10,25] [--probes KIND:PREP ...]

Every probe is given the same labels of each draw and is scored on the same test rows. What is printed are the
means over the draws, and last those over the files, as a table in Markdown for each budget.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import embedkit
from probes.report import BudgetsReport

PROBES = (
    "linear:none",
    "nearest-centroid:none",
    "lda:none",
    "label-spreading:none",
    "linear:auto",
    "nearest-centroid:auto",
    "lda:auto",
    "label-spreading:auto",
    "label-spreading:view-whiten",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FEATURES.h5", help="with labels")
    parser.add_argument("--budget", default="1,4,10,25", help="labels a class")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--probes", nargs="+", default=PROBES, metavar="KIND:PREP")
    args = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in args.files:
        for name in args.probes:
            kind, _, prep = name.partition(":")
            report = embedkit.probe(
                path,
                kind=kind,
                prep=prep,
                split="stratified",
                budget=(args.budget,),
                draws=args.draws,
                seed=args.seed,
            )
            assert isinstance(report, BudgetsReport)  # as a budget is given
            for result in report.results:
                accuracy = result.metrics["accuracy"].value
                found[result.params["budget"]][name].append(float("nan") if accuracy is None else accuracy)
    for budget, rows in found.items():
        print(f"\n| {budget} | {' | '.join(path.stem for path in args.files)} | mean |")
        print("|---|" + "---:|" * (len(args.files) + 1))
        for name, values in rows.items():
            each = " | ".join(f"{value:.3f}" for value in values)
            print(f"| `{name}` | {each} | {sum(values) / len(values):.3f} |", flush=True)


if __name__ == "__main__":
    main()
