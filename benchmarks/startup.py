"""CPU seconds of `embedkit --help` and of `import embedkit` beyond `python -c pass`.

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
    commands = {
        "embedkit --help": [str(Path(sys.executable).with_name("embedkit")), "--help"],
        "import embedkit": [sys.executable, "-c", "import embedkit"],
    }
    bare = [sys.executable, "-c", "pass"]
    for name, command in commands.items():
        pairs = [(cpu_seconds(command), cpu_seconds(bare)) for _ in range(args.rounds)]
        mine, nothing = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        more = mine - nothing
        print(f"{name} {mine:.3f} s, python -c pass {nothing:.3f} s of CPU; more by {more:.3f} s")


if __name__ == "__main__":
    main()
