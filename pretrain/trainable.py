"""Which weights train where not all of them do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

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
        begun = begun or key.startswith(f"{first}." if first else "")
        parameter.requires_grad_(begun)


def last_blocks(model: Any, n: int, *, name: str) -> list[str]:
    """Return the module names of the last n blocks of a ViT, or stages of a CNN.

    timm names where a stage ends. Of some networks that is a normalisation, an activation or a pooling after
    the stage; then all since the end of the one before belongs to it.
    """
    ends = [str(info["module"]) for info in getattr(model, "feature_info", [])]
    order = [key for key, _ in model.named_modules()]
    blocks: list[list[str]] = []
    done = 0
    for end in ends:
        if end not in order:
            continue
        inside = [key for key in order if key == end or key.startswith(f"{end}." if end else "")]
        after = order.index(inside[-1]) + 1
        since = [end] if _has_weights(model, inside) else _weighted(model, order[done:after])
        blocks += [since] if since else []
        done = after
    if n > len(blocks):
        raise UsageError(f"--unfreeze-blocks {n}: {name} has {len(blocks)}.")
    return [key for block in blocks[-n:] for key in block]


def _has_weights(model: nn.Module, names: list[str]) -> bool:
    """Whether there are other weights than those of normalisations."""
    own = set(norms(model))
    return any(key not in own for key in _weighted(model, names))


def _weighted(model: nn.Module, names: list[str]) -> list[str]:
    return [
        key for key in names if next(model.get_submodule(key).parameters(recurse=False), None) is not None
    ]


def norms(model: nn.Module) -> list[str]:
    """Return the module names of the normalisations that have weights."""
    return [
        name
        for name, module in model.named_modules()
        if "norm" in type(module).__name__.lower()
        and next(module.parameters(recurse=False), None) is not None
    ]


def set_training(model: nn.Module) -> None:
    """Set the training mode of what trains; what is frozen is as in use, so that its statistics stay.

    A module without weights, such as dropout or a normalisation that only keeps statistics, goes with the
    nearest module around it that has some. Low-rank updates don't train the statistics of what they update.
    """
    found: dict[int, _Trains] = {}
    _look(model, found)
    _set(model, found, _Trains(has=True, any=False, plain=False))


@dataclass(frozen=True)
class _Trains:
    """Whether a module has weights, whether any of them train, and any besides low-rank updates."""

    has: bool
    any: bool
    plain: bool


def _look(module: nn.Module, found: dict[int, _Trains], *, low_rank: bool = False) -> _Trains:
    own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
    parts = [
        _look(child, found, low_rank=low_rank or key.startswith("lora_"))
        for key, child in module.named_children()
    ]
    found[id(module)] = _Trains(
        has=bool(own) or any(part.has for part in parts),
        any=any(own) or any(part.any for part in parts),
        plain=(any(own) and not low_rank) or any(part.plain for part in parts),
    )
    return found[id(module)]


def _set(module: nn.Module, found: dict[int, _Trains], around: _Trains) -> None:
    here = found[id(module)] if found[id(module)].has else around
    own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
    if own:
        module.training = any(own)
    elif isinstance(module, _NormBase):
        module.training = here.plain
    else:
        module.training = here.any
    for child in module.children():
        _set(child, found, here)
