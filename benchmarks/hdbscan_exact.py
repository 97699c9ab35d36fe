"""Exact HDBSCAN by matrix products against the `hdbscan` package: time, memory, and whether labels agree.

    python benchmarks/hdbscan_exact.py
    python benchmarks/hdbscan_exact.py --images GALAXIES --rows features.npy

Each fit runs in a process of its own, which gives its peak memory; the methods take turns, and ratios are
medians over the turns. The package runs with its defaults. Processor time counts all threads and worker
processes.
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
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
Method = Literal["package", "package, exact", "prim", "boruvka"]
METHODS: tuple[Method, ...] = ("package", "prim", "boruvka")


def mixture(n: int, d: int) -> Rows:
    """Features with 40 groups of different density, in float32 as features are on disk."""
    rng = np.random.default_rng(0)
    centres = 0.9 * rng.normal(size=(40, d))
    spread = rng.uniform(0.3, 1.2, size=(n, 1))
    return (centres[rng.integers(0, 40, n)] + spread * rng.normal(size=(n, d))).astype(np.float32)


def fit(method: Method, x: Rows, size: int) -> NDArray[np.int64]:
    if method == "package" or method == "package, exact":
        import hdbscan

        options = {"algorithm": "prims_kdtree"} if method == "package, exact" else {}
        return np.asarray(hdbscan.HDBSCAN(min_cluster_size=size, **options).fit(x).labels_)
    from clustering.density.exact_hdbscan import exact_hdbscan

    return np.asarray(exact_hdbscan(x, min_cluster_size=size, method=method).labels_)


def processor_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def child(method: Method, folder: Path, size: int) -> None:
    """Fit once and print what it took; a small fit before it loads the compiled kernels."""
    x = np.load(folder / "x.npy")
    before = time.perf_counter()
    fit(method, x[:300], size)
    start = time.perf_counter() - before
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    before, used = time.perf_counter(), processor_seconds()
    labels = fit(method, x, size)
    took = {"seconds": time.perf_counter() - before, "cpu": processor_seconds() - used, "start": start}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(folder / f"{method}.npy", labels)
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({**took, "peak": peak * unit / 1e9, "base": base * unit / 1e9}))


def race(x: Rows, size: int, turns: int) -> None:
    from sklearn.metrics import adjusted_rand_score

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "x.npy", x)
        runs: dict[str, list[dict[str, float]]] = {m: [] for m in METHODS}
        for _ in range(turns):
            for method in METHODS:
                command = [sys.executable, __file__, "--child", method, str(folder), "--size", str(size)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs[method].append(json.loads(done.stdout.splitlines()[-1]))
        labels = {m: np.load(folder / f"{m}.npy") for m in METHODS}
    print(f"{len(x):,} x {x.shape[1]}, min_cluster_size={size}, {turns} turns, {os.cpu_count()} cores")
    print(
        f"{'method':9} {'wall s':>8} {'cpu s':>8} {'x wall':>7} {'x cpu':>7} {'peak GB':>8} {'idle GB':>8}"
        f" {'ARI':>8} {'clusters':>8} {'noise':>6}"
    )
    for m in METHODS:
        median = {k: statistics.median(r[k] for r in runs[m]) for k in runs[m][0]}
        pairs = list(zip(runs["package"], runs[m], strict=True))
        faster = [statistics.median(p[k] / r[k] for p, r in pairs) for k in ("seconds", "cpu")]
        print(
            f"{m:9} {median['seconds']:8.2f} {median['cpu']:8.2f} {faster[0]:7.1f} {faster[1]:7.1f}"
            f" {median['peak']:8.2f} {median['base']:8.2f}"
            f" {adjusted_rand_score(labels['package'], labels[m]):8.5f} {labels[m].max() + 1:8d}"
            f" {(labels[m] < 0).mean():6.3f}"
        )


def pixels(folder: Path) -> Rows:
    """32 x 32 pixels of a folder's first 4,000 images in 64 dimensions."""
    from PIL import Image
    from sklearn.decomposition import PCA

    rows = []
    for file in sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[:4000]:
        with Image.open(file) as image:
            rows.append(np.asarray(image.convert("RGB").resize((32, 32))).reshape(-1) / 255)
    return np.asarray(PCA(64, random_state=0).fit_transform(np.array(rows)))


def data_sets(images: Path | None, files: list[Path]) -> dict[str, Callable[[], Rows]]:
    from sklearn import datasets

    sets: dict[str, Callable[[], Rows]] = {
        "iris": lambda: datasets.load_iris().data,
        "wine": lambda: datasets.load_wine().data,
        "breast cancer": lambda: datasets.load_breast_cancer().data,
        "diabetes": lambda: datasets.load_diabetes().data,
        "digits": lambda: datasets.load_digits().data,
        "blobs": lambda: datasets.make_blobs(4000, 64, centers=12, cluster_std=3.0, random_state=0)[0],
        "moons": lambda: datasets.make_moons(2000, noise=0.08, random_state=0)[0],
        "circles": lambda: datasets.make_circles(2000, noise=0.05, factor=0.5, random_state=0)[0],
        "swiss roll": lambda: datasets.make_swiss_roll(2000, noise=0.3, random_state=0)[0],
        "mixture": lambda: mixture(4000, 64),
    }
    if images is not None:
        sets["pixels"] = lambda: pixels(images)
    for file in files:
        sets[file.stem] = partial(np.load, file)
    return sets


def agreement(sets: dict[str, Callable[[], Rows]]) -> None:
    from sklearn.metrics import adjusted_rand_score as ari

    print(
        "\nARI of labels. The package's two ways differ from each other where reachabilities tie: up to 60\n"
        "dimensions its default is Borůvka's tree, allowed to be approximate, and beyond that Prim's.\n"
    )
    head = ("prim : exact", "prim : default", "boruvka : exact", "exact : default")
    print(
        f"{'data':14} {'shape':>12} {'size':>4} {'clusters':>8} {'noise':>6} "
        + " ".join(f"{h:>15}" for h in head)
    )
    for name, load in sets.items():
        x = load()
        for size in (5, 15):
            default, exact, prim, boruvka = (
                fit(m, x, size) for m in ("package", "package, exact", "prim", "boruvka")
            )
            pairs = ((prim, exact), (prim, default), (boruvka, exact), (exact, default))
            print(
                f"{name:14} {x.shape!s:>12} {size:4d} {prim.max() + 1:8d} {(prim < 0).mean():6.3f} "
                + " ".join(f"{ari(a, b):15.5f}" for a, b in pairs)
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=17_736)
    parser.add_argument("--d", type=int, default=64)
    parser.add_argument("--size", type=int, default=15, help="min_cluster_size of the race")
    parser.add_argument("--turns", type=int, default=3, help="0 leaves the race out")
    parser.add_argument("--images", type=Path, help="a folder of real images, for the agreement of labels")
    parser.add_argument("--rows", type=Path, nargs="*", default=[], help=".npy files (n, d), likewise")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child[0], Path(args.child[1]), args.size)
        return
    if args.turns:
        race(mixture(args.n, args.d), args.size, args.turns)
    agreement(data_sets(args.images, args.rows))


if __name__ == "__main__":
    main()
