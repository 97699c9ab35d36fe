"""C grid x seeds: LinearProbe's path against one scikit-learn LogisticRegression after another.

    python benchmarks/probe_linear.py                                  # 17,736 x 1,536, 13 C, 5 seeds: long
    python benchmarks/probe_linear.py --peer-seeds 1                   # the peer on one of them, times five
    python benchmarks/probe_linear.py --n 2000 --d 256 --seeds 2 --peer-seeds 1   # about a minute
    python benchmarks/probe_linear.py --features features.h5           # real features

Both get the same float32 training rows (70 %) of each seed's split and the same grid, standardise, and
choose C by the accuracy on the same validation rows (15 %). Reading and splitting are not timed. With
`--peer-seeds` the peer runs on the first seeds only; its seconds for all are extrapolated, and said to be.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from embedkit.files.store import FeatureFile
from embedkit.scoring.splits import stratified_split
from probes.kinds.linear import C_GRID, LinearProbe


def synthetic(n: int, d: int, c: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features with the falling spectrum and the correlations of a vision transformer's."""
    random = np.random.default_rng(0)
    y = random.choice(c, size=n, p=np.linspace(1, 8, c) / np.linspace(1, 8, c).sum())
    spectrum = np.arange(1, d + 1) ** -0.7
    centres = random.normal(size=(c, d))
    rotation = np.linalg.qr(random.normal(size=(d, d)))[0]
    x = ((2.7 / np.sqrt(d) * centres[y] + random.normal(size=(n, d))) * spectrum) @ rotation
    return x.astype(np.float32), y


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", help="a feature file with labels instead of synthetic features")
    parser.add_argument("--n", type=int, default=17_736)
    parser.add_argument("--d", type=int, default=1_536)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--peer-seeds", type=int, help="run the peer on the first so many seeds only")
    parser.add_argument("--c-grid", type=float, nargs="+", default=C_GRID)
    args = parser.parse_args()
    if args.features:
        with FeatureFile(args.features) as file:
            labels = file.rows.labels
            if labels is None:
                parser.error(f"{args.features}: no labels stored")
            keep = file.ok & (labels >= 0)
            x, y = file.read(keep), labels[keep]
    else:
        x, y = synthetic(args.n, args.d, args.classes)
    print(
        f"{len(x):,} x {x.shape[1]:,}, {len(np.unique(y))} classes, {len(args.c_grid)} C x {args.seeds} seeds"
    )
    n_peer = min(args.seeds if args.peer_seeds is None else max(args.peer_seeds, 1), args.seeds)
    ours, theirs = 0.0, 0.0
    gaps: list[float] = []
    for seed in range(args.seeds):
        split = stratified_split(y, seed=seed)
        train, held = (x[split.train], y[split.train]), (x[split.validation], y[split.validation])
        start = time.perf_counter()
        model = LinearProbe(c_grid=args.c_grid).fit(*train, validation=held)
        mine = time.perf_counter() - start
        ours += mine
        best = model.validation_scores_[model.c_]
        line = (
            f"seed {seed}: embedkit {mine:.1f} s, C = {model.c_:g}, validation accuracy {100 * best:.2f} %, "
            f"converged {model.converged_}"
        )
        if seed < n_peer:
            start = time.perf_counter()
            scores, stopped = scikit_learn(train, held, args.c_grid)
            peer = time.perf_counter() - start
            theirs += peer
            gaps.append(best - max(scores))
            line += (
                f"; scikit-learn {peer:.1f} s, {100 * max(scores):.2f} %, "
                f"{stopped} fits stopped at max_iter; ratio {peer / mine:.1f}"
            )
        print(line, flush=True)
    how = f", its {theirs:.1f} s on {n_peer} of {args.seeds} seeds EXTRAPOLATED to all" * (
        n_peer < args.seeds
    )
    theirs *= args.seeds / n_peer
    print(
        f"scikit-learn / embedkit = {theirs:.1f} s / {ours:.1f} s = {theirs / ours:.1f}{how}; on the seeds "
        f"that both ran, validation accuracy differs by {100 * np.abs(gaps).max():.2f} points at most"
    )


def scikit_learn(
    train: tuple[NDArray[np.float32], NDArray[np.int64]],
    held: tuple[NDArray[np.float32], NDArray[np.int64]],
    grid: list[float],
) -> tuple[list[float], int]:
    scaler = StandardScaler().fit(train[0])
    x, z = scaler.transform(train[0]), scaler.transform(held[0])
    scores = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        for c in grid:
            scores.append(LogisticRegression(C=c, max_iter=1000).fit(x, train[1]).score(z, held[1]))
    return scores, len(caught)


if __name__ == "__main__":
    main()
