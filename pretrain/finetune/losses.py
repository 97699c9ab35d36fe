"""What supervised training minimises: raw outputs and the truth to one number, the mean over rows.

Each loss is a plain mean over the rows of what a row costs by itself, so that the mean over equal parts of a
batch, or over processes, is the loss of the whole. A row whose truth is missing costs nothing and is counted
all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)
from numpy.typing import NDArray

from embedkit.backbones.answers import NO_TREE, answers, fitting, log_within, precise
from embedkit.errors import DataError, UsageError
from embedkit.files.vote_tree import VoteTree
from embedkit.options import nearest
from pretrain.finetune.loss_names import OUTPUTS_OF

# At most the sum of a question's Dirichlet concentrations: with many more than votes it is a multinomial.
MOST_CONCENTRATION = 1000.0


@dataclass(frozen=True)
class LossSettings:
    """What losses are told besides outputs and truth.

    Parameters
    ----------
    output
        What the raw outputs stand for, see `embedkit.backbones.answers.OUTPUTS`.
    tree
        Of ``multinomial``, ``dirichlet`` and the output ``tree``: the questions.
    class_weight : (c,), optional
        Of ``cross-entropy``: what a row of each class counts; `balanced_weights` makes them.
    label_smoothing
        Of ``cross-entropy``: share of the truth spread evenly over all classes, 0 to 1.
    volunteers
        Of ``multinomial`` and ``dirichlet``: how many people looked at a galaxy, where the truth doesn't say
        it. It does where it is (b, 2 t): behind the shares stands how many answered the question of each.
    """

    output: str = "classes"
    tree: VoteTree | None = None
    class_weight: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    volunteers: float = 40.0


def cross_entropy(raw: torch.Tensor, truth: torch.Tensor, *, settings: LossSettings) -> torch.Tensor:
    """Cross-entropy of (b, c) logits to (b,) labels; -1 is no label.

    Rows are weighted by class, and the sum divided by the number of rows. Torch's own mean divides by the sum
    of the weights in the batch, so that parts of a batch would disagree with the whole.
    """
    weight = None if settings.class_weight is None else raw.new_tensor(settings.class_weight).to(precise(raw))
    rows = F.cross_entropy(
        precise(raw),
        truth.long(),
        weight=weight,
        ignore_index=-1,
        label_smoothing=settings.label_smoothing,
        reduction="none",
    )
    return rows.mean()


def squared_error(raw: torch.Tensor, truth: torch.Tensor, *, settings: LossSettings) -> torch.Tensor:
    """Mean squared error of answers to (b, t) shares: the square of the challenge's score, its RMSE."""
    found = answers(raw, settings.output, tree=settings.tree)
    return _mean_over_rows((found - _filled(truth, found)) ** 2, truth)


def binary_cross_entropy(raw: torch.Tensor, truth: torch.Tensor, *, settings: LossSettings) -> torch.Tensor:  # noqa: ARG001
    """Binary cross-entropy of each of (b, t) logits to its share, whatever the others are."""
    raw = precise(raw)
    each = F.binary_cross_entropy_with_logits(raw, _filled(truth, raw), reduction="none")
    return _mean_over_rows(each, truth)


def multinomial(raw: torch.Tensor, truth: torch.Tensor, *, settings: LossSettings) -> torch.Tensor:
    """Minus the log-likelihood of the votes, one multinomial a question, summed over the questions.

    Votes are shares times `settings.volunteers`, or of the truth's own counts, so questions further down the
    tree weigh less by themselves; they need not be whole.
    """
    tree = fitting(settings.tree, raw)
    log_p = _double(log_within(raw, tree))
    counts = _counts(truth, log_p, tree, settings)
    total = raw.new_zeros(len(raw), dtype=log_p.dtype)
    for branch in tree.branches:
        columns = list(branch.columns)
        votes, known = _known(counts[:, columns])
        cost = -_log_ways(votes) - (votes * log_p[:, columns]).sum(dim=1)
        total = total + torch.where(known, cost, 0.0)
    return total.mean()


def dirichlet(raw: torch.Tensor, truth: torch.Tensor, *, settings: LossSettings) -> torch.Tensor:
    """Minus the log-likelihood of the votes, one Dirichlet-multinomial a question, summed over the questions.

    As in Walmsley et al. 2022 (MNRAS 509, 3966), the network says how sure it is of a galaxy besides what it
    expects. There concentrations are a scaled sigmoid of at least 1; here they are exp(raw), their sum held
    below `MOST_CONCENTRATION`, so that what is expected is the softmax of the output ``tree``.
    """
    tree = fitting(settings.tree, raw)
    log_p = log_within(raw, tree)
    counts = _counts(truth, _double(log_p), tree, settings)
    total = raw.new_zeros(len(raw), dtype=counts.dtype)
    for branch in tree.branches:
        columns = list(branch.columns)
        alpha = concentrations(precise(raw)[:, columns]).to(counts.dtype)
        votes, known = _known(counts[:, columns])
        n, sure = votes.sum(dim=1), alpha.sum(dim=1)
        cost = (
            -_log_ways(votes)
            - torch.lgamma(sure)
            + torch.lgamma(n + sure)
            - (torch.lgamma(votes + alpha) - torch.lgamma(alpha)).sum(dim=1)
        )
        total = total + torch.where(known, cost, 0.0)
    return total.mean()


