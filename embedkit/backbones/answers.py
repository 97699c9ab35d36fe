"""From a network's raw outputs to answers: probabilities of classes, or shares of votes."""

from __future__ import annotations

import torch

from embedkit.backbones.head import OUTPUTS
from embedkit.errors import DataError, UsageError
from embedkit.files.vote_tree import VoteTree
from embedkit.options import nearest

NO_TREE = (
    "the output `tree` needs targets that are the answers of a vote tree, such as those of galaxy-zoo-2. Use "
    "`sigmoid` for other targets."
)


def answers(raw: torch.Tensor, output: str, *, tree: VoteTree | None = None) -> torch.Tensor:
    """Return what raw outputs say, in float32 at least; gradients flow through.

    Parameters
    ----------
    raw : (b, o)
        The head's outputs; for ``tree`` in the order of the tree's targets.
    output
        ``classes``: softmax over all; ``sigmoid``: each by itself in 0 to 1; ``tree``: softmax within each
        question times the share of the answer that leads to it, so that answers always sum to that share.
    tree
        The questions, for ``tree``.

    Returns
    -------
    (b, o)

    Raises
    ------
    UsageError
        An unknown output.
    DataError
        A tree that is missing or has another number of answers.
    """
    if output == "classes":
        return precise(raw).softmax(dim=-1)
    if output == "sigmoid":
        return precise(raw).sigmoid()
    if output == "tree":
        return tree_shares(raw, fitting(tree, raw))
    raise UsageError(
        f"output {output!r}: unknown.{nearest(output, OUTPUTS)} Give one of {', '.join(OUTPUTS)}."
    )


def tree_shares(raw: torch.Tensor, tree: VoteTree) -> torch.Tensor:
    """Return (b, t) cumulative shares: softmax within each question, times the parent's share."""
    within = log_within(raw, tree).exp()
    shares: dict[int, torch.Tensor] = {}
    for branch in tree.branches:
        for column in branch.columns:
            own = within[:, column]
            shares[column] = own if branch.parent is None else own * shares[branch.parent]
    return torch.stack([shares[column] for column in range(len(tree.target_names))], dim=1)


def log_within(raw: torch.Tensor, tree: VoteTree) -> torch.Tensor:
    """Return (b, t) log-probabilities of the answers of each question, given that it is asked."""
    raw = precise(raw)
    columns = [column for branch in tree.branches for column in branch.columns]
    parts = [raw[:, list(branch.columns)].log_softmax(dim=1) for branch in tree.branches]
    back = sorted(range(len(columns)), key=columns.__getitem__)
    return torch.cat(parts, dim=1)[:, back]


def fitting(tree: VoteTree | None, raw: torch.Tensor) -> VoteTree:
    """Return the tree; raises `DataError` where it is missing or doesn't fit the outputs."""
    if tree is None:
        raise DataError(NO_TREE)
    if raw.ndim != 2 or raw.shape[1] != len(tree.target_names):
        raise DataError(
            f"outputs of shape {tuple(raw.shape)} don't fit the {len(tree.target_names)} answers of "
            f"{tree.name}."
        )
    return tree


def precise(raw: torch.Tensor) -> torch.Tensor:
    """Return half precision as float32, the rest as it is."""
    return raw.float() if raw.dtype in (torch.bfloat16, torch.float16) else raw
