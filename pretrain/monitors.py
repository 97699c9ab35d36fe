"""Is a run healthy, without a label: what held-out rows say of the features."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)

from embedkit.errors import EmbedkitError
from embedkit.scoring.label_free import rank_me_of

COLLAPSED_STD = 0.02
COLLAPSED_ENTROPY = 0.02
COLLAPSED_RANK = 0.2  # of what it was before the first epoch


def rankme(x: torch.Tensor) -> float:
    """RankMe of (n, d), as `embedkit.scoring.label_free.rank_me`, its singular values taken where x is."""
    return rank_me_of(torch.linalg.svdvals(x.double()).cpu().numpy())


def feature_monitors(a: torch.Tensor, b: torch.Tensor) -> dict[str, float]:
    """Compare the features (n, d) of two views of the same held-out images.

    Returns
    -------
    dict
        ``feature_std`` (mean over dimensions of unit rows, times sqrt(d): 1 at most, 0 when collapsed),
        ``rankme``, ``view_invariance`` (mean cosine between views minus that between images), and
        ``knn_agreement`` (share of images whose nearest view-b feature is their own).
    """
    a, b = F.normalize(a.float(), dim=1), F.normalize(b.float(), dim=1)
    cosine = a @ b.T
    n = len(a)
    own = cosine.diagonal().mean()
    return {
        "feature_std": float(a.std(dim=0).mean() * math.sqrt(a.shape[1])),
        "rankme": rankme(a),
        "view_invariance": float(own - (cosine.sum() - cosine.diagonal().sum()) / (n * (n - 1))),
        "knn_agreement": float((cosine.argmax(dim=1) == torch.arange(n, device=a.device)).float().mean()),
    }


def knn_accuracy(x: torch.Tensor, labels: torch.Tensor, *, k: int = 20) -> float:
    """Share of the rows (n, d) whose class most of their k nearest other rows have; -1 is no label.

    Cosine, votes weighted by exp(cosine / 0.07) as in DINO's evaluation. Each row is left out of its own
    neighbours. No label takes part in the training or in the choice of an epoch.
    """
    x, labels = F.normalize(x[labels >= 0].float(), dim=1), labels[labels >= 0].to(x.device)
    cosine = (x @ x.T).fill_diagonal_(-torch.inf)
    near = cosine.topk(min(k, len(x) - 1), dim=1)
    votes = F.one_hot(labels[near.indices]) * ((near.values - 1) / 0.07).exp()[..., None]
    return float((votes.sum(dim=1).argmax(dim=1) == labels).float().mean())


def teacher_monitors(p: torch.Tensor) -> dict[str, float]:
    """Entropy of the teacher's answers (n, k) and the divergence of their mean from uniform, over log k."""
    log_k = math.log(p.shape[1])
    mean = p.mean(dim=0)
    return {
        "teacher_entropy": float(-(p * (p + 1e-12).log()).sum(dim=1).mean() / log_k),
        "kl_to_uniform": float((mean * (mean * p.shape[1] + 1e-12).log()).sum() / log_k),
    }


def check_collapse(seen: dict[str, float], start: dict[str, float]) -> None:
    """Stop a run whose features say nothing any more; the message names the kind and what helps.

    `start` is what was seen before the first epoch.
    """
    if not all(math.isfinite(value) for value in seen.values()):
        raise EmbedkitError("collapse: NaN or infinity in the features. Lower --lr or --clip-grad.")
    if seen["feature_std"] < COLLAPSED_STD:
        raise EmbedkitError(
            f"complete collapse: all images have one feature vector (feature_std {seen['feature_std']:.3g}). "
            "Lower --lr, or take --method vicreg, which cannot collapse this way."
        )
    if seen["rankme"] < COLLAPSED_RANK * start["rankme"]:
        raise EmbedkitError(
            f"collapse to few dimensions: RankMe fell from {start['rankme']:.3g} to {seen['rankme']:.3g}. "
            "Lower --lr, or take an objective that holds the rank, vicreg or vicreg-lora."
        )
    if seen.get("kl_to_uniform", 0.0) > 1 - COLLAPSED_ENTROPY:
        raise EmbedkitError(
            "collapse to one prototype: the teacher gives every image the same answer. Raise "
            "--teacher-temperature or --momentum, or lower --lr."
        )
    if seen.get("teacher_entropy", 0.0) > 1 - 1e-4:
        raise EmbedkitError(
            "collapse to uniform: the teacher's answers say nothing of any image. Lower "
            "--teacher-temperature or --momentum."
        )
