"""The parts of a backbone by the words of a recipe: its last blocks, stages or convolutions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from timm.models._manipulate import group_with_matcher
from torch import nn

from embedkit.errors import UsageError
from pretrain.finetune.phase_options import Trained
from pretrain.trainable import norms

# No layer of a backbone: timm puts it where the classifier would be.
HEAD = "(head)"
WORDS = {
    "last-blocks": "blocks",
    "last-stages": "stages",
    "last-convs": "convolutional layers",
    "reinit-last-convs": "convolutional layers",
}


def trained_parameters(model: nn.Module, trained: Trained, *, name: str, with_norms: bool) -> set[str]:
    """Return the names of the parameters of a backbone that a part of it has.

    What follows the first of the last n blocks, stages or convolutions belongs to the part too: norms and
    layers between them and the head would else stay as they were between two that change.

    Parameters
    ----------
    name
        Of the backbone, for messages.
    with_norms
        Whether the normalisations of the part belong to it.

    Raises
    ------
    UsageError
        The backbone has not so many, or the part has no parameters.
    """
    if trained.kind == "head":
        return set()
    if trained.kind == "all":
        found = {key for key, _ in model.named_parameters()}
    elif trained.kind in ("last-convs", "reinit-last-convs"):
        found = _from_convolution(model, trained, name)
    else:
        found = _from_layer(model, trained, name)
    if not with_norms:
        frozen = {f"{norm}.{key}" for norm in norms(model) for key in ("weight", "bias")}
        found -= frozen
    if not found:
        raise UsageError(
            f"train = {_words(trained)}: {name} has no weights there, so nothing but the head would train. "
            "Give train = head."
        )
    return found


def layer_ids(model: nn.Module, names: Iterable[str]) -> dict[str, int]:
    """Return for each parameter, and for `HEAD`, its layer from the input on, by timm's account.

    Raises
    ------
    UsageError
        timm gives none for this network.
    """
    return _ids(model, [*names, HEAD], coarse=False)


def _ids(model: Any, names: Iterable[str], *, coarse: bool) -> dict[str, int]:
    matcher = model.group_matcher(coarse=coarse)
    found: dict[str, int] = group_with_matcher(((one, one) for one in names), matcher, reverse=True)
    return found


def _from_layer(model: nn.Module, trained: Trained, name: str) -> set[str]:
    """Take parameters from the first of the last n blocks or stages on."""
    names = [key for key, _ in model.named_parameters()]
    if not hasattr(model, "group_matcher"):
        raise UsageError(
            f"train = {_words(trained)}: timm doesn't say which the blocks of {name} are. Give train = all, "
            "head or last-convs:N."
        )
    coarse = trained.kind == "last-stages"
    ids = _ids(model, names, coarse=coarse)
    blocks = getattr(model, "blocks", None)
    if not coarse and isinstance(blocks, (nn.Sequential, nn.ModuleList)):
        # What the network itself calls so: of EfficientNet the seven groups, of a ViT every block.
        firsts = [
            [ids[key] for key in names if key.startswith(f"blocks.{index}.")] for index in range(len(blocks))
        ]
        starts = [min(each) for each in firsts if each]
    else:
        pattern = _patterns(model.group_matcher(coarse=coarse))  # type: ignore[operator]
        starts = sorted({ids[key] for key in names if pattern.match(key)})
    if trained.n > len(starts):
        raise _too_many(trained, len(starts), name)
    return {key for key in names if ids[key] >= starts[-trained.n]}


def _patterns(matcher: Mapping[str, Any]) -> re.Pattern[str]:
    """Return what matches the names of a block's parameters, of timm's description of a network."""
    blocks = matcher.get("blocks") if isinstance(matcher, Mapping) else None
    given = [blocks] if isinstance(blocks, str) else [one[0] for one in blocks or () if one[1] is None]
    return re.compile("|".join(f"(?:{one})" for one in given) or r"(?!)")


def _from_convolution(model: nn.Module, trained: Trained, name: str) -> set[str]:
    """Take parameters from the first of the last n convolutions on, in the order in which layers run."""
    convs, order = _running_order(model)
    if trained.n > len(convs):
        raise _too_many(trained, len(convs), name)
    begun = order[order.index(convs[-trained.n]) :]
    return {
        f"{module}.{key}" if module else key
        for module in begun
        for key, _ in model.get_submodule(module).named_parameters(recurse=False)
    }


def _running_order(model: Any) -> tuple[list[str], list[str]]:
    """Return the convolutions of the features, and all modules with weights, as they finish running."""
    order: list[str] = []
    handles = []
    for name, module in model.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            # A layer that runs twice belongs where it ran first.
            def note(*_: Any, name: str = name) -> None:
                if name not in order:
                    order.append(name)

            handles.append(module.register_forward_hook(note))
    training = model.training
    try:
        model.eval()
        with torch.no_grad():
            made = model.forward_features(_zeros(model)) if hasattr(model, "forward_features") else None
            # VGG's fully connected layers are convolutions by type, and no part of the features.
            convs = [one for one in order if isinstance(model.get_submodule(one), nn.Conv2d)]
            if made is None:
                model(_zeros(model))
                convs = [one for one in order if isinstance(model.get_submodule(one), nn.Conv2d)]
            else:
                model.forward_head(made, pre_logits=True)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return convs, order


def _zeros(model: Any) -> torch.Tensor:
    config = getattr(model, "pretrained_cfg", None) or {}
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    channels, *own = config.get("input_size") or (3, 224, 224)
    parameter = next(model.parameters())
    return torch.zeros(1, channels, *(size or own), device=parameter.device, dtype=parameter.dtype)


def _too_many(trained: Trained, n: int, name: str) -> UsageError:
    fix = f"Give {trained.kind}:{n} or less." if n else "Give train = all or head."
    return UsageError(f"train = {_words(trained)}: {name} has {n} {WORDS[trained.kind]}. {fix}")


def _words(trained: Trained) -> str:
    return f"{trained.kind}:{trained.n}" if trained.n else trained.kind
