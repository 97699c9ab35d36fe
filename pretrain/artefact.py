"""What a run leaves behind: an adapter folder, or a checkpoint that `extract --weights` takes."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from embedkit.errors import UsageError
from embedkit.files.aside import folder_aside, write_bytes


def save_adapter(adapted: Any, folder: Path, *, base: dict[str, Any]) -> Path:
    """Write a PEFT folder, with `base` (name and digest of the weights below it) in ``base.json``."""
    with folder_aside(folder) as temporary:
        try:
            # "auto" would ask the hub whether the vocabulary has grown.
            adapted.save_pretrained(str(temporary), save_embedding_layers=False)
        except Exception as error:
            _raise_os_error(error, folder)
            raise
        (temporary / "base.json").write_text(json.dumps(base, indent=2) + "\n", encoding="utf-8")
    return folder


def _raise_os_error(error: Exception, place: Path) -> None:
    """Raise the system's error that safetensors, written in Rust, has told in words."""
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(place)) from error


def save_checkpoint(model: torch.nn.Module, path: Path) -> Path:
    """Write a timm model's state as safetensors."""
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_bytes(path, save(state))
    return path


def merge(adapted: Any, path: Path) -> Path:
    """Add the low-rank updates to the weights and write the plain model."""
    if not hasattr(adapted, "merge_and_unload"):
        raise UsageError("--merge is for low-rank methods; others write a plain checkpoint already.")
    from copy import deepcopy

    return save_checkpoint(deepcopy(adapted).merge_and_unload(), path)
