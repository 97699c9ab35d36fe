"""Images to label next, against images drawn at random: what the same number of labels is worth.

    python benchmarks/label_next.py features.h5 [more.h5 ...] [--probes KIND:PREP[/KIND:PREP][@PREP] ...]

In each draw 30 % of the labelled rows, every class in proportion, are kept aside and never offered: not even
their features take part. Of the others ten images are labelled in each of ten rounds, chosen by
`probes.labelling.next_images` or at random, and a probe of these labels is scored on the rows kept aside. The
first ten cover what there is, or are random ones, from which both go on. After a slash stands the probe whose
doubt chooses, by default the one that is scored; after an @ the preparation in whose space images are chosen
apart, by default that probe's. Probabilities are not calibrated here, which `embedkit label` does: it changes
the order of no two classes of an image, and hardly that of the images.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.files.store import FeatureFile
from embedkit.preparing.preparation import prepare
from embedkit.scoring.dividing import divide
from probes.few_labels import fit_within
from probes.kinds.around import Around, Pool
from probes.labelling.next_images import next_images, uncertainty
from probes.labelling.options import LabelOptions

ROUNDS, PER_ROUND = 10, 10
WAYS = ("random", "chosen after ten random ones", "chosen")


@dataclass(frozen=True)
class Prepared:
    """Rows prepared on those that are offered, and the probe that learns from them."""

    options: LabelOptions
    x: np.ndarray
    offered: np.ndarray
    pool: Pool

    @classmethod
    def of(cls, words: str, file: FeatureFile, rows: np.ndarray, offered: np.ndarray) -> Prepared:
        kind, _, prep = words.partition(":")
        x = prepare(file, prep, rows=rows[offered]).transform_file(file, rows)
        return cls(LabelOptions(kind=kind, prep=prep), x, offered, Pool(x[offered]))

    def fitted(self, labelled: np.ndarray, z: np.ndarray, draw: int) -> Any:
        around = Around(self.pool, np.searchsorted(self.offered, labelled))
        return fit_within(self.x[labelled], z, z, self.options.probe, seed=draw, around=around)


def accuracies(
    file: FeatureFile, rows: np.ndarray, y: np.ndarray, way: str, probes: str, draw: int
) -> list[float]:
    random = np.random.default_rng(draw)
    offered, aside = divide(y, np.array([0.7, 0.3]), random)
    words, _, space = probes.partition("@")
    scored, _, asked = words.partition("/")
    made = {words: Prepared.of(words, file, rows, offered) for words in (scored, asked or scored)}
    chooser, labelled = made[asked or scored], np.empty(0, np.int64)
    found: list[float] = []
    p: np.ndarray | None = None
    apart = Prepared.of(f"linear:{space}", file, rows, offered).x if space else chooser.x
    for number in range(ROUNDS):
        left = np.setdiff1d(offered, labelled)
        if way == "random" or (number == 0 and way != "chosen"):
            new = random.choice(left, PER_ROUND, replace=False)
        else:
            doubt = None if p is None else uncertainty(p[left])
            at = np.searchsorted(offered, left)
            new = offered[next_images(apart[offered], at, PER_ROUND, doubt=doubt, seed=draw)]
        labelled = np.concatenate([labelled, new])
        some = np.unique(y[labelled])
        if len(some) < 2:
            found.append(float("nan"))
            continue
        z = np.searchsorted(some, y[labelled])
        models = {words: one.fitted(labelled, z, draw) for words, one in made.items()}
        said = models[scored].predict_proba(made[scored].x[aside]).argmax(axis=1)
        found.append(float((some[said] == y[aside]).mean()))
        p = np.zeros((len(rows), int(y.max()) + 1))
        p[:, some] = models[asked or scored].predict_proba(chooser.x)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument(
        "--probes", nargs="+", default=["linear:none"], metavar="KIND:PREP[/KIND:PREP][@PREP]"
    )
    args = parser.parse_args()
    print("| file | images | probe | way | 20 labels | 50 | 100 | against the first at 100 |")
    print("|---|---|---|---|---|---|---|---|")
    for path in args.features:
        with FeatureFile(path) as file:
            labels = file.rows.labels
            if labels is None:
                parser.error(f"{path}: no labels stored")
            rows = np.flatnonzero(file.ok & (labels >= 0))
            for probes in args.probes:
                base = None
                for way in args.ways:
                    each = np.array(
                        [accuracies(file, rows, labels[rows], way, probes, n) for n in range(args.draws)]
                    )
                    base = each if base is None else base
                    gain = (each - base)[:, -1] * 100
                    mean = np.nanmean(each, axis=0)
                    told = f"{gain.mean():+.1f} (draws {gain.min():+.1f} to {gain.max():+.1f})"
                    shown = " | ".join(f"{mean[i]:.3f}" for i in (1, 4, 9))
                    told = "" if way == "random" else told
                    name = f"{path.stem} | {len(rows):,} | `{probes}` | {way}"
                    print(f"| {name} | {shown} | {told} |", flush=True)


if __name__ == "__main__":
    main()
