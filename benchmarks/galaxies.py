"""Make ``galaxies.zip``, the galaxies that come with embedkit, from a folder of Galaxy Zoo 1.

    python benchmarks/galaxies.py FOLDER embedkit/datasets/sample/galaxies.zip

The folder holds ``labels.csv`` with the columns file and label (elliptical, edge_on, spiral_cw, spiral_acw,
merger, dont_know) and ``images/``, the middle of SDSS cutouts, named by DR7 object id. Both spirals become
one class and dont_know is dropped. Of each class those are taken whose SHA-256 of the file name sorts first:
20 mergers, and of the others 580 in their own proportions. An image is the central 128 px, as JPEG.
"""

from __future__ import annotations

import argparse
import collections
import csv
import hashlib
import io
import zipfile
from pathlib import Path

from PIL import Image

N, N_MERGERS, SIDE, QUALITY = 600, 20, 128, 90
TABLE = "galaxies.csv"


def chosen(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return file and class of the sample, by class and then by digest."""
    of: dict[str, list[str]] = collections.defaultdict(list)
    for file, label in rows:
        if label != "dont_know":
            of["spiral" if label.startswith("spiral") else label].append(file)
    rest = sum(len(files) for label, files in of.items() if label != "merger")
    sizes = {
        label: N_MERGERS if label == "merger" else round(len(files) / rest * (N - N_MERGERS))
        for label, files in of.items()
    }
    return [
        (file, label)
        for label in sorted(of)
        for file in sorted(of[label], key=lambda name: hashlib.sha256(name.encode()).hexdigest())[
            : sizes[label]
        ]
    ]


def middle(path: Path) -> bytes:
    """Return the central square of an image as JPEG."""
    with Image.open(path) as image:
        left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
        cut = image.convert("RGB").crop((left, top, left + SIDE, top + SIDE))
    stream = io.BytesIO()
    cut.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return stream.getvalue()


def main() -> None:
    """Write the archive; the same folder and Pillow give the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    with (args.folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        sample = chosen([(row["file"], row["label"]) for row in csv.DictReader(stream)])
    # In the order of the ids, so that no part of the rows is of one class.
    sample.sort(key=lambda one: Path(one[0]).stem)
    table = "id,label\n" + "".join(f"{Path(file).stem},{label}\n" for file, label in sample)
    with zipfile.ZipFile(args.output, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(TABLE), table)
        for file, _ in sample:
            archive.writestr(zipfile.ZipInfo(f"{Path(file).stem}.jpg"), middle(args.folder / "images" / file))
    counts = dict(collections.Counter(label for _, label in sample))
    print(f"{args.output}: {len(sample)} galaxies, {counts}, {args.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
