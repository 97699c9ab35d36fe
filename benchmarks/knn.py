"""Exact 20 nearest neighbours of every row: embedkit, scikit-learn's brute force and faiss's flat index.

    python benchmarks/knn.py                       # 17,736 x 1,536
    python benchmarks/knn.py --n 4000 --d 384      # seconds
    python benchmarks/knn.py --features f.h5       # real features

Each finds the k nearest rows of every row among all rows, by cosine, itself included. Each search runs in a
process of its own, which makes the rows, warms up on 500 of them and then times `--rounds` searches: the best
counts. embedkit's time includes the normalisation; the peers get normalised rows. Peak memory is that of the
whole process. Prints seconds, their ratios, and the share of rows for which a peer finds the same k.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PEERS = ("scikit-learn brute", "faiss flat")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", help="a feature file instead of synthetic features")
    parser.add_argument("--n", type=int, default=17_736)
    parser.add_argument("--d", type=int, default=1_536)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--found", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        run_one(args)
        return
    found, measured = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(("embedkit", *args.peers)):
            path = Path(folder) / f"{number}.npy"
            command = [sys.executable, __file__, *sys.argv[1:], "--one", name, "--found", str(path)]
            process = subprocess.run(command, check=True, capture_output=True, text=True)
            measured[name], found[name] = json.loads(process.stdout), np.sort(np.load(path), axis=1)
    ours = measured["embedkit"]
    print(f"{ours['n']:,} x {ours['d']:,}, k = {args.k}, best of {args.rounds}")
    for name, it in measured.items():
        same = (found[name] == found["embedkit"]).all(axis=1).mean()
        print(
            f"{name:20s} {it['seconds']:7.2f} s ({it['cpu']:.1f} s of CPU), "
            f"{it['seconds'] / ours['seconds']:5.2f} times embedkit's; peak {it['peak_gb']:.2f} GB; "
            f"the same rows for {100 * same:.2f} %"
        )


def run_one(args: argparse.Namespace) -> None:
    x = rows(args)
    search = searches(args.one, x, args.k)
    search(500)
    seconds, cpu = [], []
    for _ in range(args.rounds):
        start, start_cpu = time.perf_counter(), time.process_time()
        index = search(len(x))
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    np.save(args.found, index)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    n, d = x.shape
    print(json.dumps({"n": n, "d": d, "seconds": min(seconds), "cpu": min(cpu), "peak_gb": peak}))


def rows(args: argparse.Namespace) -> NDArray[np.float32]:
    """Return real features, or ones with the falling spectrum and the common part of a network's."""
    if args.features:
        from embedkit.files.store import FeatureFile

        with FeatureFile(args.features) as file:
            return file.read(file.ok)
    random = np.random.default_rng(0)
    spectrum = np.arange(1, args.d + 1) ** -0.7
    return (random.normal(size=(args.n, args.d)) * spectrum + 0.05).astype(np.float32)


def searches(name: str, x: NDArray[np.float32], k: int) -> Callable[[int], NDArray[np.int64]]:
    """Return a function that searches the first n rows among themselves; it imports its own package only."""
    if name == "embedkit":
        from probes.neighbours.search import nearest

        def ours(n: int) -> NDArray[np.int64]:
            some = x[:n]
            return nearest(some, some, k).index

        return ours
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    if name == "scikit-learn brute":
        from sklearn.neighbors import NearestNeighbors

        return lambda n: (
            NearestNeighbors(n_neighbors=k, algorithm="brute").fit(unit[:n]).kneighbors(unit[:n])[1]
        )
    import faiss

    def flat(n: int) -> NDArray[np.int64]:
        index = faiss.IndexFlatIP(unit.shape[1])
        index.add(unit[:n])
        return np.asarray(index.search(unit[:n], k)[1])

    return flat


if __name__ == "__main__":
    main()
