"""Self-distillation without labels: the projection head and the loss of DINO.

Caron et al. 2021, Emerging properties in self-supervised vision transformers, ICCV.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)
from torch import nn

from pretrain.ranks import gather, own_part


class DINOHead(nn.Module):
    """MLP, L2 normalisation, and a last layer whose rows have length 1."""

    def __init__(self, d: int, prototypes: int, *, hidden: int = 1024, bottleneck: int = 256) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(d, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        self.last = nn.Linear(bottleneck, prototypes, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, d) -> (b, prototypes) logits."""
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(self.last.weight, dim=-1))


class DINOLoss(nn.Module):
    """Cross-entropy of the student's views against the centred, sharpened teacher's other global views.

    Parameters
    ----------
    student_temperature
        tau_s of the paper.
    center_momentum
        m of the centre's moving average, equation 4.
    centering
        ``mean`` subtracts that centre; ``sinkhorn`` balances the prototypes within each batch instead.
    """

    center: torch.Tensor

    def __init__(
        self,
        prototypes: int,
        *,
        student_temperature: float = 0.1,
        center_momentum: float = 0.9,
        centering: str = "mean",
    ) -> None:
        super().__init__()
        self.student_temperature = student_temperature
        self.center_momentum = center_momentum
        self.centering = centering
        self.register_buffer("center", torch.zeros(prototypes))

    def forward(
        self, student: list[torch.Tensor], teacher: list[torch.Tensor], *, temperature: float
    ) -> torch.Tensor:
        """Mean over the pairs of different views; then moves the centre.

        Parameters
        ----------
        student : views of (b, k)
            Logits; the first are the teacher's global views in the same order.
        teacher : global views of (b, k)
            Logits, without gradient.
        temperature
            tau_t of the paper.
        """
        return self.compare(student, self.targets(teacher, temperature=temperature))

    def answers(self, logits: torch.Tensor, *, temperature: float) -> torch.Tensor:
        """Centre and sharpen the teacher's logits (n, k); rows sum to 1."""
        if self.centering == "sinkhorn":
            return sinkhorn(logits, temperature)
        return F.softmax((logits - self.center) / temperature, dim=-1)

    def targets(self, teacher: list[torch.Tensor], *, temperature: float) -> list[torch.Tensor]:
        """Return the answers to each view of a whole batch; then moves the centre.

        Of several processes each gives its part of the batch, and has the answers to that part back.
        """
        views = [gather(logits) for logits in teacher]
        joint = torch.cat(views)
        found = self.answers(joint, temperature=temperature).chunk(len(teacher))
        if self.centering == "mean":
            self.center.mul_(self.center_momentum).add_(joint.mean(dim=0), alpha=1 - self.center_momentum)
        return [own_part(view) for view in found]

    def compare(self, student: list[torch.Tensor], targets: list[torch.Tensor]) -> torch.Tensor:
        """Mean cross-entropy over the pairs of different views, of a batch or an equal part of it."""
        logs = [F.log_softmax(logits / self.student_temperature, dim=-1) for logits in student]
        terms = [
            -(target * log).sum(dim=-1).mean()
            for i, target in enumerate(targets)
            for j, log in enumerate(logs)
            if i != j
        ]
        return torch.stack(terms).mean()


def sinkhorn(logits: torch.Tensor, temperature: float, *, iterations: int = 3) -> torch.Tensor:
    """Share (n, k) logits out so that all prototypes get alike; rows sum to 1.

    Caron et al. 2020, Unsupervised learning of visual features by contrasting cluster assignments, NeurIPS,
    algorithm 1; in logarithms, as the exponents reach 1 / 0.04.
    """
    log_q = logits / temperature
    for _ in range(iterations):
        log_q = log_q - log_q.logsumexp(dim=0, keepdim=True)
        log_q = log_q - log_q.logsumexp(dim=1, keepdim=True)
    return log_q.exp()
