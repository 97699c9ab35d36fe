"""Weights, gradients and optimiser state spread over processes, for models that outgrow one card (FSDP2)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from pretrain import ranks


def shard(models: Sequence[Any], device: torch.device) -> None:
    """Spread the parameters of each model over all processes, block by block where it has blocks."""
    # It warns of changes in place to a view that the model returns; nothing here changes features in place.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    mesh = ranks.mesh(device)
    for model in models:
        model.to(memory_format=torch.contiguous_format)
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        for block in getattr(base, "blocks", ()):
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        fully_shard(model, mesh=mesh, reshard_after_forward=True)


def whole(state: Any) -> Any:
    """Return a state dict with every spread tensor put together; all processes must call it."""
    if isinstance(state, dict):
        return {key: whole(value) for key, value in state.items()}
    return state.full_tensor() if isinstance(state, DTensor) else state


def load(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Load a whole state dict into a module that may be spread."""
    own = module.state_dict()
    module.load_state_dict({key: like(value, own[key]) for key, value in state.items()})


def load_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a whole state dict into an optimiser of parameters that may be spread."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    spread = {
        number: {
            key: like(value, parameters[number]) if value.ndim else value for key, value in moments.items()
        }
        for number, moments in state["state"].items()
    }
    optimiser.load_state_dict(state | {"state": spread})


def like(value: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Spread a whole tensor as another one is, if that is."""
    if not isinstance(other, DTensor):
        return value
    return distribute_tensor(value.to(other.device), other.device_mesh, other.placements)
