"""What `embedkit label` costs by rows and probe: processor seconds and memory, each in its own process.

    python benchmarks/label_cost.py [--rows 2000 20000] [--probes linear:none label-spreading:view-whiten]

Features are drawn: 384 dimensions, four views of each image, five classes, 20 labels of each.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import embedkit
from embedkit.files.rows import Rows
from embedkit.files.store import Views, write_features

DIMENSIONS, VIEWS, CLASSES, LABELS = 384, 4, 5, 20


def drawn(path: Path, n: int) -> Path:
    """Classes and images differ in some directions, the views of one image in others."""
    random = np.random.default_rng(0)
    y = random.integers(0, CLASSES, n)
    between = np.geomspace(1, 0.05, DIMENSIONS)
    within = random.permutation(between)
    centre = random.normal(size=(CLASSES, DIMENSIONS)) * between * 0.5
    x = (1 + centre[y] + random.normal(size=(n, DIMENSIONS)) * between).astype(np.float32)
    mean, total = np.zeros_like(x), np.zeros((DIMENSIONS, DIMENSIONS))
    for part in np.array_split(np.arange(n), max(1, n // 4000)):
        views = x[part, None] + random.normal(size=(len(part), VIEWS, DIMENSIONS)) * within * 0.7
        views /= np.linalg.norm(views, axis=2, keepdims=True)
        mean[part] = views.mean(axis=1)
        rest = (views - mean[part, None]).reshape(-1, DIMENSIONS)
        total += rest.T @ rest
    labels = np.full(n, -1)
    for j in range(CLASSES):
        some = np.flatnonzero(y == j)[:LABELS]
        labels[some] = j
    rows = Rows(np.array([f"{i}.jpg" for i in range(n)]), labels=labels, class_names=tuple("abcde"[:CLASSES]))
    views_of = Views(mean, total / (n * (VIEWS - 1)), VIEWS)
    return write_features(path, x, rows, provenance={"dataset": {"name": f"drawn {n}"}}, views=views_of)


def measured(path: Path, probe: str, pipe: multiprocessing.connection.Connection) -> None:
    embedkit.label(path, kind="nearest-centroid", output=None)  # what is imported and compiled once
    asked: dict[str, Any] = dict(zip(("kind", "prep"), probe.split(":"), strict=True))
    start, clock = time.process_time(), time.perf_counter()
    embedkit.label(path, output=None, **asked)
    seconds = time.process_time() - start, time.perf_counter() - clock
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    pipe.send((*seconds, memory))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 20_000])
    parser.add_argument("--probes", nargs="+", default=["linear:none", "label-spreading:view-whiten"])
    args = parser.parse_args()
    print("| rows | probe | processor s | s | most memory, MiB |\n|---:|---|---:|---:|---:|")
    start = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for n in args.rows:
            path = drawn(Path(folder) / f"{n}.h5", n)
            for probe in args.probes:
                mine, theirs = start.Pipe()
                process = start.Process(target=measured, args=(path, probe, theirs))
                process.start()
                seconds, clock, memory = mine.recv()
                process.join()
                shown = f"{seconds:.1f} | {clock:.1f} | {memory:,.0f}"
                print(f"| {n:,} | `{probe}` | {shown} |", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
