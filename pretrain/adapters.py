"""LoRA on the linear layers of a timm ViT, with normalisations and last blocks in full, as a PEFT model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from embedkit.errors import UsageError
from pretrain.options import LoRA
from pretrain.sharding import like


def add_lora(
    model: Any,
    lora: LoRA,
    *,
    name: str,
    in_full: Sequence[str] = (),
    instead: str = "Give --method dino or vicreg.",
) -> Any:
    """Wrap a timm ViT, so that only low-rank updates and the modules `in_full` train.

    Parameters
    ----------
    in_full
        Names of modules whose own weights train and are saved in the folder; they get no low-rank update.
    instead
        What to do where the model has no attention blocks.
    """
    from peft import LoraConfig, get_peft_model

    blocks = getattr(model, "blocks", None)
    if blocks is None or not hasattr(blocks[0].attn, "qkv"):
        raise UsageError(f"{name} has no attention blocks for LoRA. {instead}")
    n = len(blocks)
    if (lora.lora_blocks or n) > n:
        raise UsageError(f"--lora-blocks {lora.lora_blocks}: {name} has {n}.")
    targets = [
        f"blocks.{i}.{layer}"
        for i in range(n - (lora.lora_blocks or n), n)
        for layer in _layers(blocks[i], lora)
        if f"blocks.{i}" not in in_full
    ]
    if not targets:
        raise UsageError("--unfreeze-blocks leaves LoRA no block. Give --method dino, or fewer blocks.")
    config = LoraConfig(
        r=lora.lora_rank,
        lora_alpha=lora.lora_alpha,
        target_modules=targets,
        # PEFT takes every name that ends like one of these; further norms that "norm" meets have no weights.
        modules_to_save=list(in_full) or None,
    )
    adapted = get_peft_model(model, config)
    adapted.peft_config["default"].base_model_name_or_path = name
    return adapted


def _layers(block: nn.Module, lora: LoRA) -> list[str]:
    if lora.lora_targets == "all":
        return [name for name, module in block.named_modules() if isinstance(module, nn.Linear)]
    return ["attn.qkv"]


def key_masks(adapted: nn.Module) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """Return each low-rank B of queries, keys and values, and a mask that is 0 where it changes keys.

    timm holds query, key and value in one linear layer. LoRA's B begins at zero, so masking the gradient
    of its key rows keeps them there: the keys stay the frozen ones, and the folder stays plain PEFT.
    """
    masks = []
    for name, parameter in adapted.named_parameters():
        if ".attn.qkv.lora_B." in name:
            mask = torch.ones(parameter.shape, device=parameter.device)
            d = len(mask) // 3
            mask[d : 2 * d] = 0
            masks.append((parameter, like(mask, parameter)))
    return masks
