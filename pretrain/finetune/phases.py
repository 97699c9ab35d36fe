"""What of a network trains in a phase, and in which groups."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from embedkit.backbones.network import Network
from embedkit.errors import UsageError
from pretrain.adapters import add_lora
from pretrain.finetune.parts import HEAD, layer_ids, trained_parameters
from pretrain.finetune.phase_options import Phase
from pretrain.options import LoRA


@dataclass(frozen=True)
class Group:
    """Parameters that share a rate.

    Parameters
    ----------
    name
        Which they are: ``head``, ``backbone``, ``backbone layer 3``; of what does not decay, with
        ``, no decay`` after it.
    names
        In the network.
    parameters
        Themselves.
    lr_scale
        Their rate over that of the phase (`rates.rate`).
    decays
        Whether weight decay applies: not to biases, norms and what the network keeps from it.
    """

    name: str
    names: tuple[str, ...]
    parameters: tuple[nn.Parameter, ...]
    lr_scale: float
    decays: bool


def begin(network: Network, phase: Phase, *, name: str, seed: int, lora: LoRA | None = None) -> None:
    """Make a network ready for a phase: gradients where it asks for them, LoRA, first weights anew.

    With ``lora`` the backbone becomes a PEFT model, and is merged into a plain one where the next phase
    trains another part. `pretrain.trainable.set_training` puts it into training mode, in which frozen
    normalisations keep their statistics.

    Parameters
    ----------
    name
        Of the backbone, for messages.
    seed
        Of weights that are drawn anew.
    lora
        How low-rank updates are made; by default as in pretraining.

    Raises
    ------
    UsageError
        The backbone has no such part.
    """
    trained = phase.trained
    if trained.kind == "lora":
        _adapt(network, lora or LoRA(), name=name, seed=seed)
    else:
        merge(network)
        chosen = trained_parameters(network.backbone, trained, name=name, with_norms=phase.train_norms)
        for key, parameter in network.backbone.named_parameters():
            parameter.requires_grad_(key in chosen)
        if trained.kind == "reinit-last-convs":
            _draw_anew(network.backbone, chosen, seed=seed, name=name)
    network.head.requires_grad_(True)


def parameter_groups(
    network: Network, phase: Phase, *, name: str, layer_decay: float = 1.0
) -> tuple[Group, ...]:
    """Share out the parameters that train, as `begin` left them: each is in one group.

    Parameters
    ----------
    name
        Of the backbone, for messages.
    layer_decay
        Rate of a layer over that of the one after it; the head has no such factor. Layers are timm's.

    Raises
    ------
    UsageError
        Layer decay of a network whose layers timm doesn't know.
    """
    model: Any = network.backbone
    base, prefix = (
        (model.get_base_model(), "backbone.base_model.model.") if _is_adapted(model) else (model, "backbone.")
    )
    parameters = dict(base.named_parameters())
    ids, top = dict.fromkeys(parameters, 0), 0
    if layer_decay != 1.0:
        if not hasattr(base, "group_matcher"):
            raise UsageError(f"layer_decay: timm doesn't say which the layers of {name} are. Leave it out.")
        ids = layer_ids(base, parameters)
        top = ids[HEAD]
    spared = base.no_weight_decay() if hasattr(base, "no_weight_decay") else set()
    found: dict[tuple[str, float, bool], dict[str, nn.Parameter]] = {}
    for key, parameter in parameters.items():
        decays = parameter.ndim > 1 and not any(fnmatchcase(key, one) for one in spared)
        group = "backbone" if layer_decay == 1.0 else f"backbone layer {ids[key]}"
        where = (group, layer_decay ** (top - ids[key]), decays)
        if parameter.requires_grad:
            found.setdefault(where, {})[prefix + key] = parameter
    scale = 1.0 if phase.head_lr is None else phase.head_lr / phase.lr
    for key, parameter in network.head.named_parameters():
        found.setdefault(("head", scale, parameter.ndim > 1), {})[f"head.{key}"] = parameter
    return tuple(
        Group(group if decays else f"{group}, no decay", tuple(one), tuple(one.values()), factor, decays)
        for (group, factor, decays), one in sorted(found.items(), key=lambda item: _order(item[0]))
    )


def _order(where: tuple[str, float, bool]) -> tuple[bool, int, bool]:
    group, _, decays = where
    return group == "head", int(group.rpartition(" ")[2]) if " " in group else 0, not decays


def _is_adapted(model: nn.Module) -> bool:
    return hasattr(model, "get_base_model") and hasattr(model, "peft_config")


def _adapt(network: Network, lora: LoRA, *, name: str, seed: int) -> None:
    model: Any = network.backbone
    if _is_adapted(model):
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(".lora_" in key)
        return
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.backbone = add_lora(
            model, lora, name=name, instead="Give train = all, head or last-blocks:N in the recipe."
        )


def merge(network: Network) -> None:
    """Make a backbone with low-rank updates a plain one."""
    model: Any = network.backbone
    if _is_adapted(model):
        network.backbone = model.merge_and_unload()


def _draw_anew(model: nn.Module, chosen: set[str], *, seed: int, name: str) -> None:
    """Draw the weights of modules as timm draws VGG's: He's of convolutions, small ones of linear layers."""
    modules = dict.fromkeys(key.rpartition(".")[0] for key in _in_order(model, chosen))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for key in modules:
            module: Any = model.get_submodule(key)
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
            elif isinstance(module, (_NormBase, nn.LayerNorm, nn.GroupNorm)):
                module.reset_parameters()
            else:
                kind = type(module).__name__
                raise UsageError(
                    f"train = reinit-last-convs: {name} has weights that can't be drawn anew, in a {kind} "
                    f"({key or 'itself'}). Give last-convs:N."
                )
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)


def _in_order(model: nn.Module, chosen: set[str]) -> list[str]:
    """Return names of parameters in the order of the model, so that a seed gives one result."""
    return [key for key, _ in model.named_parameters() if key in chosen]
