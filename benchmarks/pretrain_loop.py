"""The training loop of `embedkit pretrain` against bare forward and backward on views that are in memory.

    python benchmarks/pretrain_loop.py        # ViT-Tiny dino-lora at 224 px, RegNetX-200MF vicreg at 64 px
    python benchmarks/pretrain_loop.py --steps 4 --batch-size 16

Bare: the teacher's answers, the student's forward, loss and backward of the same network and batch size.
The loop adds drawing the views (in a thread, one batch ahead), the schedules, clipping, the optimiser and
the teacher's average. Both in turns, medians of the steps; the first step of each is not counted. The look
at the held-out images, once an epoch, is timed apart and shared out over an epoch of --images.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import torch

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.computing.device import choose_device, describe_device
from embedkit.images.options import Overrides
from pretrain.options import PretrainOptions
from pretrain.trainer import Run
from pretrain.without_labels import WithoutLabels

SMALL = Overrides(image_size=64, center_crop=212)
SETTINGS = {
    "ViT-Tiny, dino-lora, 224 px and 2 crops of 64": ("vit_tiny_patch16_224", "dino-lora", Overrides(), 358),
    "RegNetX-200MF, vicreg, 64 px": ("regnetx_002", "vicreg", SMALL, 102),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--images", type=int, default=10_000, help="of an epoch")
    parser.add_argument("--held-out", type=int, default=256)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    device = choose_device(args.device)
    print(f"{describe_device(device)}, torch {torch.__version__}, batches of {args.batch_size}")
    for name, (backbone, method, preprocessing, side) in SETTINGS.items():
        model = load_backbone(BackboneSpec(backbone, random_init=0, preprocessing=preprocessing))
        n = 4 * args.batch_size + args.held_out
        pixels = torch.randint(0, 255, (n, 3, side, side), dtype=torch.uint8)
        options = PretrainOptions(
            method=method,
            batch_size=args.batch_size,
            held_out=args.held_out,
            epochs=-(-args.steps // 4) + 1,
            device=args.device,
        )
        bare, loop, look = measure(Run(WithoutLabels(model, pixels, options), Path()), args.steps)
        steps = args.images // args.batch_size
        with_look = steps * bare / (steps * loop + look)
        rates = [f"{args.batch_size / seconds:.1f} images/s" for seconds in (bare, loop)]
        print(
            f"{name}: bare {rates[0]}, loop {rates[1]}, "
            f"ratio {bare / loop:.3f}; with one look at {args.held_out} in {args.images}: {with_look:.3f}"
        )


def measure(run: Run, steps: int) -> tuple[float, float, float]:
    """Seconds of a bare step, of a step of the loop, and of a look."""
    bare, loop = [], []
    batches = run.task.batches.ahead(0, steps + 1)
    kept = next(batches)
    for _ in range(steps):
        start = clock()
        targets = run.objective.begin(kept, run.step)
        run.objective.loss(kept, targets).backward()  # type: ignore[no-untyped-call]
        run.optimiser.zero_grad()
        bare.append(clock() - start)
        start = clock()
        run.update(next(batches))
        run.step += 1
        loop.append(clock() - start)
    start = clock()
    run.look()
    return median(bare[1:]), median(loop[1:]), clock() - start


def clock() -> float:
    """Return the time once the device has nothing left to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
