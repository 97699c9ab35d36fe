"""Neighbours and outliers of many rows, by inverted lists: seconds of the processor, recall, memory.

    python benchmarks/many_neighbours.py --n 100000 1000000 --d 64
    python benchmarks/many_neighbours.py --n 20000 --peer

Rows are drawn in 200 groups of 24 dimensions that are turned into d, with noise in all, and one in a thousand
lies anywhere. Each size runs in a process of its own: 15 neighbours of each row, then the 50 rows farthest
from their 15th, which are exact. `--peer` asks scikit-learn for the same 15 neighbours by brute force.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray

from embedkit.computing.inverted_lists import nearby
from reports.neighbours.farthest import farthest

K, M = 15, 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[100_000])
    parser.add_argument("--d", type=int, default=64)
    parser.add_argument("--peer", action="store_true", help="scikit-learn beside it")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measured(args.n[0], args.d, peer=args.peer)))
        return
    for n in args.n:
        command = [sys.executable, __file__, "--one", "--n", str(n), "--d", str(args.d)]
        done = subprocess.run(
            [*command, *["--peer"] * args.peer], check=True, stdout=subprocess.PIPE, text=True
        )
        found = json.loads(done.stdout)
        print(
            f"{n:,} x {args.d}: " + ", ".join(f"{name} {value}" for name, value in found.items()), flush=True
        )


def measured(n: int, d: int, *, peer: bool) -> dict[str, str]:
    """Run one size."""
    x = drawn(n, d)
    found: dict[str, str] = {}
    start = time.process_time()
    near = nearby(x, K, least=0.98, advance=lambda n: None)  # noqa: ARG005
    found["neighbours"] = f"{time.process_time() - start:.0f} s"
    found["recall"] = f"{near.recall.share:.4f} ({near.recall.n_looked_into} of {near.recall.n_lists} lists)"
    start = time.process_time()
    far = farthest(x, K, M)
    found["outliers"] = f"{time.process_time() - start:.0f} s ({far.n_asked:,} asked among all)"
    found["peak"] = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 2**30:.2f} GiB"
    if peer:
        from sklearn.neighbors import NearestNeighbors

        start = time.process_time()
        NearestNeighbors(n_neighbors=K, algorithm="brute").fit(x).kneighbors()
        found["scikit-learn"] = f"{time.process_time() - start:.0f} s"
    return found


def drawn(n: int, d: int) -> NDArray[np.float32]:
    """Draw the rows."""
    random = np.random.default_rng(0)
    inner = random.standard_normal((n, 24), dtype=np.float32)
    inner += 4 * random.standard_normal((200, 24), dtype=np.float32)[random.integers(0, 200, n)]
    inner[::1000] = 6 * random.standard_normal((len(inner[::1000]), 24), dtype=np.float32)
    axes = random.standard_normal((24, d), dtype=np.float32) / np.float32(d**0.5)
    noise = np.float32(0.1) * random.standard_normal((n, d), dtype=np.float32)
    return np.asarray(inner @ axes + noise, dtype=np.float32)


if __name__ == "__main__":
    main()