def concentrations(raw: torch.Tensor) -> torch.Tensor:
    """Return the Dirichlet concentrations of one question's (b, a) outputs.

    Their mean is the softmax of the outputs; their sum is S / (1 + S / `MOST_CONCENTRATION`), with S the sum
    of exp(raw).
    """
    raw = _double(precise(raw))
    most = torch.tensor(MOST_CONCENTRATION, dtype=raw.dtype, device=raw.device).log()
    # log(S / (1 + S / M)) = log M - softplus(log M - log S), which no large output overflows.
    log_sum = most - F.softplus(most - raw.logsumexp(dim=1, keepdim=True))
    # A concentration that underflows has no logarithm of the gamma function.
    return (raw.log_softmax(dim=1) + log_sum).clamp(min=-80).exp()


Loss = Callable[..., torch.Tensor]

LOSSES: dict[str, Loss] = {
    "cross-entropy": cross_entropy,
    "rmse": squared_error,
    "bce": binary_cross_entropy,
    "multinomial": multinomial,
    "dirichlet": dirichlet,
}


def loss_named(name: str, settings: LossSettings) -> Loss:
    """Return a loss, having looked whether the settings fit it.

    Raises
    ------
    UsageError
        An unknown name, an output that it is not of, a tree that is missing, or a setting out of its range.
    """
    if name not in LOSSES:
        raise UsageError(f"loss {name!r}: unknown.{nearest(name, LOSSES)} Give one of {', '.join(LOSSES)}.")
    if settings.output not in OUTPUTS_OF[name]:
        fits = [one for one, outputs in OUTPUTS_OF.items() if settings.output in outputs]
        raise UsageError(
            f"loss {name!r} is of the output {' or '.join(OUTPUTS_OF[name])}, not {settings.output}. Change "
            f"the head's output, or take {' or '.join(fits) or 'one of these'}."
        )
    if settings.output == "tree" and settings.tree is None:
        raise UsageError(NO_TREE)
    if not 0 <= settings.label_smoothing < 1:
        raise UsageError(f"label_smoothing {settings.label_smoothing:g} is outside 0 to 1. Give 0 for none.")
    if not (settings.volunteers > 0 and np.isfinite(settings.volunteers)):
        raise UsageError(
            f"volunteers {settings.volunteers:g} is not above 0. Give how many looked at a galaxy."
        )
    return LOSSES[name]


def balanced_weights(labels: NDArray[np.int64], n_classes: int) -> tuple[float, ...]:
    """Return weights by which all classes count alike and the mean weight of a row is 1.

    Labels of -1 are left out. A class without a row has weight 1, for it may yet stand in a validation set.
    """
    counts = np.bincount(labels[labels >= 0], minlength=n_classes)
    if not counts.any():
        raise DataError("no row has a label, so classes can't be weighted. Give labels.")
    present = int((counts > 0).sum())
    return tuple(float(counts.sum() / (present * n)) if n else 1.0 for n in counts)


def _counts(truth: torch.Tensor, like: torch.Tensor, tree: VoteTree, settings: LossSettings) -> torch.Tensor:
    """Return how many people gave each answer (b, t); NaN where that is missing."""
    t = like.shape[1]
    shares, asked = truth[:, :t].to(like), truth[:, t:].to(like)
    if not asked.shape[1]:
        return shares * settings.volunteers
    votes = torch.zeros_like(shares)
    for branch in tree.branches:
        columns = list(branch.columns)
        total = shares[:, columns].sum(dim=1, keepdim=True)
        # A question that nobody was asked has no votes, whatever is counted.
        votes[:, columns] = torch.where(total == 0, 0.0, shares[:, columns] / total * asked[:, columns])
    return votes


def _known(votes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return votes without NaN, and which rows miss none."""
    known = torch.isfinite(votes).all(dim=1)
    return torch.where(known[:, None], votes, 0.0), known


def _log_ways(votes: torch.Tensor) -> torch.Tensor:
    """Logarithm of the multinomial coefficient."""
    return torch.lgamma(votes.sum(dim=1) + 1) - torch.lgamma(votes + 1).sum(dim=1)


def _filled(truth: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    # Not `each * mask` afterwards: the gradient of NaN times 0 is NaN.
    return torch.nan_to_num(truth.to(like), nan=0.0)


def _mean_over_rows(each: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Mean over rows of the mean over each row's answers that are not missing."""
    known = ~torch.isnan(truth)
    rows = torch.where(known, each, 0.0).sum(dim=1) / known.sum(dim=1).clamp(min=1)
    return rows.mean()


def _double(values: torch.Tensor) -> torch.Tensor:
    # Differences of large log-gammas lose four digits in float32; Apple's GPUs know no float64.
    return values if values.device.type == "mps" else values.double()
