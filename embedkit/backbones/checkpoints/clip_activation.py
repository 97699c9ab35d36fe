"""CLIP's networks compute GELU or QuickGELU, which tensors don't tell: what stands beside them does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embedkit.errors import EmbedkitError
from embedkit.files.regular import read_bytes
from embedkit.strict_json import UndeclaredError, declared

# Numbers in OpenAI's own files, and in nobody else's.
_OPENAI = frozenset({"input_resolution", "context_length", "vocab_size"})
_OF_TRANSFORMERS = "pre_layrnorm.weight"
_QUICK = "quick_gelu"
_MOST_BYTES = 20_000_000


def activation_fault(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], inner: Mapping[str, torch.Tensor], path: Path
) -> str | None:
    """Say that a network computes another activation than the weights were learnt with.

    Parameters
    ----------
    model
        What the weights are for.
    tensors, inner
        Of the file, and without its wrappers.
    path
        The file: transformers tells the activation in the config.json beside it.
    """
    from timm.layers import QuickGELU

    if tensors.keys() >= _OPENAI:
        wanted: str | None = _QUICK
    elif _OF_TRANSFORMERS in inner:
        wanted = _declared(path.parent / "config.json")
    else:
        return None
    quick = any(isinstance(module, QuickGELU) for module in model.modules())
    if wanted is None or not hasattr(model, "blocks") or quick == (wanted == _QUICK):
        return None
    if quick:
        return f"it was trained with {wanted}, and timm's names with clip_quickgelu in them compute QuickGELU"
    return "it was trained with QuickGELU, which timm's names with clip_quickgelu in them compute"


def _declared(place: Path) -> str | None:
    """Return the activation that a config.json of transformers' CLIP declares, or leaves as it usually is."""
    try:
        config = declared(read_bytes(place, "", at_most=_MOST_BYTES), dict[str, Any])
    except (OSError, EmbedkitError, UndeclaredError):  # nothing there, or another program's
        return None
    if not str(config.get("model_type")).startswith("clip"):
        return None
    vision = config.get("vision_config", config)
    found = vision.get("hidden_act", _QUICK) if isinstance(vision, dict) else None
    return found if isinstance(found, str) else None
