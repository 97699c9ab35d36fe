"""Both whitenings of a million rows in a folder of parts: seconds of the processor and peak memory.

    python benchmarks/whitening.py --n 1000000
    python benchmarks/whitening.py --n 200000 --among 5000 20000 80000

Parts of 131,072 rows x 384 float16 with the statistics of four views are drawn into a folder and deleted
afterwards: 40 groups in 39 directions, in 24 others what the views of an image differ in, far more than
groups do, and noise in all. Each preparation is fitted and applied in a process of its own, and every 50th
row is then clustered by k-means; the ARI is that with the groups. Neighbour whitening looks for neighbours
among 20,000 rows spread over all: `--among` takes other numbers of them, and says how far the
subspaces are apart from the last (largest angle, degrees).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import subspace_angles
from sklearn.metrics import adjusted_rand_score

from clustering.kmeans.kmeans import KMeans
from embedkit.computing.peak import Peak
from embedkit.files.feature_set import opened_at, part_name
from embedkit.files.rows import Rows
from embedkit.files.store import Views, write_features
from embedkit.preparing import whitening
from embedkit.preparing.preparation import prepare

PART, D, GROUPS, NUISANCES, N_VIEWS = 2**17, 384, 40, 24, 4
PREPARATIONS = ("view-whiten", "neighbor-whiten", "view-whiten+neighbor-whiten", "auto")


def draw(folder: Path, n: int) -> float:
    """Write n rows, labelled by their group; returns GB."""
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.standard_normal((D, D)))[0].astype(np.float32)
    middle = axes[-1] * 3
    groups = random.standard_normal((GROUPS, GROUPS - 1)).astype(np.float32) @ axes[: GROUPS - 1]
    nuisance = 4 * axes[GROUPS : GROUPS + NUISANCES]
    within = np.zeros((D, D))
    for number, start in enumerate(range(0, n, PART)):
        index = np.arange(start, min(start + PART, n))
        group = random.integers(GROUPS, size=len(index))
        image = middle + groups[group] + 0.3 * random.standard_normal((len(index), D), dtype=np.float32)
        image += random.standard_normal((len(index), NUISANCES), dtype=np.float32) @ nuisance
        mean, squares = np.zeros((len(index), D), np.float32), np.zeros((D, D))
        for _ in range(N_VIEWS):
            view = image + 0.1 * random.standard_normal((len(index), D), dtype=np.float32)
            view += random.standard_normal((len(index), NUISANCES), dtype=np.float32) @ nuisance
            view /= np.linalg.norm(view, axis=1, keepdims=True)
            mean += view / N_VIEWS
            squares += view.T @ view
        within = (squares - N_VIEWS * (mean.T @ mean)) / (len(index) * (N_VIEWS - 1))
        rows = Rows(ids=index.astype(str), labels=group, class_names=tuple(map(str, range(GROUPS))))
        views = Views(mean, within, N_VIEWS)
        write_features(folder / part_name(number), mean.astype(np.float16), rows, views=views)
    return sum(part.stat().st_size for part in folder.iterdir()) / 1e9


def measured(folder: str, words: str) -> dict[str, float]:
    """Run one preparation."""
    memory = Peak(torch.device("cpu"))
    memory.begin()
    start = time.process_time()
    with opened_at(folder) as file:
        prepared = prepare(file, words, n_clusters=GROUPS)
        fitted = time.process_time() - start
        x = prepared.transform_file(file)
        applied = time.process_time() - start - fitted
        truth = file.rows.labels
    assert truth is not None  # as `draw` writes them
    peak = memory.peak() / 2**30
    labels = KMeans(GROUPS, device="cpu").fit(x[::50]).labels_
    ari = adjusted_rand_score(truth[::50], labels)
    return {"fit": fitted, "apply": applied, "peak": peak, "m": x.shape[1], "ari": ari}


def sampled(folder: str, numbers: list[int]) -> None:
    """Neighbour whitening with neighbours among other numbers of rows."""
    with opened_at(folder) as file:
        assert file.rows.labels is not None  # as `draw` writes them
        truth = file.rows.labels[::50]
        spaces: list[NDArray[np.float64]] = []
        said: list[str] = []
        for number in numbers:
            whitening.MAX_NEIGHBOR_ROWS = number
            start = time.process_time()
            prepared = prepare(file, "view-whiten+neighbor-whiten", n_clusters=GROUPS)
            took = time.process_time() - start
            x = prepared.transform_file(file)[::50]
            view, neighbor = (step.matrix for step in prepared.steps)
            assert view is not None
            assert neighbor is not None
            spaces.append(view @ neighbor)
            ari = adjusted_rand_score(truth, KMeans(GROUPS, device="cpu").fit(x).labels_)
            said.append(f"{prepared.steps[1].settings['n_rows']:8,} rows: {took:5.0f} s, ARI {ari:.4f}")
    for words, space in zip(said, spaces, strict=True):
        print(f"{words}, {largest_angle(space, spaces[-1]):.2f} degrees from the last", flush=True)


def largest_angle(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Between the subspaces that the columns span, in degrees."""
    return float(np.degrees(subspace_angles(a, b).max()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1_000_000, help="rows")
    parser.add_argument("--folder", help="where the parts are drawn; a temporary folder by default")
    parser.add_argument("--among", type=int, nargs="+", help="rows among which neighbours are looked for")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(measured(*args.child)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        size = draw(Path(folder), args.n)
        print(f"{args.n:,} x {D}, {size:.2f} GB", flush=True)
        if args.among:
            sampled(folder, args.among)
            return
        for words in PREPARATIONS:
            command = [sys.executable, __file__, "--child", folder, words]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            took = json.loads(done.stdout.splitlines()[-1])
            print(
                f"{words:28} to {took['m']:3}: fitted in {took['fit']:4.0f} s, applied in "
                f"{took['apply']:4.0f} s, peak {took['peak']:.2f} GiB, ARI {took['ari']:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
