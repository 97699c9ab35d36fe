"""A feature set of millions of rows, as a folder of parts, through PCA and k-means: seconds and peak memory.

    python benchmarks/ten_million.py --n 100000 1000000
    python benchmarks/ten_million.py --n 10000000 --folder /data/scratch
    python benchmarks/ten_million.py --n 1000000 --error

Parts of 131,072 rows x 384 float16 with groups in them are drawn into a folder and deleted afterwards. Then
`cluster(folder, k=1000, prep="pca:64")` runs in a process of its own, which tells its peak memory. With
`--error` the same rows are clustered twice, begun on a sample with a few passes over all rows, and by
Lloyd's iterations over all rows to their end, and the inertias are compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from clustering.kmeans import restarts
from clustering.kmeans.kmeans import KMeans
from clustering.options import ClusterOptions
from clustering.run import cluster
from embedkit.files.feature_set import opened_at, part_name
from embedkit.files.rows import Rows
from embedkit.files.store import write_features
from embedkit.preparing.preparation import prepare

PART, D = 2**17, 384


def draw(folder: Path, n: int) -> float:
    """Write n rows: 3,000 groups in 48 dimensions, of different spread, and noise in all; returns GB."""
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(48, D)).astype(np.float32) / np.sqrt(48)
    centers = rng.normal(size=(3000, 48)).astype(np.float32)
    spread = rng.uniform(0.2, 0.8, size=(3000, 1)).astype(np.float32)
    for number, start in enumerate(range(0, n, PART)):
        index = np.arange(start, min(start + PART, n))
        group = rng.integers(len(centers), size=len(index))
        inner = centers[group] + spread[group] * rng.standard_normal((len(index), 48), dtype=np.float32)
        x = inner @ axes + 0.1 * rng.standard_normal((len(index), D), dtype=np.float32)
        write_features(folder / part_name(number), x.astype(np.float16), Rows(ids=index.astype(str)))
    return sum(part.stat().st_size for part in folder.iterdir()) / 1e9


def peak() -> float:
    """Return the peak memory of this process in GiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024) / 2**30


def child(folder: str, k: int) -> None:
    start = time.perf_counter()
    run = cluster(folder, ClusterOptions(k=k, prep="pca:64", device="cpu"))
    inertia = run.result.metrics["inertia"]
    found = {"minutes": (time.perf_counter() - start) / 60, "peak": peak(), "note": inertia.note}
    print(json.dumps(found))


def error(folder: str, k: int) -> None:
    with opened_at(folder) as file:
        x = prepare(file, "pca:64").transform_file(file)
    found = []
    for limit in (0, len(x)):
        restarts.START_FROM = limit
        start = time.perf_counter()
        model = KMeans(k, device="cpu").fit(x)
        found.append(model.inertia_)
        words = f"begun on {model.n_started_on_:,} rows" if model.n_started_on_ else "all rows throughout"
        print(
            f"  {words}: {(time.perf_counter() - start) / 60:.1f} minutes, {model.n_iter_} passes over all, "
            f"the last lowered the inertia by {model.last_gain_:.3%}",
            flush=True,
        )
    print(f"  inertia {found[0] / found[1] - 1:+.3%} of that of Lloyd's iterations to their end")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[100_000, 1_000_000], help="rows")
    parser.add_argument("-k", type=int, default=1000)
    parser.add_argument("--folder", help="where the parts are drawn; a temporary folder by default")
    parser.add_argument("--error", action="store_true", help="measure what the sample costs in inertia")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        (error if args.error else child)(args.child, args.k)
        return
    for n in args.n:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            size = draw(Path(folder), n)
            command = [sys.executable, __file__, "--child", folder, "-k", str(args.k)]
            if args.error:
                print(f"{n:,} x {D}, k = {args.k:,}", flush=True)
                subprocess.run([*command, "--error"], check=True)
                continue
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        took = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{n:12,} rows, {size:5.2f} GB: {took['minutes']:6.1f} minutes, peak {took['peak']:.2f} GiB"
            + f"; {took['note']}" * bool(took["note"]),
            flush=True,
        )


if __name__ == "__main__":
    main()
