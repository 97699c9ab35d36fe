"""CPU seconds of `embedkit --help` beyond `python -c pass`.

python benchmarks/startup.py [--rounds 11]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path


def cpu_seconds(command: list[str]) -> float:
    pid = subprocess.Popen(command, stdout=subprocess.DEVNULL).pid
    _, _, usage = os.wait4(pid, 0)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    embedkit = str(Path(sys.executable).with_name("embedkit"))
    pairs = [
        (cpu_seconds([embedkit, "--help"]), cpu_seconds([sys.executable, "-c", "pass"]))
        for _ in range(args.rounds)
    ]
    help_, bare = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    print(f"embedkit --help {help_:.3f} s, python -c pass {bare:.3f} s of CPU; more by {help_ - bare:.3f} s")


if __name__ == "__main__":
    main()
