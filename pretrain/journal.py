"""What a run writes while it trains: a checkpoint to go on from, its log, and the picture of that."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from embedkit.errors import EmbedkitError
from embedkit.files.aside import aside, filling, write_text
from pretrain.choice import best
from pretrain.curves import draw_curves
from pretrain.options import PretrainOptions

CHECKPOINT = "checkpoint.pt"
_RENAMED = {"views": "view_preset", "clip": "clip_grad", "shard": "fsdp"}


def describe(options: PretrainOptions) -> dict[str, Any]:
    """Return what fixes the numbers of a run: its options without where they are computed."""
    named = {one.name: getattr(options, one.name) for one in fields(PretrainOptions)}
    return named | {"device": "", "fsdp": False}


def write_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write the state of a run, whole or not at all."""
    with aside(folder / CHECKPOINT) as temporary, filling(temporary) as stream:
        torch.save(state, stream)


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
    begun = describe(PretrainOptions()) | _today(state["asked"])
    if begun != asked:
        raise EmbedkitError(f"{path}: was begun with other options. Give another -o.")
    return state


def _today(asked: dict[str, Any]) -> dict[str, Any]:
    """Return recorded options under the names that they have today."""
    asked = dict(asked)
    lora = {f"lora_{name}": value for name, value in asked.pop("lora", {}).items()}
    return lora | {_RENAMED.get(name, name): value for name, value in asked.items()}


def write_log(folder: Path, log: Sequence[dict[str, float]]) -> None:
    """Write ``log.csv`` and ``curves.svg``."""
    first = ("epoch", "loss", "seconds")
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(dict.fromkeys([*first, *(k for row in log for k in row)])))
    writer.writeheader()
    writer.writerows(log)
    write_text(folder / "log.csv", stream.getvalue())
    top = best(log)
    kept = None if top is None else int(top["epoch"])
    write_text(folder / "curves.svg", draw_curves(log, kept=kept))
