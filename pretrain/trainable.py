"""Which weights train where not all of them do."""

from __future__ import annotations

from typing import Any

from torch import nn

from embedkit.errors import UsageError
from pretrain.adapters import add_lora
from pretrain.options import PretrainOptions


def choose_weights(model: Any, options: PretrainOptions, name: str) -> Any:
    """Return the model with gradients where the options ask for them, as a PEFT model for LoRA."""
    last = options.unfreeze_blocks
    if not options.low_rank:
        model.requires_grad_(True)
        if last is not None:
            unfreeze_last(model, last, name=name)
            for norm in norms(model) if options.train_norms else []:
                model.get_submodule(norm).requires_grad_(True)
        return model
    model.requires_grad_(False)
    in_full = [] if last is None else last_blocks(model, last, name=name)
    if options.train_norms:
        inside = tuple(f"{block}." for block in in_full)
        in_full += [norm for norm in norms(model) if not norm.startswith(inside)]
    return add_lora(model, options, name=name, in_full=in_full)


def unfreeze_last(model: Any, n: int, *, name: str) -> None:
    """Train the last n blocks of a ViT, or stages of a CNN, with all that follows them; freeze the rest."""
    model.requires_grad_(False)
    first, begun = last_blocks(model, n, name=name)[0], False
    for key, parameter in model.named_parameters():
        begun = begun or key.startswith(first + ".")
        parameter.requires_grad_(begun)


def last_blocks(model: Any, n: int, *, name: str) -> list[str]:
    """Return the module names of the last n blocks of a ViT, or stages of a CNN."""
    blocks = [str(info["module"]) for info in getattr(model, "feature_info", [])]
    if n > len(blocks):
        raise UsageError(f"--unfreeze-blocks {n}: {name} has {len(blocks)}.")
    return blocks[-n:]


def norms(model: nn.Module) -> list[str]:
    """Return the module names of the normalisations that have weights."""
    return [
        name
        for name, module in model.named_modules()
        if "norm" in type(module).__name__.lower()
        and next(module.parameters(recurse=False), None) is not None
    ]


def set_training(model: nn.Module) -> None:
    """Set the training mode; frozen batch normalisations keep their statistics."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(parameter.requires_grad for parameter in own):
            module.eval()
