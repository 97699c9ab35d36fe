"""What a run leaves behind: an adapter folder, or a checkpoint that `extract --weights` takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from embedkit.errors import UsageError


def save_adapter(adapted: Any, folder: Path, *, base: dict[str, Any]) -> Path:
    """Write a PEFT folder, with `base` (name and digest of the weights below it) in ``base.json``."""
    # "auto" would ask the hub whether the vocabulary has grown.
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "base.json").write_text(json.dumps(base, indent=2) + "\n")
    return folder


def save_checkpoint(model: torch.nn.Module, path: Path, *, half: bool = False) -> Path:
    """Write a timm model's state as safetensors, in fp16 if asked."""
    state = {
        key: (value.half() if half and value.is_floating_point() else value).detach().cpu().contiguous()
        for key, value in model.state_dict().items()
    }
    save_file(state, path)
    return path


def merge(adapted: Any, path: Path) -> Path:
    """Add the low-rank updates to the weights and write the plain model."""
    if not hasattr(adapted, "merge_and_unload"):
        raise UsageError("--merge is for low-rank methods; others write a plain checkpoint already.")
    from copy import deepcopy

    return save_checkpoint(deepcopy(adapted).merge_and_unload(), path)
