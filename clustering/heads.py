"""TEMI's heads, and the loss that makes them agree on pairs of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch.nn.functional import gelu

from embedkit.preparing.matrix import BLOCK

# The paper's heads have 512 and 256 units; the temperature is its own.
HIDDEN, BOTTLENECK = 64, 64
TEMPERATURE = 0.1  # of student and teacher
BLOCK_NUMBERS = 1 << 22  # float32 numbers of a block when all pairs are evaluated


@dataclass(frozen=True)
class Heads:
    """H perceptrons of one hidden layer side by side, nothing shared; their tensors end in the columns' axis.

    Parameters
    ----------
    w1, b1 : (H, h, d), (H, h, 1)
    w2, b2 : (H, b, h), (H, b, 1)
    direction, length : (H, k, b), (H, k, 1)
        One prototype a cluster (weight normalisation): a logit is the cosine with it times its length.
    """

    w1: torch.Tensor
    b1: torch.Tensor
    w2: torch.Tensor
    b2: torch.Tensor
    direction: torch.Tensor
    length: torch.Tensor

    @classmethod
    def random(cls, n_heads: int, d: int, k: int, generator: torch.Generator) -> Heads:
        """Draw heads whose layers keep the variance of standardised columns; all prototypes have length 1."""

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(shape, generator=generator) / math.sqrt(shape[-1])

        return cls(
            normal(n_heads, HIDDEN, d),
            torch.zeros(n_heads, HIDDEN, 1),
            normal(n_heads, BOTTLENECK, HIDDEN),
            torch.zeros(n_heads, BOTTLENECK, 1),
            normal(n_heads, k, BOTTLENECK),
            torch.ones(n_heads, k, 1),
        )

    def tensors(self) -> list[torch.Tensor]:
        """Return the six tensors."""
        return [getattr(self, field.name) for field in fields(self)]

    def mapped(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Heads:
        """Return heads of ``function(tensor)``."""
        w1, b1, w2, b2, direction, length = (function(tensor) for tensor in self.tensors())
        return Heads(w1, b1, w2, b2, direction, length)

    def log_probabilities(self, x: torch.Tensor) -> torch.Tensor:
        """Return the log of q(c | x) for rows `x` (n, d): (H, k, n)."""
        n_heads, h, d = self.w1.shape
        first = (self.w1.reshape(n_heads * h, d) @ x.T).view(n_heads, h, len(x))  # all heads in one product
        second = torch.baddbmm(self.b2, self.w2, gelu(first + self.b1))  # (H, b, n)
        unit = second / second.norm(dim=1, keepdim=True).clamp_min(1e-12)
        prototypes = self.direction / self.direction.norm(dim=2, keepdim=True).clamp_min(1e-12)
        return torch.log_softmax((prototypes * self.length) @ unit / TEMPERATURE, dim=1)


def move_towards(teacher: Heads, student: Heads, momentum: float) -> None:
    """Set the teacher to ``momentum * teacher + (1 - momentum) * student``, in place."""
    with torch.no_grad():
        for mean, new in zip(teacher.tensors(), student.tensors(), strict=True):
            mean.lerp_(new, 1 - momentum)


def agreement(teacher: torch.Tensor, other_teacher: torch.Tensor) -> torch.Tensor:
    """Return the probability that two rows share a cluster, mean over heads: (n,), from logs (H, k, n)."""
    return (teacher + other_teacher).exp().sum(1).mean(0)


def pmi(student: torch.Tensor, teacher: torch.Tensor, prior: torch.Tensor, beta: float) -> torch.Tensor:
    """Return log sum_c (q_s(c|x) q_t(c|x'))^beta / q(c) of pairs, (H, n), from logs (H, k, n), (H, k, 1)."""
    return torch.logsumexp(beta * (student + teacher) - prior, dim=1)


def pair_loss(
    students: tuple[torch.Tensor, torch.Tensor],
    teachers: tuple[torch.Tensor, torch.Tensor],
    prior: torch.Tensor,
    *,
    beta: float,
) -> torch.Tensor:
    """Return TEMI's loss of every head, mean over pairs of rows (x, x').

    Parameters
    ----------
    students, teachers : pairs of (H, k, n)
        Log-probabilities that the students and teachers of H heads give to x and to x'.
    prior : (H, k, 1)
        Log of the teachers' marginal probability of each cluster.
    beta
        Exponent of the joint probabilities.

    Returns
    -------
    (H,)
        Pairs count as much as the teachers, all heads together, hold them for one cluster. No gradient
        reaches the teachers.
    """
    weight = agreement(*teachers).detach()
    there = pmi(students[0], teachers[1].detach(), prior, beta)
    back = pmi(students[1], teachers[0].detach(), prior, beta)
    return -(weight * (there + back)).mean(1) / 2


def over_pairs(
    function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], p: torch.Tensor, neighbours: torch.Tensor
) -> torch.Tensor:
    """Return ``function`` of the probabilities of every row and its neighbours, (n, m), a block at a time.

    Parameters
    ----------
    function
        Of two tensors that broadcast to (rows, m, k); returns (rows, m).
    p : (n, k)
        Probabilities of one head.
    neighbours : (n, m)
        Indices of rows.
    """
    size = max(1, BLOCK_NUMBERS // (neighbours.shape[1] * p.shape[1]))
    blocks = zip(torch.split(p, size), torch.split(neighbours, size), strict=True)
    return torch.cat([function(rows[:, None], p[index]) for rows, index in blocks])


def head_loss(p: torch.Tensor, neighbours: torch.Tensor, weight: torch.Tensor, *, beta: float) -> float:
    """Return the loss of one head, with itself as its teacher, over all pairs.

    Parameters
    ----------
    p : (n, k)
        The head's probabilities.
    neighbours, weight : (n, m)
        Each row's neighbours, and how much the pairs count.
    beta
        See `TEMI`.
    """
    prior = p.mean(0).clamp_min(1e-12)
    information = over_pairs(lambda a, b: ((a * b) ** beta / prior).sum(-1).log(), p, neighbours)
    return -float((weight * information).mean())


def probabilities(head: Heads, x: torch.Tensor) -> torch.Tensor:
    """Return a single head's probabilities (n, k), in float64: those of a row do not depend on the others."""
    exact = head.mapped(lambda t: t.detach().double())
    return torch.cat([exact.log_probabilities(rows.double())[0].exp().T for rows in torch.split(x, BLOCK)])
