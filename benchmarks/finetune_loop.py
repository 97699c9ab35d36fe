"""The loop of `embedkit finetune` beside a bare forward and backward pass of the same batch.

    python benchmarks/finetune_loop.py [--recipe vit-tiny-finetune] [--batch-size 32] [--steps 12]

Prints images/s of both, their ratio, and how long a batch takes to be drawn, which the loop does one ahead in
a thread. Random images and weights: what they show has no say in it. Steps of the two stand in turn.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from embedkit.backbones.load import load_backbone
from embedkit.backbones.network import Network, build_network
from embedkit.backbones.options import BackboneSpec
from embedkit.computing.device import choose_device, describe_device
from embedkit.scoring.splits import Split
from pretrain.finetune.options import FinetuneOptions
from pretrain.finetune.recipe import read_recipe
from pretrain.finetune.training import Lesson, PhaseTask
from pretrain.finetune.truth import Truth
from pretrain.trainer import Run
from pretrain.views import Frames

CLASSES = tuple(f"class {i}" for i in range(10))


def lesson(name: str, batch_size: int, steps: int, device: str) -> tuple[Lesson, Network]:
    """Return random images to learn from, and the network of a recipe with random weights."""
    recipe = replace(read_recipe(name), batch_plan=str(batch_size))
    options = FinetuneOptions(recipe=name, device=device, phase_epochs=(steps,) * len(recipe.phases))
    backbone = load_backbone(BackboneSpec(recipe.backbone, random_init=0, preprocessing=recipe.overrides()))
    own = backbone.preprocessing
    n, side = 5 * batch_size, int(1.6 * own.image_size)
    pixels = torch.randint(0, 255, (n, 3, side, side), dtype=torch.uint8)
    none = torch.zeros(n, 3)
    y = np.arange(n) % len(CLASSES)
    rows = np.arange(n)
    split = Split("random", rows[batch_size:], rows[1:batch_size], rows[:1])
    made = Lesson(
        backbone.name,
        recipe,
        options,
        Frames(pixels, own.image_size, none, none),
        own,
        np.array([str(row) for row in rows]),
        Truth(CLASSES, y, y, {}),
        split,
        choose_device(device),
        asked={},
    )
    return made, build_network(backbone, len(CLASSES), recipe.head, seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", default="vit-tiny-finetune")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    made, network = lesson(args.recipe, args.batch_size, args.steps, args.device)
    where = f"{describe_device(made.device)}, torch {torch.__version__}"
    print(f"{args.recipe}, {where}, batches of {args.batch_size}")
    task = PhaseTask(network, made, 0, Path())
    run = Run(task, Path())
    bare, loop, drawing = [], [], []
    batches = task.batches.ahead(0, args.steps + 1)
    kept = next(batches)
    for step in range(args.steps):
        start = clock()
        loss = run.objective.loss(kept, run.objective.begin(kept, step))
        loss.backward()  # type: ignore[no-untyped-call]
        run.optimiser.zero_grad()
        bare.append(clock() - start)
        start = clock()
        run.update(next(batches))
        run.step += 1
        loop.append(clock() - start)
        start = clock()
        task.batches.make(step)
        drawing.append(clock() - start)
    rates = [args.batch_size / median(seconds[1:]) for seconds in (bare, loop)]
    share = median(drawing[1:]) / median(loop[1:])
    ratio, drawn = rates[1] / rates[0], f"{median(drawing[1:]) * 1000:.0f} ms, {share:.1%} of a step"
    print(
        f"bare {rates[0]:.1f} images/s, loop {rates[1]:.1f}, ratio {ratio:.3f}; a batch is drawn in {drawn}"
    )


def clock() -> float:
    """Return the time once the device has nothing left to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
