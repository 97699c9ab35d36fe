"""LoRA on the query and value projections of a timm ViT, as a PEFT model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from embedkit.errors import UsageError
from pretrain.options import LoRA


def add_lora(model: Any, lora: LoRA, *, name: str) -> Any:
    """Wrap a timm ViT; only the low-rank matrices of queries and values train.

    timm holds query, key and value in one linear layer. LoRA's B begins at zero, so masking the gradient
    of its key rows keeps them there: the keys stay the frozen ones, and the folder stays plain PEFT.
    """
    from peft import LoraConfig, get_peft_model

    blocks = getattr(model, "blocks", None)
    if blocks is None or not hasattr(blocks[0].attn, "qkv"):
        raise UsageError(f"{name} has no attention blocks for LoRA. Give --method dino or vicreg.")
    n = len(blocks)
    if (lora.blocks or n) > n:
        raise UsageError(f"--lora-blocks {lora.blocks}: {name} has {n}.")
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=[f"blocks.{i}.attn.qkv" for i in range(n - (lora.blocks or n), n)],
    )
    adapted = get_peft_model(model, config)
    adapted.peft_config["default"].base_model_name_or_path = name
    freeze_keys(adapted)
    return adapted


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
