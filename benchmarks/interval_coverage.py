"""How often the 95 % interval of accuracy holds the truth, over resampled splits of a problem that is known.

    python benchmarks/interval_coverage.py                  # 200 splits, seed 0

Each split draws 1,000 new rows of three overlapping Gaussian classes and divides them 70/15/15; a linear
probe is fitted, C is chosen on validation, and Wilson's interval is computed on the 150 test rows. The truth
is the accuracy of that very probe on 200,000 further rows.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from embedkit.scoring.class_scores import score_predictions
from embedkit.scoring.splits import stratified_split
from probes.kinds.linear import LinearProbe

NAMES = ("a", "b", "c")


def draw(random: np.random.Generator, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    y = random.choice(3, size=n, p=(0.5, 0.3, 0.2))
    return (1.2 * np.eye(3, 8)[y] + random.normal(size=(n, 8))).astype(np.float32), y


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--n", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    random = np.random.default_rng(args.seed)
    many, truth = draw(random, 200_000)
    held, widths, accuracies = 0, [], []
    for number in range(args.splits):
        x, y = draw(random, args.n)
        split = stratified_split(y, seed=number)
        model = LinearProbe().fit(
            x[split.train], y[split.train], validation=(x[split.validation], y[split.validation])
        )
        test = score_predictions(y[split.test], model.predict_proba(x[split.test]), class_names=NAMES)
        interval = test.metrics["accuracy"]
        true = float((model.predict(many) == truth).mean())
        low, high = float(interval.low or 0), float(interval.high or 0)
        held += low <= true <= high
        widths.append(high - low)
        accuracies.append(true)
    print(
        f"{args.splits} splits of {args.n:,} rows, seed {args.seed}: the 95 % interval holds the true "
        f"accuracy (mean {np.mean(accuracies):.3f}) in {100 * held / args.splits:.1f} % of them; "
        f"mean width {np.mean(widths):.3f}"
    )


if __name__ == "__main__":
    main()
