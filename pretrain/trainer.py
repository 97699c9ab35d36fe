"""The training loop.

Everything random depends on the seed and the number of the step alone, so a run that was killed goes on from
its last checkpoint to the very losses that it would have had.
"""

from __future__ import annotations

import csv
import os
import time
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)
from numpy.typing import NDArray

from embedkit import console
from embedkit.backbones import Backbone
from embedkit.device import choose_device, native_bf16
from embedkit.errors import EmbedkitError, UsageError
from pretrain.adapters import add_lora
from pretrain.choice import best, criterion, out_of_patience
from pretrain.curves import draw_curves
from pretrain.dino import DINOHead, DINOLoss
from pretrain.koleo import koleo_loss
from pretrain.monitors import check_collapse, feature_monitors, knn_accuracy, teacher_monitors
from pretrain.options import PretrainOptions
from pretrain.schedules import cosine, teacher_momentum
from pretrain.vicreg import expander, vicreg_loss
from pretrain.views import PRESET, make_views

TEACHER_TEMPERATURE = (0.04, 0.07)
CHECKPOINT = "checkpoint.pt"


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
    """Student, teacher, heads and optimiser of one run.

    Parameters
    ----------
    frames : (n, 3, h, h) uint8
        From `pretrain.cache.read_frames`.
    folder
        For the checkpoint and ``log.csv``.
    labels : (n,) int64, optional
        For the kNN accuracy of the held-out rows in the log, and for nothing else; -1 is no label.
    """

    def __init__(
        self,
        backbone: Backbone,
        frames: torch.Tensor,
        options: PretrainOptions,
        folder: Path,
        *,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UsageError("pretrain runs in one process. Start it without torchrun.")
        n_train = len(frames) - options.held_out
        if n_train < options.batch_size:
            raise UsageError(
                f"{len(frames)} images are too few for --held-out {options.held_out} and --batch-size "
                f"{options.batch_size}. Lower one of them."
            )
        self.options, self.folder, self.frames = options, folder, frames
        self.preprocessing = backbone.preprocessing
        self.device = choose_device(options.device)
        order = torch.randperm(len(frames), generator=torch.Generator().manual_seed(options.seed))
        self.held_out, self.rows = order[: options.held_out], order[options.held_out :]
        self.labels = None if labels is None else torch.from_numpy(labels)[self.held_out]
        if self.labels is not None and int((self.labels >= 0).sum()) < 2:
            self.labels = None
        self.steps_per_epoch = n_train // options.batch_size
        self.steps = self.steps_per_epoch * options.epochs
        self.momentum = teacher_momentum(options.momentum, self.steps)
        torch.manual_seed(options.seed)
        self.student: Any = deepcopy(backbone.model)
        if options.method == "dino-lora":
            self.student.requires_grad_(False)
            self.student = add_lora(self.student, options.lora, name=backbone.name)
        else:
            self.student.requires_grad_(True)
        self.student.to(self.device, memory_format=torch.channels_last)
        with torch.inference_mode():
            size = self.preprocessing.image_size
            d = self.student.eval()(torch.zeros(1, 3, size, size, device=self.device)).shape[1]
        self.dino = options.method != "vicreg"
        self.head: Any = DINOHead(d, options.prototypes) if self.dino else expander(d)
        self.head.to(self.device)
        self.loss = DINOLoss(options.prototypes, centering=options.centering).to(self.device)
        self.teacher = deepcopy(self.student).requires_grad_(False) if self.dino else self.student
        self.teacher_head = deepcopy(self.head).requires_grad_(False) if self.dino else self.head
        self.parameters = [p for m in (self.student, self.head) for p in m.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in self.parameters if p.ndim > 1], "decay": 1.0},
            {"params": [p for p in self.parameters if p.ndim <= 1], "decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=options.lr)
        self.step = 0
        self.log: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}

    def train(self) -> Trained:
        """Run to the last step or out of patience, from the checkpoint if there is one."""
        self._resume()
        if self._done():
            raise EmbedkitError(
                f"{self.folder / CHECKPOINT}: has its {self.step} steps done already, so nothing would "
                "train. Give another -o."
            )
        if not self.log:
            self._note({"epoch": 0, **self.monitor()})
        with console.progress("train", self.steps, unit="steps") as advance:
            advance(self.step)
            total, started = 0.0, time.perf_counter()
            while not self._done():
                total += self._update()
                self.step += 1
                advance()
                if self.step % self.steps_per_epoch == 0:
                    self._end_epoch(total / self.steps_per_epoch, time.perf_counter() - started)
                    total, started = 0.0, time.perf_counter()
        if self.step < self.steps:
            console.note(f"Stopped early: {self.options.patience} looks without a better epoch (--patience).")
        return Trained(
            self.teacher, {"chosen": self.best, "last": _copy(self.teacher.state_dict())}, tuple(self.log)
        )

    def _done(self) -> bool:
        epochs, rest = divmod(self.step, self.steps_per_epoch)
        return epochs >= self.options.epochs or (
            rest == 0 and out_of_patience(self.log, self.options.patience)
        )

    def _autocast(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=native_bf16(self.device))

    def _views(
        self, rows: torch.Tensor, generator: torch.Generator, *, size: int, local: bool = False
    ) -> torch.Tensor:
        views = make_views(
            self.frames[rows].to(self.device),
            size,
            region=self.preprocessing.image_size,
            preset=PRESET[self.options.views],
            generator=generator,
            local=local,
        )
        mean, std = (
            torch.tensor(v, device=self.device)[:, None, None] * 255
            for v in (self.preprocessing.mean, self.preprocessing.std)
        )
        return ((views - mean) / std).contiguous(memory_format=torch.channels_last)

    def _update(self) -> float:
        options, size = self.options, self.preprocessing.image_size
        epoch, position = divmod(self.step, self.steps_per_epoch)
        shuffle = torch.Generator().manual_seed(options.seed + 1_000_003 * (epoch + 1))
        order = self.rows[torch.randperm(len(self.rows), generator=shuffle)]
        rows = order[position * options.batch_size : (position + 1) * options.batch_size]
        generator = torch.Generator().manual_seed(options.seed * 1_000_003 + self.step)
        torch.manual_seed(options.seed * 1_000_003 + self.step)
        warmup = min(self.steps_per_epoch, self.steps // 5)
        lr = cosine(self.step, self.steps, options.lr, options.lr / 100, warmup=warmup)
        decay = cosine(self.step, self.steps, options.weight_decay, 10 * options.weight_decay)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
            group["weight_decay"] = (decay if self.dino else options.weight_decay) * group["decay"]
        self.student.train()
        self.head.train()
        views = [self._views(rows, generator, size=size) for _ in range(2)]
        small = [
            self._views(rows, generator, size=options.local_size, local=True)
            for _ in range(options.local_views if self.dino else 0)
        ]
        targets = self._targets(views) if self.dino else []
        self.optimiser.zero_grad()
        total = torch.zeros((), device=self.device)
        for part in torch.arange(len(rows)).chunk(options.accumulate):
            own, near, answers = ([x[part] for x in xs] for xs in (views, small, targets))
            loss = (self._dino(own, near, answers) if self.dino else self._vicreg(own)) / options.accumulate
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        if not torch.isfinite(total):
            raise EmbedkitError(f"the loss is {float(total)} at step {self.step}. Lower --lr.")
        if self.dino and epoch == 0 and options.epochs > 1:  # the last layer rests for the first epoch
            self.head.last.weight.grad = None
        torch.nn.utils.clip_grad_norm_(self.parameters, options.clip)
        self.optimiser.step()
        if self.dino:
            self._move_teacher(cosine(self.step, self.steps, self.momentum, 1.0))
        return float(total)

    def _vicreg(self, views: list[torch.Tensor]) -> torch.Tensor:
        with self._autocast():
            features = self.student(torch.cat(views)).float()
        a, b = self.head(features).chunk(2)
        return self._regularised(vicreg_loss(a, b), features)

    @torch.no_grad()
    def _targets(self, views: list[torch.Tensor]) -> list[torch.Tensor]:
        """Ask the teacher about the whole batch, since centring and Sinkhorn look at all of it."""
        logits = []
        for view in views:
            parts = []
            for part in view.chunk(self.options.accumulate):
                with self._autocast():
                    features = self.teacher(part)
                parts.append(self.teacher_head(features.float()))
            logits.append(torch.cat(parts))
        return self.loss.targets(logits, temperature=self._temperature())

    def _dino(
        self, views: list[torch.Tensor], small: list[torch.Tensor], targets: list[torch.Tensor]
    ) -> torch.Tensor:
        with self._autocast():
            features = self.student(torch.cat(views)).float()
        student = list(self.head(features).chunk(len(views)))
        if small:
            with self._autocast():
                local = self.student(torch.cat(small)).float()
            student += list(self.head(local).chunk(len(small)))
        return self._regularised(self.loss.compare(student, targets), features)

    def _regularised(self, loss: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        if not self.options.koleo:
            return loss
        return loss + self.options.koleo * sum(koleo_loss(view) for view in features.chunk(2)) / 2

    def _temperature(self) -> float:
        low, high = TEACHER_TEMPERATURE
        return low + (high - low) * min(1.0, self.step / max(1, self.steps // 3))

    @torch.no_grad()
    def _move_teacher(self, momentum: float) -> None:
        for own, other in ((self.teacher, self.student), (self.teacher_head, self.head)):
            for mine, new in zip(own.parameters(), other.parameters(), strict=True):
                if new.requires_grad:
                    mine.lerp_(new, 1 - momentum)
            for mine, new in zip(own.buffers(), other.buffers(), strict=True):
                mine.copy_(new)

    @torch.inference_mode()
    def monitor(self) -> dict[str, float]:
        """Look at two views of the held-out rows, the same ones every time."""
        generator = torch.Generator().manual_seed(self.options.seed)
        self.teacher.eval()
        features = []
        for _ in range(2):
            parts = []
            for rows in torch.split(self.held_out, self.options.batch_size):
                x = self._views(rows, generator, size=self.preprocessing.image_size)
                parts.append(self.teacher(x).float())
            features.append(torch.cat(parts))
        seen = feature_monitors(*features)
        seen["criterion"] = criterion(seen)
        if self.labels is not None:
            both = torch.stack([F.normalize(x, dim=1) for x in features]).sum(dim=0)
            seen["knn_accuracy"] = knn_accuracy(both, self.labels)
        if self.dino:
            logits = self.teacher_head.eval()(features[0])
            seen |= teacher_monitors(self.loss.answers(logits, temperature=self._temperature()))
        return seen

    def _end_epoch(self, loss: float, seconds: float) -> None:
        epoch = self.step // self.steps_per_epoch
        look = epoch % self.options.monitor_every == 0 or epoch == self.options.epochs
        seen = self.monitor() if look else {}
        self._note({"epoch": epoch, "loss": loss, "seconds": round(seconds, 2), **seen})
        if look and best(self.log) is self.log[-1]:
            self.best = _copy(self.teacher.state_dict())
        self._write()
        if look:
            check_collapse(seen)

    def _note(self, row: dict[str, float]) -> None:
        self.log.append(row)
        console.note(", ".join(f"{name} {value:.4g}" for name, value in row.items()))

    def _modules(self) -> dict[str, Any]:
        names = ("student", "head", "loss") + (("teacher", "teacher_head") if self.dino else ())
        return {name: getattr(self, name) for name in names} | {"optimiser": self.optimiser}

    def _asked(self) -> dict[str, Any]:
        return asdict(replace(self.options, device="")) | {
            "preprocessing": self.preprocessing.record(),
            "n": len(self.frames),
        }

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = {name: module.state_dict() for name, module in self._modules().items()}
        state |= {"step": self.step, "log": self.log, "best": self.best, "asked": self._asked()}
        aside = self.folder / (CHECKPOINT + ".tmp")
        torch.save(state, aside)
        aside.replace(self.folder / CHECKPOINT)
        with (self.folder / "log.csv").open("w", newline="") as stream:
            first = ("epoch", "loss", "seconds")
            writer = csv.DictWriter(
                stream, list(dict.fromkeys([*first, *(k for row in self.log for k in row)]))
            )
            writer.writeheader()
            writer.writerows(self.log)
        top = best(self.log)
        kept = None if top is None else int(top["epoch"])
        (self.folder / "curves.svg").write_text(draw_curves(self.log, kept=kept))

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["asked"] != self._asked():
            raise EmbedkitError(f"{path}: was begun with other options. Give another -o.")
        for name, module in self._modules().items():
            module.load_state_dict(state[name])
        self.step, self.log, self.best = state["step"], state["log"], state["best"]
        console.note(f"Going on after step {self.step} of {self.steps}.")


def _copy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
