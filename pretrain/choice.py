"""Which epoch is kept, without a label, and whether labels would have agreed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

CRITERION = "RankMe times view invariance of held-out images"
FEWEST = 3  # epochs below which a rank correlation says nothing


def criterion(seen: dict[str, float]) -> float:
    """Return RankMe times view invariance; higher is better.

    RankMe alone (Garrido et al. 2023, ICML) also rises with noise that differs between an image's views, and
    invariance alone with features that keep one bit. The product falls in both cases and is 0 at a collapse.
    """
    return seen["rankme"] * max(0.0, seen["view_invariance"])


def looks(log: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Return the epochs that the monitors looked at, without the start."""
    return [row for row in log if row["epoch"] > 0 and "criterion" in row]


def best(log: Sequence[dict[str, float]]) -> dict[str, float] | None:
    """Return the epoch of the highest criterion, the first of equals."""
    return max(looks(log), key=lambda row: row["criterion"], default=None)


def out_of_patience(log: Sequence[dict[str, float]], patience: int | None) -> bool:
    """Whether the last `patience` looks brought nothing better than those before."""
    seen, top = looks(log), best(log)
    return patience is not None and top is not None and len(seen) - 1 - seen.index(top) >= patience


def agreement(log: Sequence[dict[str, float]]) -> float | None:
    """Spearman's rank correlation of criterion and kNN accuracy over epochs; None if it says nothing."""
    from scipy.stats import spearmanr

    pairs = [(row["criterion"], row["knn_accuracy"]) for row in looks(log) if "knn_accuracy" in row]
    if len(pairs) < FEWEST or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


def verdict(log: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Return what ``chosen.json`` holds: the criterion, the epochs, and what labels say of the choice."""
    top, seen = best(log), looks(log)
    if top is None:
        raise ValueError("no epoch was looked at")
    record: dict[str, Any] = {
        "criterion": CRITERION,
        "epoch": int(top["epoch"]),
        "value": top["criterion"],
        "last_epoch": int(seen[-1]["epoch"]),
        "n_looks": len(seen),
    }
    if "knn_accuracy" in top:
        record |= {
            "knn_accuracy": {
                "start": log[0].get("knn_accuracy"),
                "chosen": top["knn_accuracy"],
                "last": seen[-1]["knn_accuracy"],
            },
            "rank_correlation": agreement(log),
        }
    return record


def sentence(record: dict[str, Any]) -> str:
    """Say the verdict in words."""
    text = f"Kept epoch {record['epoch']} of {record['last_epoch']}, the best {CRITERION}."
    if "knn_accuracy" in record:
        accuracy = {k: "unknown" if v is None else f"{v:.3f}" for k, v in record["knn_accuracy"].items()}
        rho = record["rank_correlation"]
        text += (
            f" kNN accuracy of the held-out images: {accuracy['chosen']}; at the start {accuracy['start']}, "
            f"at the last epoch {accuracy['last']}. Rank correlation of criterion and accuracy over "
            f"{record['n_looks']} epochs: "
        ) + ("not defined." if rho is None else f"{rho:.2f}.")
    return text
