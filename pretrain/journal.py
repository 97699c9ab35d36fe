"""What a run writes while it trains: a checkpoint to go on from, its log, and the picture of that."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from embedkit.errors import EmbedkitError
from pretrain.choice import best
from pretrain.curves import draw_curves
from pretrain.options import PretrainOptions

CHECKPOINT = "checkpoint.pt"


def describe(options: PretrainOptions) -> dict[str, Any]:
    """Return what fixes the numbers of a run: its options without where they are computed."""
    return asdict(replace(options, device="", shard=False))


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write the state of a run, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / (CHECKPOINT + ".tmp")
    torch.save(state, aside)
    aside.replace(folder / CHECKPOINT)


def read_checkpoint(folder: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state to go on from, or None.

    Raises
    ------
    EmbedkitError
        It was begun with other options.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    # An option that is younger than the checkpoint had its default then.
    begun = describe(PretrainOptions()) | state["asked"]
    begun["lora"] = describe(PretrainOptions())["lora"] | begun["lora"]
    if begun != asked:
        raise EmbedkitError(f"{path}: was begun with other options. Give another -o.")
    return state


def write_log(folder: Path, log: Sequence[dict[str, float]]) -> None:
    """Write ``log.csv`` and ``curves.svg``."""
    first = ("epoch", "loss", "seconds")
    with (folder / "log.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys([*first, *(k for row in log for k in row)])))
        writer.writeheader()
        writer.writerows(log)
    top = best(log)
    kept = None if top is None else int(top["epoch"])
    (folder / "curves.svg").write_text(draw_curves(log, kept=kept))
