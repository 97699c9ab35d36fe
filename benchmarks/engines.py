"""Extraction by one process against two, under torchrun and on a Ray cluster, and what memory each takes.

    python benchmarks/engines.py --n 20000
    python benchmarks/engines.py --n 5000 20000 --backbone pixels:32

Everything runs on two cores, in turns within one run, and what counts are ratios. The single process computes
on one core with one thread; two processes on both. Images/s are while images are computed, `whole` is over
the command from its start to its end, with imports and, for Ray, a cluster that is started and ended for it.
`peak` is the most memory of all processes together (proportional set size, Linux), without Ray's own servers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {
    "one process": [],
    "torchrun, 2": ["--engine", "torchrun", "--processes", "2"],
    "ray, 1": ["--engine", "ray", "--processes", "1"],
    "ray, 2": ["--engine", "ray", "--processes", "2"],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[20_000], help="images")
    parser.add_argument("--size", type=int, default=64, help="pixels a side")
    parser.add_argument("--backbone", default="embedkit-galaxy")
    parser.add_argument("--repeats", type=int, default=1, help="turns, of which the best counts")
    args = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {args.backbone}, {args.size} px")
    for n in args.n:
        found: dict[str, dict[str, float]] = {}
        for _ in range(args.repeats):
            for way, engine in WAYS.items():
                measured = measure(n, args.size, args.backbone, engine)
                if way not in found or measured["rate"] > found[way]["rate"]:
                    found[way] = measured
        alone = found["one process"]
        print(f"\n{n:,} images     images/s    x one    whole s    x one   peak MiB")
        for way, one in found.items():
            print(
                f"{way:16} {one['rate']:10.1f} {one['rate'] / alone['rate']:8.2f} {one['whole']:10.1f} "
                f"{one['whole'] / alone['whole']:8.2f} {one['peak']:10.0f}"
            )


def measure(n: int, size: int, backbone: str, engine: list[str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        words = ["extract", "simulated", "--n", str(n), "--size", str(size), "--backbone", backbone]
        words += [
            "--precision",
            "fp32",
            "--device",
            "cpu",
            "--json",
            "-o",
            str(Path(folder) / "f.h5"),
            *engine,
        ]
        environment = dict(os.environ)
        environment.pop("OMP_NUM_THREADS", None)
        environment["RAY_worker_niceness"] = "0"  # else Ray's processes stand back behind whatever else runs
        if not engine:  # one thread that computes, and one that decodes, on one core
            environment["OMP_NUM_THREADS"] = "1"
            words += ["--workers", "1"]
        # One process has one core, so that the ratio to two is by core; a cluster brings its own servers.
        pin = ["taskset", "-c", "0"] if not engine else []
        command = [*pin, sys.executable, "-m", "embedkit.cli", *words]
        began = time.perf_counter()
        with (Path(folder) / "said").open("w+b") as said:
            process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.DEVNULL)
            peak = 0.0
            while process.poll() is None:
                peak = max(peak, memory(process.pid))
                time.sleep(0.5)
            whole = time.perf_counter() - began
            said.seek(0)
            rate = json.loads(said.read())["images_per_second"]
        return {"rate": rate, "whole": whole, "peak": peak}


def memory(pid: int) -> float:
    """MiB of a process and all below it that compute."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    below = {pid}
    for _ in range(8):
        below |= {child for child, parent in parents.items() if parent in below}
    total = 0.0
    for one in below:
        try:
            command = Path(f"/proc/{one}/cmdline").read_bytes()
            if one != pid and b"torchrun_rank" not in command and b"ray::Hand" not in command:
                continue
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
        except OSError:
            continue
    return total


if __name__ == "__main__":
    main()
