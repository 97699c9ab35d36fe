"""The task of `embedkit pretrain`: a backbone learns from views of images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.backbones.load import Backbone
from embedkit.computing.device import choose_device
from embedkit.errors import UsageError
from pretrain import ranks
from pretrain.adapters import key_masks
from pretrain.batches import ViewBatches
from pretrain.build import build_objective
from pretrain.choice import best, looks, out_of_patience
from pretrain.held_out import HeldOut
from pretrain.journal import as_today, describe
from pretrain.monitors import check_collapse
from pretrain.options import PretrainOptions
from pretrain.schedules import cosine, warmup_steps
from pretrain.task import Log, Task
from pretrain.views import Frames


class WithoutLabels(Task):
    """What one run without labels trains.

    Parameters
    ----------
    pixels : (n, 3, h, h) uint8
        From `pretrain.cache.read_frames`.
    labels : (n,) int64, optional
        For the kNN accuracy of the held-out rows in the log, and for nothing else; -1 is no label.
    """

    def __init__(
        self,
        backbone: Backbone,
        pixels: torch.Tensor,
        options: PretrainOptions,
        *,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        if len(pixels) - options.held_out < options.at_a_time:
            raise UsageError(
                f"{len(pixels)} images are too few for --held-out {options.held_out} and --batch-size "
                f"{options.at_a_time}: as many are kept for watching, and the others must fill a batch. "
                f"Give --held-out {len(pixels) // 4}"
                + (
                    f" --batch-size {len(pixels) // 4}."
                    if len(pixels) - len(pixels) // 4 < options.at_a_time
                    else "."
                )
            )
        _check_processes(options)
        self.options = options
        self.seed, self.accumulate, self.clip_grad = options.seed, options.accumulate, options.clip_grad
        self.fsdp, self.look_every = options.fsdp, options.monitor_every
        self.why_enough = f"{options.patience} looks without a better epoch (--patience)"
        self.asked = describe(options) | {"preprocessing": backbone.preprocessing.record(), "n": len(pixels)}
        device = choose_device(options.device)
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(options.seed))
        self.batches: ViewBatches = ViewBatches(
            Frames.measure(pixels, backbone.preprocessing.image_size).near(device),
            order[options.held_out :],
            options,
            backbone.preprocessing,
            device=device,
            share=(ranks.rank(), ranks.world()),
        )
        self.held_out = HeldOut(self.batches, order[: options.held_out], labels)
        of_epoch = self.batches.steps_per_epoch
        self.ends = range(of_epoch, of_epoch * options.passes + 1, of_epoch)
        self.steps = self.ends[-1]
        self.objective = build_objective(backbone, options, device, steps=self.steps)
        if options.fsdp:
            self.objective.shard()
        self.keys = key_masks(self.objective.student) if options.lora_targets == "qv" else []
        self.parameters = [
            p
            for module in (self.objective.student, self.objective.head)
            for p in module.parameters()
            if p.requires_grad
        ]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.parameters if p.ndim > 1], "decay": 1.0},
            {"params": [p for p in self.parameters if p.ndim <= 1], "decay": 0.0},
        ]
        fused = device.type in ("cpu", "cuda")
        self.optimiser = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=options.peak_lr, fused=fused
        )

    def as_today(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what an older checkpoint was asked, in the words of today."""
        return as_today(asked)

    def set_rates(self, step: int, log: Log) -> None:  # noqa: ARG002
        """Follow half a cosine, after a warm-up; the decay of a distillation rises."""
        options = self.options
        warmup = warmup_steps(self.batches.steps_per_epoch, self.steps)
        lr = cosine(step, self.steps, options.peak_lr, options.peak_lr / 100, warmup=warmup)
        decay = options.weight_decay
        if options.distils:
            decay = cosine(step, self.steps, decay, 10 * decay)
        for group in self.optimiser.param_groups:
            group["lr"], group["weight_decay"] = lr, decay * group["decay"]

    def look(self, step: int) -> dict[str, float]:
        """Look at the held-out images."""
        return self.held_out.look(self.objective, step)

    def best(self, log: Log) -> dict[str, float] | None:
        """Return the epoch of the highest criterion."""
        return best(log)

    def enough(self, log: Log) -> bool:
        """Whether the last looks brought nothing better."""
        return out_of_patience(log, self.options.patience)

    def check(self, log: Log) -> None:
        """Stop a collapse."""
        check_collapse(looks(log)[-1], log[0])

    def adjust_gradients(self) -> None:
        """Leave the keys as they are, where only queries and values are adapted."""
        for parameter, mask in self.keys:
            parameter.grad *= mask  # type: ignore[operator]


def _check_processes(options: PretrainOptions) -> None:
    n = ranks.world()
    ranks.check_several(options.fsdp)
    if options.at_a_time % (n * options.accumulate):
        raise UsageError(
            f"--batch-size {options.at_a_time} does not divide into equal parts for {n} processes and "
            f"--accumulate {options.accumulate}."
        )
