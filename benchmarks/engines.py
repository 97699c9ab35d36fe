"""Extraction by one process against two, under torchrun and on a Ray cluster, and what memory each takes.

    python benchmarks/engines.py --n 20000
    python benchmarks/engines.py --n 5000 20000 --backbone pixels:32

Everything runs on two cores, in turns within one run, and what counts are ratios. A single process computes
once on one core with one thread, and once at its defaults on both; two processes on both. A part is 2,048
rows, so with few parts one of two processes waits for the other. Images/s are while images are computed,
`whole` is over the command from its start to its end, with imports and, for Ray, a cluster that is started
and ended for it. `cpu` is what the processes that compute took of the processor for an image, imports among
it: other programs disturb it less. `peak` is the most memory of all processes together (proportional set
size, Linux), without Ray's own servers. First comes what `--plan` says of the single process, to hold
against what it then takes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

WAYS = {
    "one, one core": [],
    "one, two cores": ["--engine", "local"],
    "torchrun, 2": ["--engine", "torchrun", "--processes", "2"],
    "ray, 2": ["--engine", "ray", "--processes", "2"],
}
# Looking at the memory of a process holds it up a little.
EVERY = 2.0  # seconds


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
        with started(n, args.size, args.backbone, [], "--plan") as (process, said):
            process.wait()
            said.seek(0)
            plan = json.loads(said.read())
        found: dict[str, dict[str, float]] = {}
        for _ in range(args.repeats):
            for way, engine in WAYS.items():
                measured = measure(n, args.size, args.backbone, engine)
                if way not in found or measured["rate"] > found[way]["rate"]:
                    found[way] = measured
        alone = found["one, one core"]
        print(
            f"\n{n:,} images: --plan says {plan['images/s']} images/s and {plan['hours'] * 3600:.0f} seconds"
        )
        print(f"{'':16}   images/s    x one    whole s    x one     cpu ms    x one   peak MiB")
        for way, one in found.items():
            print(
                f"{way:16} {one['rate']:10.1f} {one['rate'] / alone['rate']:8.2f} {one['whole']:10.1f} "
                f"{one['whole'] / alone['whole']:8.2f} {one['cpu']:10.2f} {one['cpu'] / alone['cpu']:8.2f} "
                f"{one['peak']:10.0f}",
                flush=True,
            )


@contextmanager
def started(
    n: int, size: int, backbone: str, engine: list[str], *more: str
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Start an extraction; yields it, and what it says."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        words = ["extract", "simulated", "--n", str(n), "--size", str(size), "--backbone", backbone]
        words += ["--precision", "fp32", "--device", "cpu", "--json", "-o", str(Path(folder) / "f.h5")]
        environment = dict(os.environ)
        environment.pop("OMP_NUM_THREADS", None)
        environment["RAY_worker_niceness"] = "0"  # else Ray's processes stand back behind whatever else runs
        if not engine:  # one thread that computes, and one that decodes, on one core
            environment["OMP_NUM_THREADS"] = "1"
            words += ["--workers", "1"]
        # One process has one core, so that the ratio to two is by core; a cluster brings its own servers.
        pin = ["taskset", "-c", "0"] if not engine else []
        command = [*pin, sys.executable, "-m", "embedkit.cli", *words, *engine, *more]
        yield subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.DEVNULL), said


def measure(n: int, size: int, backbone: str, engine: list[str]) -> dict[str, float]:
    began = time.perf_counter()
    with started(n, size, backbone, engine) as (process, said):
        peak, seconds = 0.0, dict[int, float]()
        while process.poll() is None:
            now, spent = looked_at(process.pid)
            peak, seconds = max(peak, now), seconds | spent
            time.sleep(EVERY)
        whole = time.perf_counter() - began
        said.seek(0)
        rate = json.loads(said.read())["images_per_second"]
    return {"rate": rate, "whole": whole, "peak": peak, "cpu": 1000 * sum(seconds.values()) / n}


def looked_at(pid: int) -> tuple[float, dict[int, float]]:
    """MiB of a process and all below it that compute, and the processor seconds of each so far."""
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
    total, seconds, tick = 0.0, dict[int, float](), os.sysconf("SC_CLK_TCK")
    for one in below:
        try:
            command = Path(f"/proc/{one}/cmdline").read_bytes()
            if one != pid and b"torchrun_rank" not in command and b"ray::Hand" not in command:
                continue
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) / 1024
            stat = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            seconds[one] = (int(stat[11]) + int(stat[12])) / tick
        except OSError:
            continue
    return total, seconds


if __name__ == "__main__":
    main()
