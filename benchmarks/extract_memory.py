"""Peak memory of extraction against the number of rows: it must not grow.

    python benchmarks/extract_memory.py FOLDER [--rows 2000 6000] [--backbone pixels:32]

Each size runs as its own process; the figure is the operating system's peak resident set of that process.
With fewer files than rows, the folder's files are linked under new names.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path


def peak_mib(folder: Path, output: Path, options: list[str]) -> float:
    """Run `embedkit extract` as a child; returns its peak resident set in MiB."""
    command = [sys.executable, "-m", "embedkit.cli", "extract", str(folder), "-o", str(output), *options]
    pid = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid
    _, status, usage = os.wait4(pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    assert isinstance(usage, resource.struct_rusage)
    return usage.ru_maxrss / (1024 if sys.platform == "linux" else 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[2000, 6000])
    parser.add_argument("--backbone", default="test_vit")
    parser.add_argument("--views", default="1")
    args = parser.parse_args()
    files = sorted(file for file in args.folder.rglob("*") if file.suffix in (".jpg", ".jpeg", ".png"))
    weights = [] if args.backbone.startswith("pixels") else ["--random-init", "0"]
    peaks = []
    with tempfile.TemporaryDirectory() as scratch:
        for rows in args.rows:
            images = Path(scratch) / f"images{rows}"
            images.mkdir()
            for i in range(rows):
                source = files[i % len(files)].resolve()
                try:
                    os.link(source, images / f"{i:08d}{source.suffix}")
                except OSError:  # another file system
                    (images / f"{i:08d}{source.suffix}").write_bytes(source.read_bytes())
            options = ["--backbone", args.backbone, *weights, "--views", args.views]
            peaks.append(peak_mib(images, Path(scratch) / f"{rows}.h5", options))
            print(f"{rows:8d} rows: peak {peaks[-1]:8.1f} MiB", flush=True)
    print(f"largest / smallest peak: {max(peaks) / min(peaks):.3f}")


if __name__ == "__main__":
    main()
