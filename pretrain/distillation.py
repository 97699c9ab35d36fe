"""Self-distillation: a student learns the answers of a teacher, the average of its own past."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn

from pretrain.batch import Batch
from pretrain.dino import DINOHead, DINOLoss
from pretrain.monitors import teacher_monitors
from pretrain.options import PretrainOptions
from pretrain.schedules import cosine, teacher_momentum
from pretrain.view_objective import ViewObjective

FIRST_TEMPERATURE = 0.04  # the teacher's, as DINO's, rising over the first third of the steps


class Distillation(ViewObjective):
    """Student and EMA teacher with a projection head each.

    Parameters
    ----------
    d
        Dimensions of the student's features.
    steps
        Of the whole run, for the schedules.
    """

    def __init__(
        self, student: Any, options: PretrainOptions, device: torch.device, *, d: int, steps: int
    ) -> None:
        super().__init__(student, options, device)
        self.steps = steps
        self.momentum = teacher_momentum(options.momentum, steps)
        self.head = DINOHead(d, options.prototypes).to(device)
        self.criterion = DINOLoss(options.prototypes, centering=options.centering).to(device)
        self.evaluated = deepcopy(student).requires_grad_(False)
        self.teacher_head = deepcopy(self.head).requires_grad_(False)

    def modules(self) -> dict[str, nn.Module]:
        """Return all that a checkpoint holds, by name."""
        return {
            "student": self.student,
            "head": self.head,
            "loss": self.criterion,
            "teacher": self.evaluated,
            "teacher_head": self.teacher_head,
        }

    @torch.no_grad()
    def begin(self, batch: Batch, step: int) -> list[torch.Tensor]:
        """Ask the teacher about the whole batch, since centring and Sinkhorn look at all of it."""
        logits = []
        for view in batch.views:
            parts = view.chunk(self.options.accumulate)
            logits.append(torch.cat([self.teacher_head(self.features(self.evaluated, x)) for x in parts]))
        return self.criterion.targets(logits, temperature=self._temperature(step))

    def loss(self, batch: Batch, targets: list[torch.Tensor]) -> torch.Tensor:
        """Cross-entropy of the student's answers to all views against the targets."""
        features = self.features(self.student, torch.cat(batch.views))
        answers = list(self.head(features).chunk(len(batch.views)))
        if batch.small:
            local = self.features(self.student, torch.cat(batch.small))
            answers += self.head(local).chunk(len(batch.small))
        return self.regularised(self.criterion.compare(answers, targets), features)

    def adjust(self, step: int) -> None:
        """Let the last layer of the head rest for the first epoch, where there are more."""
        if step < self.steps // self.options.passes and self.options.passes > 1:
            self.head.last.weight.grad = None

    @torch.no_grad()
    def end(self, step: int) -> None:
        """Move the teacher."""
        weight = 1 - cosine(step, self.steps, self.momentum, 1.0)
        for own, other in ((self.evaluated, self.student), (self.teacher_head, self.head)):
            for mine, new in zip(own.parameters(), other.parameters(), strict=True):
                if new.requires_grad:
                    mine.lerp_(new, weight)
            for mine, new in zip(own.buffers(), other.buffers(), strict=True):
                mine.copy_(new)

    def monitors(self, features: torch.Tensor, step: int) -> dict[str, float]:
        """Look at the teacher's answers to held-out features (n, d)."""
        logits = self.teacher_head(features)
        return teacher_monitors(self.criterion.answers(logits, temperature=self._temperature(step)))

    def _temperature(self, step: int) -> float:
        low, high = FIRST_TEMPERATURE, self.options.teacher_temperature
        return low + (high - low) * min(1.0, step / max(1, self.steps // 3))
