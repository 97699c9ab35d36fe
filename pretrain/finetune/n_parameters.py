"""How many parameters a recipe's network has, and how many of them train."""

from __future__ import annotations

from embedkit.backbones.load import Backbone
from embedkit.backbones.network import build_network
from pretrain.finetune.phases import begin
from pretrain.finetune.recipe import Recipe


def n_parameters(backbone: Backbone, recipe: Recipe, n_outputs: int) -> dict[str, int]:
    """Return how many parameters there are, and how many train in the phase that trains the most."""
    network = build_network(backbone, n_outputs, recipe.head, seed=0)
    n_all, n_trainable = sum(p.numel() for p in network.parameters()), 0
    for phase in recipe.phases:
        begin(network, phase, name=backbone.name, seed=0, lora=recipe.lora)
        n_trainable = max(n_trainable, sum(p.numel() for p in network.parameters() if p.requires_grad))
    return {"n_parameters": n_all, "n_trainable": n_trainable}
