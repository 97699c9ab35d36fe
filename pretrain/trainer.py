"""The training loop."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit import console
from embedkit.backbones.load import Backbone
from embedkit.computing.device import choose_device
from embedkit.errors import EmbedkitError, UsageError
from pretrain import ranks
from pretrain.adapters import key_masks
from pretrain.batches import Batch, Batches
from pretrain.build import build_objective
from pretrain.choice import best, looks, out_of_patience
from pretrain.held_out import HeldOut
from pretrain.journal import CHECKPOINT, describe, read_checkpoint, taken_up, write_checkpoint, write_log
from pretrain.monitors import check_collapse
from pretrain.options import PretrainOptions
from pretrain.schedules import cosine
from pretrain.sharding import load, load_optimiser, whole
from pretrain.trainable import set_training
from pretrain.views import Frames


@dataclass(frozen=True)
class Trained:
    """A finished run: the model that was looked at (the teacher, if any), two of its states, its log.

    `states` holds "chosen", after the epoch that `pretrain.choice.best` names, and "last".
    """

    model: Any
    states: dict[str, dict[str, torch.Tensor]]
    log: tuple[dict[str, float], ...]

    def load(self, which: str) -> Any:
        """Put a state into the one model, and return that."""
        self.model.load_state_dict(self.states[which])
        return self.model.eval()


class Run:
    """One training run: what it learns from, what it learns by, and how far it is.

    Parameters
    ----------
    pixels : (n, 3, h, h) uint8
        From `pretrain.cache.read_frames`.
    folder
        For the checkpoint and the log.
    labels : (n,) int64, optional
        For the kNN accuracy of the held-out rows in the log, and for nothing else; -1 is no label.
    """

    def __init__(
        self,
        backbone: Backbone,
        pixels: torch.Tensor,
        options: PretrainOptions,
        folder: Path,
        *,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        if len(pixels) - options.held_out < options.batch_size:
            raise UsageError(
                f"{len(pixels)} images are too few for --held-out {options.held_out} and --batch-size "
                f"{options.batch_size}. Lower one of them."
            )
        _check_processes(options)
        self.options, self.folder = options, folder
        self.asked = describe(options) | {"preprocessing": backbone.preprocessing.record(), "n": len(pixels)}
        device = choose_device(options.device)
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(options.seed))
        self.batches = Batches(
            Frames.measure(pixels, backbone.preprocessing.image_size),
            order[options.held_out :],
            options,
            backbone.preprocessing,
            device=device,
            share=(ranks.rank(), ranks.world()),
        )
        self.held_out = HeldOut(self.batches, order[: options.held_out], labels)
        self.steps = self.batches.steps_per_epoch * options.epochs
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
        groups = [
            {"params": [p for p in self.parameters if p.ndim > 1], "decay": 1.0},
            {"params": [p for p in self.parameters if p.ndim <= 1], "decay": 0.0},
        ]
        fused = device.type in ("cpu", "cuda")
        self.optimiser = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=options.peak_lr, fused=fused
        )
        self.step = 0
        self.log: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}

    def train(self) -> Trained:
        """Run to the last step or out of patience, from the checkpoint if there is one."""
        self._resume()
        if self._done():  # killed after the last epoch, or called again: what is kept is written anew
            console.note(f"{self.folder / CHECKPOINT}: has its {self.step} steps done already.")
            check_collapse(looks(self.log)[-1], self.log[0])
            return self._trained()
        if not self.log:
            self._note({"epoch": 0, **self.look()})
        with console.progress("train", self.steps, unit="steps") as advance:
            advance(self.step)
            total, started = 0.0, time.perf_counter()
            for batch in self.batches.ahead(self.step, self.steps):
                total += self.update(batch)
                self.step += 1
                advance()
                if self.step % self.batches.steps_per_epoch == 0:
                    self._end_epoch(total / self.batches.steps_per_epoch, time.perf_counter() - started)
                    if self._done():
                        break
                    total, started = 0.0, time.perf_counter()
        if self.step < self.steps:
            console.note(f"Stopped early: {self.options.patience} looks without a better epoch (--patience).")
        return self._trained()

    def _trained(self) -> Trained:
        states = {"chosen": self.best, "last": self._evaluated()}
        return Trained(self.objective.plain or self.objective.evaluated, states, tuple(self.log))

    def update(self, batch: Batch) -> float:
        """Take one step, and return its loss."""
        options, objective = self.options, self.objective
        torch.manual_seed(options.seed * 1_000_003 + self.step)  # for dropout and its like
        self._set_rates()
        set_training(objective.student)
        objective.head.train()
        targets = objective.begin(batch, self.step)
        self.optimiser.zero_grad()
        total = torch.zeros((), device=self.batches.device)
        for part in torch.arange(len(batch.views[0])).chunk(options.accumulate):
            own, small, answers = ([x[part] for x in xs] for xs in (batch.views, batch.small, targets))
            loss = objective.loss(Batch(own, small), answers) / options.accumulate
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        if not options.fsdp:  # sharded gradients are means already
            ranks.average([p.grad for p in self.parameters if p.grad is not None])
        ranks.average([total])
        if not torch.isfinite(total):
            raise EmbedkitError(f"the loss is {float(total)} at step {self.step}. Lower --lr.")
        objective.adjust(self.step)
        for parameter, mask in self.keys:
            parameter.grad *= mask  # type: ignore[operator]
        torch.nn.utils.clip_grad_norm_(self.parameters, options.clip_grad)
        self.optimiser.step()
        objective.end(self.step)
        return float(total)

    def _set_rates(self) -> None:
        options = self.options
        warmup = min(self.batches.steps_per_epoch, self.steps // 5)
        lr = cosine(self.step, self.steps, options.peak_lr, options.peak_lr / 100, warmup=warmup)
        decay = options.weight_decay
        if options.distils:
            decay = cosine(self.step, self.steps, decay, 10 * decay)
        for group in self.optimiser.param_groups:
            group["lr"], group["weight_decay"] = lr, decay * group["decay"]

    def look(self) -> dict[str, float]:
        """Look at the held-out images."""
        return ranks.agreed(self.held_out.look(self.objective, self.step))

    def _done(self) -> bool:
        epochs, rest = divmod(self.step, self.batches.steps_per_epoch)
        return epochs >= self.options.epochs or (
            rest == 0 and out_of_patience(self.log, self.options.patience)
        )

    def _end_epoch(self, loss: float, seconds: float) -> None:
        epoch = self.step // self.batches.steps_per_epoch
        look = epoch % self.options.monitor_every == 0 or epoch == self.options.epochs
        seen = self.look() if look else {}
        self._note({"epoch": epoch, "loss": loss, "seconds": round(seconds, 2), **seen})
        if look and best(self.log) is self.log[-1]:
            self.best = self._evaluated()
        self._write()
        if look:
            check_collapse(seen, self.log[0])

    def _note(self, row: dict[str, float]) -> None:
        self.log.append(row)
        console.note(", ".join(f"{name} {value:.4g}" for name, value in row.items()))

    def _write(self) -> None:
        state: dict[str, Any] = {
            name: whole(module.state_dict()) for name, module in self.objective.modules().items()
        }
        state |= {"optimiser": whole(self.optimiser.state_dict()), "step": self.step, "log": self.log}
        if ranks.rank() == 0:
            write_checkpoint(self.folder, state | {"best": self.best, "asked": self.asked})
            write_log(self.folder, self.log)

    def _evaluated(self) -> dict[str, torch.Tensor]:
        state = whole(self.objective.evaluated.state_dict())
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def _resume(self) -> None:
        state = read_checkpoint(self.folder, self.asked)
        if state is None:
            return
        with taken_up(self.folder):
            for name, module in self.objective.modules().items():
                load(module, state[name])
            load_optimiser(self.optimiser, state["optimiser"])
        self.step, self.log, self.best = state["step"], state["log"], state["best"]
        if ranks.rank() == 0:  # a kill after the checkpoint, and before its log
            write_log(self.folder, self.log)
        if not self._done():
            console.note(f"Going on after step {self.step} of {self.steps}.")


def _check_processes(options: PretrainOptions) -> None:
    n = ranks.world()
    if options.fsdp and n == 1:
        raise UsageError("--fsdp spreads a model over processes. Start several with torchrun.")
    if options.batch_size % (n * options.accumulate):
        raise UsageError(
            f"--batch-size {options.batch_size} does not divide into equal parts for {n} processes and "
            f"--accumulate {options.accumulate}."
        )
