"""Every clustering method and preparation on labelled feature files, with chance beside each.

    python benchmarks/clustering_table.py FEATURES.h5 [MORE.h5 ...] [--methods kmeans temi] [--preps l2+pca95]
    python benchmarks/clustering_table.py VIEWS.h5 --sweep

No label enters any choice; labels only score. `--sweep` clusters with every setting of a grid around the
recommended preparation, to say what its rule costs against the best setting that looking at labels finds.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from clustering.options import ClusterOptions
from clustering.run import cluster
from embedkit.errors import EmbedkitError
from embedkit.files.store import FeatureFile

RULE = "view-whiten:power=0.25+neighbor-whiten"


def main() -> None:
    """Print a Markdown table, or the cost of the rule."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+")
    parser.add_argument("--methods", nargs="+", default=["kmeans"])
    parser.add_argument("--preps", nargs="+", default=["pca95", "l2+pca95", "view-whiten", RULE])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sweep", action="store_true")
    args = parser.parse_args()
    for path in args.files:
        if args.sweep:
            _sweep(path)
        else:
            _table(path, args.methods, args.preps, args.seeds)


def _table(path: str, methods: Sequence[str], preps: Sequence[str], seeds: int) -> None:
    with FeatureFile(path) as file:
        print(f"\n{file.features_name} on {file.dataset_name}, {file.n:,} rows\n")
        k = len(np.unique(file.rows.labels[file.rows.labels >= 0])) if file.rows.labels is not None else 2
        one_view = file.n_views == 1
    print("| preparation | method | accuracy (sd over seeds) | balanced | NMI | chance, up to | beaten |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for prep, method in itertools.product(preps, methods):
        if one_view and "view-whiten" in prep:
            continue
        # HDBSCAN is given no k, from which the rule takes its directions.
        given = prep + f":{k + 1}" if "hdbscan" in method and prep.endswith("neighbor-whiten") else prep
        runs = []
        try:
            for seed in range(seeds if method != "hdbscan" else 1):
                runs.append(cluster(path, ClusterOptions(method=method, prep=given, seed=seed)).result)
        except EmbedkitError as error:
            print(f"| {given} | {method} | {error} | | | | |", flush=True)
            continue
        score = [run.metrics["accuracy"] for run in runs]
        values = [metric.value or 0.0 for metric in score]
        chance = max(run.metrics["null_accuracy"].high or 0.0 for run in runs)
        low = min(metric.low or 0.0 for metric in score)
        balanced, nmi = (
            np.mean([run.metrics[name].value or 0.0 for run in runs]) for name in ("balanced_accuracy", "nmi")
        )
        print(
            f"| `{given}` | {method} | {np.mean(values):.3f} ({np.std(values):.3f}) | {balanced:.3f} "
            f"| {nmi:.3f} | {chance:.3f} | {'yes' if low > chance else 'no'} |",
            flush=True,
        )


def _sweep(path: str) -> None:
    def accuracy(prep: str) -> float:
        run = cluster(path, ClusterOptions(method="kmeans", prep=prep, seed=0))
        return run.result.metrics["accuracy"].value or 0.0

    print(f"\n{path}\n")
    rule = accuracy(RULE)
    for name, preps in _grids():
        found = {}
        for prep in preps:
            try:
                found[prep] = accuracy(prep)
            except EmbedkitError as error:
                print(f"  left out: {prep}: {error}")
        best = max(found, key=lambda prep: found[prep])
        values = list(found.values())
        print(
            f"{name}: rule {rule:.3f}, best {found[best]:.3f} ({best}), median {np.median(values):.3f}, "
            f"worst {min(values):.3f}, {len(values)} settings",
            flush=True,
        )


def _grids() -> Iterator[tuple[str, list[str]]]:
    after = "+neighbor-whiten"
    yield (
        "directions of neighbour whitening (k = 4)",
        [f"view-whiten:power=0.25{after}:{m}" for m in (2, 3, 4, 5, 6, 8, 10, 12)],
    )
    yield (
        "neighbours and shrinkage",
        [
            f"view-whiten:power=0.25{after}:neighbors={n},shrinkage={s}"
            for n in (5, 10, 20, 40)
            for s in (0.01, 0.1, 0.3, 0.5)
        ],
    )
    yield (
        "directions, shrinkage and power of view whitening",
        [
            f"view-whiten:{m},shrinkage={s},power={p}{after}"
            for m in ("icc0.5", "icc0.7", "icc0.8", "30", "50")
            for s in (0.001, 0.01, 0.1)
            for p in (0, 0.25, 0.375)
        ],
    )


if __name__ == "__main__":
    main()
