"""LoRA on the linear layers of a timm ViT, with normalisations and last blocks in full, as a PEFT model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from embedkit.errors import UsageError
from pretrain.options import LoRA


def add_lora(model: Any, lora: LoRA, *, name: str, in_full: Sequence[str] = ()) -> Any:
    """Wrap a timm ViT, so that only low-rank updates and the modules `in_full` train.

    timm holds query, key and value in one linear layer. LoRA's B begins at zero, so masking the gradient
    of its key rows keeps them there: the keys stay the frozen ones, and the folder stays plain PEFT.

    Parameters
    ----------
    in_full
        Names of modules whose own weights train and are saved in the folder; they get no low-rank update.
    """
    from peft import LoraConfig, get_peft_model

    blocks = getattr(model, "blocks", None)
    if blocks is None or not hasattr(blocks[0].attn, "qkv"):
        raise UsageError(f"{name} has no attention blocks for LoRA. Give --method dino or vicreg.")
    n = len(blocks)
    if (lora.blocks or n) > n:
        raise UsageError(f"--lora-blocks {lora.blocks}: {name} has {n}.")
    targets = [
        f"blocks.{i}.{layer}"
        for i in range(n - (lora.blocks or n), n)
        for layer in _layers(blocks[i], lora)
        if f"blocks.{i}" not in in_full
    ]
    if not targets:
        raise UsageError("--unfreeze-blocks leaves LoRA no block. Give --method dino, or fewer blocks.")
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=targets,
        # PEFT takes every name that ends like one of these; further norms that "norm" meets have no weights.
        modules_to_save=list(in_full) or None,
    )
    adapted = get_peft_model(model, config)
    adapted.peft_config["default"].base_model_name_or_path = name
    if lora.targets == "qv":
        freeze_keys(adapted)
    return adapted


def _layers(block: nn.Module, lora: LoRA) -> list[str]:
    if lora.targets == "all":
        return [name for name, module in block.named_modules() if isinstance(module, nn.Linear)]
    return ["attn.qkv"]


def freeze_keys(adapted: nn.Module) -> None:
    """Mask the gradient of the rows of B that would change the keys."""
    for key, parameter in adapted.named_parameters():
        if "lora_B" in key:
            parameter.register_hook(_without_keys)  # type: ignore[no-untyped-call]


def _without_keys(gradient: torch.Tensor) -> torch.Tensor:
    masked = gradient.clone()
    d = len(gradient) // 3
    masked[d : 2 * d] = 0
    return masked
