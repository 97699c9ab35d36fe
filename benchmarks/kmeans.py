"""k-means: `clustering.kmeans.kmeans` against scikit-learn's `KMeans(n_init=10)`, inertia and time.

    python benchmarks/kmeans.py
    python benchmarks/kmeans.py --features gz1.h5 --pca 64
    python benchmarks/kmeans.py --large-k --features gz1.h5
    python benchmarks/kmeans.py --million

They take turns on the same rows with the same seeds. Inertias are given relative to the best that any run
found. faiss' own k-means at its defaults (a sample of 256 rows a centroid, random start, 25 iterations)
stands beside them.

`--large-k` is k = 1,000, one restart of each with the same tolerance and limit of iterations, and as many
threads. `--million` clusters 1,000,000 x 64 into 1,000 through the estimator and through `embedkit cluster`,
and fewer rows before, each in a process of its own that tells its peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans as SklearnKMeans

from clustering.kmeans.kmeans import KMeans
from embedkit.files.rows import Rows as FileRows
from embedkit.files.store import FeatureFile, write_features
from embedkit.preparing.pca import PCA

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
    assert model.centroids is not None  # for mypy
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


def compare_large_k(name: str, x: Rows, k: int, seeds: int) -> None:
    print(f"{name}, {x.shape[0]:,} x {x.shape[1]}, k = {k}, one restart each, {os.cpu_count()} cores")
    print(
        f"  {'seed':>4} {'embedkit s':>10} {'sklearn s':>10} {'x wall':>7} {'x cpu':>7} {'inertia ratio':>13}"
    )
    found = []
    for seed in range(seeds):
        wall, cpu, inertia = [], [], []
        for model in (
            KMeans(k, n_init=1, random_state=seed, device="cpu"),
            SklearnKMeans(k, n_init=1, random_state=seed),
        ):
            start = time.perf_counter(), time.process_time()
            inertia.append(float(model.fit(x).inertia_))
            wall.append(time.perf_counter() - start[0])
            cpu.append(time.process_time() - start[1])
        found.append((wall[1] / wall[0], cpu[1] / cpu[0], inertia[0] / inertia[1]))
        print(
            f"  {seed:4d} {wall[0]:10.2f} {wall[1]:10.2f} {found[-1][0]:7.2f} {found[-1][1]:7.2f} "
            f"{found[-1][2]:13.5f}",
            flush=True,
        )
    times, cpus, ratios = np.array(found).T
    print(
        f"  median {np.median(times):.2f} times as fast ({np.median(cpus):.2f} in processor time); inertia "
        f"{ratios.mean():.5f} of scikit-learn's on average (sd {ratios.std():.5f}, worst {ratios.max():.5f})"
    )


def child(way: str, n: int, folder: str) -> None:
    """Cluster n x 64 into 1,000 and print seconds and peak memory."""
    x = groups(n, 64, 0)
    start = time.perf_counter()
    if way == "estimator":
        found = {"iterations": KMeans(1000, random_state=0, device="cpu").fit(x).n_iter_}
    else:
        from embedkit.cli import main as embedkit

        path = write_features(Path(folder) / "rows.h5", x, FileRows(np.arange(n).astype(str)))
        del x
        start = time.perf_counter()
        found = {"code": embedkit(["cluster", str(path), "-k", "1000", "--prep", "none", "-o", folder])}
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps({"seconds": took, "peak": peak / 2**30, **found}))


def million(rows: list[int]) -> None:
    print(f"{'':10} {'rows':>10} {'minutes':>8} {'peak GiB':>9}")
    for way in ("estimator", "command"):
        for n in rows:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, __file__, "--child", way, str(n), folder]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            took = json.loads(done.stdout.splitlines()[-1])
            rest = {key: value for key, value in took.items() if key not in ("seconds", "peak")}
            print(f"{way:10} {n:10,} {took['seconds'] / 60:8.1f} {took['peak']:9.2f}  {rest}", flush=True)


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
    parser.add_argument("--large-k", action="store_true", help="k = 1,000, one restart")
    parser.add_argument("--million", action="store_true", help="1,000,000 rows, k = 1,000: time and memory")
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[50_000, 200_000, 1_000_000], help="of --million"
    )
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], int(args.child[1]), args.child[2])
        return
    if args.million:
        million(args.rows)
        return
    data = {}
    if args.features:
        with FeatureFile(args.features) as file:
            x = file.read(file.ok)
        data = {Path(args.features).stem: np.asarray(PCA(args.pca).fit_transform(x), dtype=np.float32)}
    if args.large_k or not args.features:
        data |= {make.__name__: make(args.n, args.d, args.seed) for make in (galaxies, groups)}
    for name, x in data.items():
        if args.large_k:
            compare_large_k(name, x, 1000, args.seeds)
            continue
        for k in args.k:
            compare(name, x, k, args.seeds)


if __name__ == "__main__":
    main()
