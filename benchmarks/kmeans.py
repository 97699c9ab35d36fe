"""k-means: `clustering.kmeans` against scikit-learn's `KMeans(n_init=10)`, inertia and time.

    python benchmarks/kmeans.py
    python benchmarks/kmeans.py --features gz1.h5 --pca 64

They take turns on the same rows with the same seeds. Inertias are given relative to the best that any run
found. faiss' own k-means at its defaults (a sample of 256 rows a centroid, random start, 25 iterations)
stands beside them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import faiss
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans as SklearnKMeans

from clustering.kmeans import KMeans
from embedkit.pca import PCA
from embedkit.store import FeatureFile

Rows = NDArray[np.float32]


def galaxies(n: int, d: int, seed: int) -> Rows:
    """Draw a continuum without groups: falling variance, heavy tails. What features of galaxies look like."""
    rng = np.random.default_rng(seed)
    scale = np.exp(-np.arange(d) / 15) * (1 + 0.5 * rng.normal(size=(n, 1)))
    return (rng.normal(size=(n, d)) * scale).astype(np.float32)


def groups(n: int, d: int, seed: int) -> Rows:
    """Draw 40 groups of different density: many ways to merge them into fewer clusters."""
    rng = np.random.default_rng(seed)
    centers = 0.9 * rng.normal(size=(40, d))
    spread = rng.uniform(0.3, 1.2, size=(n, 1))
    return (centers[rng.integers(40, size=n)] + spread * rng.normal(size=(n, d))).astype(np.float32)


def ours(x: Rows, k: int, seed: int) -> float:
    return float(KMeans(k, random_state=seed, device="cpu").fit(x).inertia_)


def sklearns(x: Rows, k: int, seed: int) -> float:
    return float(SklearnKMeans(k, n_init=10, random_state=seed).fit(x).inertia_)


def faiss_defaults(x: Rows, k: int, seed: int) -> float:
    model = faiss.Kmeans(x.shape[1], k, seed=seed + 1)
    model.train(x)
    _, nearest = model.assign(x)
    return float(((x - model.centroids[nearest]).astype(np.float64) ** 2).sum())


METHODS: dict[str, Callable[[Rows, int, int], float]] = {
    "embedkit": ours,
    "scikit-learn": sklearns,
    "faiss defaults": faiss_defaults,
}


def compare(name: str, x: Rows, k: int, seeds: int) -> None:
    inertias: dict[str, list[float]] = {method: [] for method in METHODS}
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for seed in range(seeds):
        for method, fit in METHODS.items():
            start = time.perf_counter()
            inertias[method].append(fit(x, k, seed))
            times[method].append(time.perf_counter() - start)
    best = min(min(values) for values in inertias.values())
    print(f"{name}, {x.shape[0]:,} x {x.shape[1]}, k = {k}, {seeds} seeds")
    print(f"  {'':15} {'inertia above the best of all':>40}    {'seconds':>16}")
    print(f"  {'':15} {'mean':>12} {'worst':>12} {'spread':>12}    {'median':>8} {'best':>8}")
    for method, values in inertias.items():
        above = np.array(values) / best - 1
        print(
            f"  {method:15} {above.mean():12.2%} {above.max():12.2%} {np.ptp(above):12.2%}    "
            f"{statistics.median(times[method]):8.2f} {min(times[method]):8.2f}"
        )
    a, b = np.array(inertias["embedkit"]), np.array(inertias["scikit-learn"])
    ratio = a / b
    slower = statistics.median(times["embedkit"]) / statistics.median(times["scikit-learn"])
    print(
        f"  embedkit / scikit-learn: inertia {a.mean() / b.mean():.5f} on average, {ratio.min():.5f} to "
        f"{ratio.max():.5f} seed by seed; median time {slower:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", help="a feature file to take rows from, instead of drawing them")
    parser.add_argument("--pca", type=int, default=64, help="components that a feature file is reduced to")
    parser.add_argument("-n", type=int, default=17736)
    parser.add_argument("-d", type=int, default=64)
    parser.add_argument("-k", type=int, nargs="+", default=[10])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the rows that are drawn")
    args = parser.parse_args()
    if args.features:
        with FeatureFile(args.features) as file:
            x = file.read(file.ok)
        data = {args.features: np.asarray(PCA(args.pca).fit_transform(x), dtype=np.float32)}
    else:
        data = {make.__name__: make(args.n, args.d, args.seed) for make in (galaxies, groups)}
    for name, x in data.items():
        for k in args.k:
            compare(name, x, k, args.seeds)


if __name__ == "__main__":
    main()
