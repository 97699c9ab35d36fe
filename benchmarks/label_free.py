"""What each preparation gives k-means on sets that did not choose it: leave one set out.

python benchmarks/label_free.py --set NAME ONE.h5 VIEWS.h5 [--set ...] [--seeds 5] [-o table.md]

Every set is two labelled feature files of the same images and backbone: one view, and several. Each rule is
a file and a preparation; no rule reads a label, and k is the number of classes. One line is the rule that is
best on average over the *other* sets, scored on the set that had no say; another what labels would have
chosen on the set itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import embedkit
from clustering.report import ClusterRun

ONE, VIEWS = "one view", "views"
RULES = (
    (ONE, "pca95"),
    (ONE, "l2+pca95"),
    (VIEWS, "l2+pca95"),
    (VIEWS, "view-whiten"),
    (VIEWS, "view-whiten:power=0.25+clip50"),
    (VIEWS, "view-whiten:power=0.25+neighbor-whiten"),
    (VIEWS, "auto"),
)
# A set's own floor: what somebody gets who asks for nothing but a length of 1.
PLAIN = ((ONE, "l2+pca95"), (VIEWS, "l2+pca95"))
AUTO = (VIEWS, "auto")


@dataclass(frozen=True)
class Score:
    """Of one rule on one set: mean and standard deviation over seeds, and the smallest cluster."""

    accuracy: float
    std: float
    nmi: float
    smallest: float


def scored(path: Path, prep: str, seeds: int) -> Score:
    """Cluster a file and read its scores."""
    run = embedkit.cluster(path, prep=prep, seeds=seeds, output=None)
    assert isinstance(run, ClusterRun)  # as one file and one method are asked for
    metrics = run.result.metrics
    if "accuracy_seed_mean" not in metrics:
        sys.exit(f"{path}: no labels stored")
    mean, std, nmi = (
        metrics[name].value or 0.0 for name in ("accuracy_seed_mean", "accuracy_seed_std", "nmi_seed_mean")
    )
    sizes = run.clusters.sizes
    return Score(mean, std, nmi, float(sizes.min() / sizes.sum()))


def table(scores: dict[str, dict[tuple[str, str], Score]]) -> list[str]:
    """Return the table in Markdown: a rule a line, a set a column, the mean last."""
    chosen = {name: _best([own for other, own in scores.items() if other != name]) for name in scores}
    lines = [f"| | {' | '.join(scores)} | mean |", "|---|" + "---:|" * (len(scores) + 1)]
    for rule in RULES:
        own = [found[rule] for found in scores.values()]
        cells = [f"{score.accuracy:.3f} ± {score.std:.3f}, {score.nmi:.2f}" for score in own]
        mean = f"{np.mean([s.accuracy for s in own]):.3f}, {np.mean([s.nmi for s in own]):.2f}"
        lines.append(f"| {rule[0]}, `{rule[1]}` | {' | '.join(cells)} | {mean} |")

    def line(title: str, values: list[float], form: str = ".3f") -> str:
        return f"| {title} | {' | '.join(f'{value:{form}}' for value in [*values, float(np.mean(values))])} |"

    plain = [max(own[rule].accuracy for rule in PLAIN) for own in scores.values()]
    lines += [
        line("best on the other sets", [own[chosen[name]].accuracy for name, own in scores.items()]),
        line("best with labels", [max(s.accuracy for s in own.values()) for own in scores.values()]),
        line(
            "`auto` over the better `l2+pca95`",
            [own[AUTO].accuracy - best for own, best in zip(scores.values(), plain, strict=True)],
            "+.3f",
        ),
    ]
    picked = ", ".join(f"{name}: {rule[0]}, `{rule[1]}`" for name, rule in chosen.items())
    return [*lines, "", f"Best on the other sets is, for {picked}."]


def _best(sets: list[dict[tuple[str, str], Score]]) -> tuple[str, str]:
    return max(RULES, key=lambda rule: float(np.mean([own[rule].accuracy for own in sets])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", nargs=3, action="append", required=True, metavar=("NAME", "ONE", "VIEWS"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, help="the scores, as JSON")
    args = parser.parse_args()
    if len(args.set) < 2:
        parser.error("leaving one set out takes at least two.")
    scores: dict[str, dict[tuple[str, str], Score]] = {}
    for name, one, views in args.set:
        files = {ONE: Path(one), VIEWS: Path(views)}
        scores[name] = {(file, prep): scored(files[file], prep, args.seeds) for file, prep in RULES}
        print(f"{name}: {scores[name][AUTO].accuracy:.3f}", file=sys.stderr, flush=True)
    print("\n".join(table(scores)))
    print(f"\nAccuracy: mean ± standard deviation over {args.seeds} seeds, and NMI.")
    if args.output:
        told = {name: {" ".join(r): vars(s) for r, s in own.items()} for name, own in scores.items()}
        args.output.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
