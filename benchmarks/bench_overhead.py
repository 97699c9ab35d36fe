"""What `embedkit bench` does beside measuring: files opened and hashed, results parsed, and seconds.

python benchmarks/bench_overhead.py [--rows 300] [--files 3]

Makes feature files of drawn rows in four classes, runs six measurements of each in one bench without maps,
and counts. "outside" is the wall time that is neither in a clustering nor in a probe: planning, the journal,
leaderboards, and the imports of all of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import embedkit
from embedkit.files import store
from embedkit.files.results import Result
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from embedkit.workflows import bench_run
from embedkit.workflows.bench_run import Running
from embedkit.workflows.step import Step

CLUSTERINGS = ("kmeans", "agglomerative", "gmm")
PROBES = ("linear", "knn", "nearest-centroid")


def watch(owner: Any, name: str, seen: Callable[..., Any]) -> None:
    real = getattr(owner, name)

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen(*args)
        return real(*args, **kwargs)

    setattr(owner, name, watched)


def time_steps(seconds: dict[str, float]) -> None:
    real = Running.measure

    def measured(self: Running, step: Step, file: FeatureFile) -> None:
        start = time.perf_counter()
        real(self, step, file)
        seconds["measuring"] += time.perf_counter() - start

    Running.measure = measured  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--files", type=int, default=3)
    args = parser.parse_args()
    counts: Counter[str] = Counter()
    seconds: dict[str, float] = defaultdict(float)
    watch(FeatureFile, "__init__", lambda _, path: counts.update([f"opened {Path(path).name}"]))
    for module in (store, bench_run):
        watch(module, "file_sha256", lambda path: counts.update([f"hashed {Path(path).name}"]))
    watch(Result, "from_json", lambda *_: counts.update(["result lines parsed"]))
    time_steps(seconds)
    rng = np.random.default_rng(0)
    labels = np.arange(args.rows) % 4
    rows = Rows(np.array([f"row {i}" for i in range(args.rows)]), labels, tuple("abcd"))
    with tempfile.TemporaryDirectory() as folder:
        files = [
            write_features(Path(folder) / f"{i}.h5", rng.normal(size=(args.rows, 64)) + labels[:, None], rows)
            for i in range(args.files)
        ]
        start = time.perf_counter()
        found = embedkit.bench(
            None,
            feature_files=files,
            clusterings=CLUSTERINGS,
            probes=PROBES,
            reports=False,
            output=Path(folder) / "out",
        )
        seconds["all"] = time.perf_counter() - start
    seconds["outside"] = seconds["all"] - seconds["measuring"]
    print(json.dumps({"measurements": len(found.results), **counts, **seconds}, indent=1))


if __name__ == "__main__":
    main()
