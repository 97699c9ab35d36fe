"""What random views cost over the forward passes that they need.

    python benchmarks/views.py [--n 192] [--rounds 3] [--backbone vit_tiny_patch16_224] [--views 4 12]
    python benchmarks/views.py --many

In each round, in turn: forward passes of blank batches, and `embedkit extract --views galaxy:V` of simulated
galaxies of 256 x 256, with as many passes. Prints images/s, and how much longer the extraction took: on the
clock, and in seconds of all cores together, which a loaded machine disturbs less. Reading, decoding, resizing
and drawing are all in it. `--many` draws views as a process does that has drawn 3,000: compiled, with equal
pixels.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from embedkit.backbones.options import BackboneSpec
from embedkit.computing.device import describe_device
from embedkit.datasets.load import load_dataset
from embedkit.datasets.simulated import SimulatedImages
from embedkit.extraction.extract import extract
from embedkit.extraction.job import Job, forward, model_in
from embedkit.extraction.options import ExtractOptions
from embedkit.images import views as drawing


def spent(compute: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock, and of all cores."""
    clock, cores = time.perf_counter(), time.process_time()
    compute()
    return time.perf_counter() - clock, time.process_time() - cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=192, help="forward passes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="vit_tiny_patch16_224")
    parser.add_argument("--views", type=int, nargs="+", default=[4, 12])
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--many", action="store_true", help="compiled views from the first on")
    args = parser.parse_args()
    batch_size = ExtractOptions().batch_size
    if args.n < 1 or args.n % batch_size:
        parser.error(f"--n {args.n}: passes go in batches of {batch_size}. Give a multiple of it.")
    if args.many:
        drawing.COMPILED_FROM = 0
    spec = BackboneSpec(args.backbone, random_init=0)
    with tempfile.TemporaryDirectory() as name:
        images = SimulatedImages(256, 0)
        np.save(Path(name) / "images.npy", np.stack([images.read(row) for row in range(args.n // 2)]))
        source = load_dataset(str(Path(name) / "images.npy"))
        plain = ExtractOptions(precision=args.precision, overwrite=True)
        job = Job.plan(source, spec, plain)
        job = replace(job, backbone=model_in(job.backbone, args.precision, job.device))
        size = job.backbone.preprocessing.image_size
        batch = torch.zeros(plain.batch_size, size, size, 3, dtype=torch.uint8)

        def alone() -> None:
            for _ in range(args.n // plain.batch_size):
                forward(job, batch, args.precision).sum().item()

        print(f"{args.n} passes of {args.backbone} in {args.precision}, {describe_device(job.device)}")
        alone()
        for v in args.views:
            options = replace(plain, views=f"galaxy:{v}", limit=args.n // v)
            found = []
            for _ in range(args.rounds):
                bare = spent(alone)
                once = partial(extract, source, Path(name) / "f.h5", backbone=spec, options=options)
                took = spent(once)
                done = once()
                found.append(
                    (done.images_per_second, args.n / v / bare[0], took[1] / bare[1], took[0] / bare[0])
                )
            ours, bare_rate, cores, _ = (statistics.median(x) for x in zip(*found, strict=True))
            print(
                f"galaxy:{v:<3d} {ours:7.2f} images/s of {bare_rate:7.2f}: {bare_rate / ours - 1:+.1%} on "
                f"the clock, {cores - 1:+.1%} of all cores (loading the model among it)"
            )


if __name__ == "__main__":
    main()
