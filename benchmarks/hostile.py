"""Damaged and hostile files by the thousand: what falls, in a table.

python benchmarks/hostile.py [--n 20000] [--row NAME] [--seed 0] [--workers 2] [--keep FOLDER]

Draws cases for every row of `tests.hostile.rows`, runs each in a forked child of a warm process, under
limits of time and memory and without a network, and counts tracebacks, hangs, requests, executed code, wrong
files and raw control characters on the terminal. The same seed draws the same cases. What fell is written to
``faults.jsonl`` in the folder that is kept, with the number that draws it again.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.hostile.case import KINDS
from tests.hostile.judge import judged
from tests.hostile.rows import ROWS
from tests.hostile.server import Server


def work(number: int, keep: Path, plan: list[tuple[str, int]], seed: int) -> None:
    """Run this process's share of the cases; write what fell as it falls."""
    server = Server(keep / "world")
    with (keep / f"faults-{number}.jsonl").open("w", encoding="utf-8") as stream:
        for row, case_number in plan:
            folder = keep / f"case-{number}"
            started = time.monotonic()
            drawn = random.Random(f"{seed} {row} {case_number}")
            case, faults = judged(server, ROWS[row], drawn, folder, keep / "world" / "sound")
            record: dict[str, Any] = {"row": row, "case": case_number, "seconds": time.monotonic() - started}
            if faults:
                record |= {"what": case.what, "faults": [vars(fault) for fault in faults]}
            stream.write(json.dumps(record) + "\n")
            stream.flush()
    server.close()


def table(keep: Path) -> str:
    """Return the counts of all that was run."""
    cases: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    fell: Counter[tuple[str, str]] = Counter()
    for path in keep.glob("faults-*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            cases[record["row"]] += 1
            seconds[record["row"]] += record["seconds"]
            fell.update(
                (record["row"], kind) for kind in {fault["kind"] for fault in record.get("faults", ())}
            )
    titles = ("tracebacks", "hangs", "requests", "executed", "wrong files", "raw on the terminal")
    lines = [f"| row | cases | {' | '.join(titles)} | s a case |", "|---|" + "---:|" * 8]
    for row in [row for row in ROWS if cases[row]]:
        counts = " | ".join(str(fell[row, kind]) for kind in KINDS)
        lines.append(f"| {row} | {cases[row]:,} | {counts} | {seconds[row] / cases[row]:.2f} |")
    sums = " | ".join(str(sum(fell[row, kind] for row in ROWS)) for kind in KINDS)
    lines.append(f"| all | {cases.total():,} | {sums} | {seconds.total() / max(1, cases.total()):.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=20000, help="cases in all")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each row")
    parser.add_argument("--row", action="append", help="part of a row's name; all without")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for the files and what fell")
    args = parser.parse_args()
    rows = [row for row in ROWS if not args.row or any(part in row for part in args.row)]
    each = -(-args.n // len(rows))
    plan = [(row, number) for number in range(args.first, args.first + each) for row in rows]
    keep = args.keep or Path(tempfile.mkdtemp(prefix="hostile-"))
    keep.mkdir(parents=True, exist_ok=True)
    for old in keep.glob("faults-*.jsonl"):
        old.unlink()
    Server(keep / "world").close()  # makes the world, once
    started = time.monotonic()
    context = get_context("spawn")
    shares = [plan[number :: args.workers] for number in range(args.workers)]
    processes = [
        context.Process(target=work, args=(number, keep, share, args.seed))
        for number, share in enumerate(shares)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    print(table(keep))
    print(f"\n{time.monotonic() - started:.0f} s, seed {args.seed}; what fell: {keep}/faults-*.jsonl")
    if args.keep is None and all(process.exitcode == 0 for process in processes):
        for number in range(args.workers):
            shutil.rmtree(keep / f"case-{number}", ignore_errors=True)


if __name__ == "__main__":
    main()
