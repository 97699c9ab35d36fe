"""Exact cosine neighbours: `probes.knn.nearest` against faiss's flat index and scikit-learn's brute force.

    python benchmarks/knn.py                       # 17,736 x 1,536, 20 neighbours of every row
    python benchmarks/knn.py --n 4000 --d 384      # seconds

Each finds the k nearest rows of every row among all rows, itself included; the best of the rounds counts.
The peers get normalised rows, and that is not timed. Prints seconds, their ratios, and the share of rows for
which a peer finds the same k.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import faiss
import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from probes.neighbours import nearest, normalise


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=17_736)
    parser.add_argument("--d", type=int, default=1_536)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    random = np.random.default_rng(0)
    spectrum = np.arange(1, args.d + 1) ** -0.7
    x = (random.normal(size=(args.n, args.d)) * spectrum + 0.05).astype(np.float32)
    unit = normalise(x)
    searches: dict[str, Callable[[], NDArray[np.int64]]] = {
        "embedkit": lambda: nearest(x, x, args.k).index,
        "faiss flat": lambda: faiss_flat(unit, args.k),
        "scikit-learn brute": lambda: (
            NearestNeighbors(n_neighbors=args.k, algorithm="brute").fit(unit).kneighbors(unit)[1]
        ),
    }
    seconds = dict.fromkeys(searches, np.inf)
    found = {}
    for _ in range(args.rounds):
        for name, search in searches.items():
            start = time.perf_counter()
            found[name] = search()
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    ours = np.sort(found["embedkit"], axis=1)
    print(f"{args.n:,} x {args.d:,}, k = {args.k}")
    for name, s in seconds.items():
        same = (np.sort(found[name], axis=1) == ours).all(axis=1).mean()
        ratio = s / seconds["embedkit"]
        print(f"{name:20s} {s:7.2f} s, {ratio:5.2f} times embedkit's; same in {100 * same:.2f} % of rows")


def faiss_flat(unit: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    index = faiss.IndexFlatIP(unit.shape[1])
    index.add(unit)
    return np.asarray(index.search(unit, k)[1])


if __name__ == "__main__":
    main()
