"""How many planted copies the leak check finds, and how many real images it flags.

    python benchmarks/leaks.py FOLDER --seed 0

Plants, of the images in FOLDER: 100 exact copies, and 100 each that are recompressed (JPEG at quality 50 to
90), resized (to 128 to 200 pixels, JPEG 90) and rotated by 90 degrees (JPEG 90). Pairs of two real images are
listed: some are copies that the folder itself holds.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

from probes.leaks.leaks import exact_copies, fingerprint, near_copies

N = 100


def jpeg(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def planted(kind: str, source: bytes, random: np.random.Generator) -> bytes:
    if kind == "exact":
        return source
    image = Image.open(io.BytesIO(source)).convert("RGB")
    if kind == "recompressed":
        return jpeg(image, int(random.integers(50, 91)))
    if kind == "resized":
        side = int(random.integers(128, 201))
        return jpeg(image.resize((side, side), Image.Resampling.BICUBIC), 90)
    return jpeg(image.transpose(Image.Transpose.ROTATE_90), 90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="take so many of the images, at random")
    args = parser.parse_args()
    random = np.random.default_rng(args.seed)
    paths = sorted(path for path in args.folder.iterdir() if path.is_file())
    if args.limit:
        paths = [paths[i] for i in np.sort(random.choice(len(paths), args.limit, replace=False))]
    n = len(paths)
    sources = [path.read_bytes() for path in paths]
    kinds = ("exact", "recompressed", "resized", "rotated")
    chosen = random.choice(n, N * len(kinds), replace=False)
    for place, original in enumerate(chosen):
        sources.append(planted(kinds[place // N], sources[original], random))

    start = time.perf_counter()
    prints = [fingerprint(source, "image") for source in sources]
    read = time.perf_counter() - start
    exact = exact_copies(np.array([digest for digest, _ in prints]))
    thumbnails = np.stack([thumbnail for _, thumbnail in prints])
    near = near_copies(thumbnails)
    compared = time.perf_counter() - start - read
    print(f"{len(sources):,} images: {read:.1f} s to read, {compared:.1f} s to compare")

    found = {tuple(sorted(pair)) for pair in near.tolist()}
    found_exact = {tuple(sorted(pair)) for pair in exact.tolist()}
    for number, kind in enumerate(kinds):
        pairs = found_exact if kind == "exact" else found
        own = range(number * N, (number + 1) * N)
        right = sum((int(chosen[i]), n + i) in pairs for i in own)
        print(f"{kind}: {right} of {N} found")
    real = near[(near < n).all(axis=1)]
    flagged = len(np.unique(real))
    print(f"real images flagged: {flagged} of {n:,} ({100 * flagged / n:.2f} %), in {len(real)} pairs:")
    for a, b in real:
        print(f"  {paths[a].name} {paths[b].name}")


if __name__ == "__main__":
    main()
