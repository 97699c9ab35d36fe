"""Images to label next, against images drawn at random: what the same number of labels is worth.

    python benchmarks/label_next.py features.h5 [more.h5 ...]

In each draw 30 % of the labelled rows, every class in proportion, are kept aside and never offered. Of the
others ten images are labelled in each of ten rounds, chosen by `probes.labelling.next_images` or at random.
The linear probe of `embedkit label` is then scored on the rows kept aside. The first ten cover what there is,
or are random ones, from which both go on. Probabilities are not calibrated here, which `embedkit label` does:
it changes the order of no two classes of an image, and hardly that of the images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from embedkit.files.store import FeatureFile
from embedkit.scoring.dividing import divide
from probes.few_labels import fit_within
from probes.labelling.next_images import next_images, uncertainty
from probes.labelling.options import LabelOptions

ROUNDS, PER_ROUND = 10, 10
WAYS = ("random", "chosen after ten random ones", "chosen")


def accuracies(x: np.ndarray, y: np.ndarray, way: str, draw: int) -> list[float]:
    random = np.random.default_rng(draw)
    offered, aside = divide(y, np.array([0.7, 0.3]), random)
    options, labelled = LabelOptions().probe, np.empty(0, np.int64)
    found: list[float] = []
    p: np.ndarray | None = None
    for number in range(ROUNDS):
        left = np.setdiff1d(offered, labelled)
        if way == "random" or (number == 0 and way != "chosen"):
            new = random.choice(left, PER_ROUND, replace=False)
        else:
            doubt = None if p is None else uncertainty(p[left])
            # What is kept aside takes no part, not even in the space in which distances are taken.
            new = offered[
                next_images(x[offered], np.searchsorted(offered, left), PER_ROUND, doubt=doubt, seed=draw)
            ]
        labelled = np.concatenate([labelled, new])
        some = np.unique(y[labelled])
        if len(some) < 2:
            found.append(float("nan"))
            continue
        z = np.searchsorted(some, y[labelled])
        model = fit_within(x[labelled], z, z, options, seed=draw)
        found.append(float((some[model.predict_proba(x[aside]).argmax(axis=1)] == y[aside]).mean()))
        p = np.zeros((len(x), int(y.max()) + 1))
        p[:, some] = model.predict_proba(x)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    args = parser.parse_args()
    print("| file | images | way | 20 labels | 50 | 100 | against the first at 100 |")
    print("|---|---|---|---|---|---|---|")
    for path in args.features:
        with FeatureFile(path) as file:
            labels = file.rows.labels
            if labels is None:
                parser.error(f"{path}: no labels stored")
            rows = np.flatnonzero(file.ok & (labels >= 0))
            x, y = file.read(rows), labels[rows]
        base = None
        for way in args.ways:
            each = np.array([accuracies(x, y, way, draw) for draw in range(args.draws)])
            base = each if base is None else base
            gain = (each - base)[:, -1] * 100
            mean = np.nanmean(each, axis=0)
            told = (
                ""
                if way == "random"
                else f"{gain.mean():+.1f} (draws {gain.min():+.1f} to {gain.max():+.1f})"
            )
            shown = " | ".join(f"{mean[i]:.3f}" for i in (1, 4, 9))
            print(f"| {path.stem} | {len(y):,} | {way} | {shown} | {told} |", flush=True)


if __name__ == "__main__":
    main()
