"""What each preparation gives k-means on sets that did not choose it: leave one set out.

python benchmarks/label_free.py --set NAME ONE.h5 VIEWS.h5 [--set ...] [--seeds 5] [-o table.md]

Every set is two labelled feature files of the same images and backbone: one view, and several. Each rule is a
file and a preparation; no rule reads a label, and k is the number of classes. The last column but two is the
rule that is best on average over the *other* sets, scored on the set that had no say: what a rule is worth on
images that nobody tuned on. Beside it, what labels would have chosen on the set itself.
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
    metrics = run.result.metrics
    mean, std, nmi = (
        metrics[name].value for name in ("accuracy_seed_mean", "accuracy_seed_std", "nmi_seed_mean")
    )
    sizes = run.clusters.sizes
    return Score(float(mean), float(std), float(nmi), float(sizes.min() / sizes.sum()))


def rows(scores: dict[str, dict[tuple[str, str], Score]]) -> list[str]:
    """Return the table in Markdown: a set a line, the mean last."""
    titles = [f"{file}, `{prep}`" for file, prep in RULES]
    lines = [
        f"| set | {' | '.join(titles)} | chosen on the other sets | chosen with labels | `auto` over plain |",
        "|---|" + "---:|" * (len(RULES) + 3),
    ]
    means: list[list[float]] = []
    for name, own in scores.items():
        others = [found for other, found in scores.items() if other != name]
        chosen = max(RULES, key=lambda rule: np.mean([found[rule].accuracy for found in others]))
        best = max(score.accuracy for score in own.values())
        over = own[AUTO].accuracy - max(own[rule].accuracy for rule in PLAIN)
        means.append([own[rule].accuracy for rule in RULES] + [own[chosen].accuracy, best, over])
        cells = [f"{own[rule].accuracy:.3f} ± {own[rule].std:.3f}, {own[rule].nmi:.2f}" for rule in RULES]
        cells += [f"{own[chosen].accuracy:.3f} ({chosen[0]}, `{chosen[1]}`)", f"{best:.3f}", f"{over:+.3f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    last = [f"{value:.3f}" for value in np.mean(means, axis=0)]
    lines.append(f"| **mean** | {' | '.join(last)} |")
    return lines


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
    print("\n".join(rows(scores)))
    print(f"\nAccuracy: mean ± standard deviation over {args.seeds} seeds, and NMI.")
    if args.output:
        told = {name: {" ".join(r): vars(s) for r, s in own.items()} for name, own in scores.items()}
        args.output.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
