"""Write the label file of GZ1-4, the four-class task on Galaxy Zoo 1 images that the docs report on.

    python benchmarks/gz1_4.py labels.csv gz1-4.csv

From a CSV with the columns file and label (elliptical, edge_on, spiral_cw, spiral_acw, merger, dont_know):
both spirals become one class, dont_know is dropped, and the 800 elliptical galaxies whose SHA-256 of the file
name sorts first are kept. Lintott et al. 2008, doi:10.1111/j.1365-2966.2008.13689.x.
"""

from __future__ import annotations

import argparse
import collections
import csv
import hashlib
from pathlib import Path

N_ELLIPTICAL = 800


def gz1_4(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    merged = [(file, "spiral" if label.startswith("spiral") else label) for file, label in rows]
    elliptical = sorted(
        (file for file, label in merged if label == "elliptical"),
        key=lambda file: hashlib.sha256(file.encode()).hexdigest(),
    )
    kept = set(elliptical[:N_ELLIPTICAL])
    return [
        (file, label)
        for file, label in merged
        if label != "dont_know" and (label != "elliptical" or file in kept)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    with args.labels.open(newline="", encoding="utf-8") as stream:
        rows = [(row["file"], row["label"]) for row in csv.DictReader(stream)]
    task = gz1_4(rows)
    with args.output.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("file", "label"))
        writer.writerows(task)
    print(f"{args.output}: {len(task)} galaxies, {dict(collections.Counter(label for _, label in task))}")


if __name__ == "__main__":
    main()
