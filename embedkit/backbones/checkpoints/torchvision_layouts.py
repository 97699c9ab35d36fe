"""ConvNeXt and EfficientNet as torchvision names them: stages counted through one ``features``."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import nn

CONVNEXT, EFFICIENTNET = "features.1.0.layer_scale", "features.1.0.block.0.0.weight"
# torchvision's batch norms of B5 to B7 and of V2 have the one, timm's that pad as torchvision does the other.
EPSILON, TIMM_EPSILON = 1e-3, 1e-5
_CONVNEXT_PARTS = {"0": "conv_dw", "2": "norm", "3": "mlp.fc1", "5": "mlp.fc2"}
_CONVNEXT_ENDS = {
    "features.0.0": "stem.0",
    "features.0.1": "stem.1",
    "classifier.0": "head.norm",
    "classifier.2": "head.fc",
}


def convnext(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename: stages are the odd numbers, what comes between them the even ones."""
    made = {}
    for name, tensor in state.items():
        stem, _, kind = name.rpartition(".")
        block = re.fullmatch(r"features\.(\d+)\.(\d+)(?:\.block\.(\d+))?", stem)
        if stem in _CONVNEXT_ENDS:
            name = f"{_CONVNEXT_ENDS[stem]}.{kind}"
        elif block and kind == "layer_scale":
            name, tensor = f"stages.{int(block[1]) // 2}.blocks.{block[2]}.gamma", tensor.reshape(-1)
        elif block and block[3] in _CONVNEXT_PARTS:
            part = _CONVNEXT_PARTS[block[3]]
            name = f"stages.{int(block[1]) // 2}.blocks.{block[2]}.{part}.{kind}"
        elif block and block[3] is None:
            name = f"stages.{int(block[1]) // 2}.downsample.{block[2]}.{kind}"
        made[name] = tensor
    return made


def efficientnet(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename, and fold what torchvision's batch norms add to a variance into that variance."""
    last = max((int(found[1]) for n in state if (found := re.match(r"features\.(\d+)\.", n))), default=0)
    wide = "features.1.0.block.1.fc1.weight" not in state or "features.1.2.block.0.0.weight" in state
    made = {}
    for name, tensor in state.items():
        if wide and name.endswith(".running_var"):
            tensor = tensor + (EPSILON - TIMM_EPSILON)
        made[_efficientnet_name(name, state, last)] = tensor
    return made


def _efficientnet_name(name: str, state: Mapping[str, torch.Tensor], last: int) -> str:
    """Return timm's name; of what is no such layer the name as it is."""
    end = re.fullmatch(rf"features\.(0|{last})\.([01])\.(\w+)", name)
    if end:
        names = {"0": ("conv_stem", "bn1"), str(last): ("conv_head", "bn2")}
        return f"{names[end[1]][int(end[2])]}.{end[3]}"
    found = re.fullmatch(r"features\.(\d+)\.(\d+)\.block\.(\d+)\.(\w+)\.(\w+)", name)
    if not found:
        return re.sub(r"^classifier\.1\.", "classifier.", name)
    stage, block, place, part, kind = int(found[1]), found[2], int(found[3]), found[4], found[5]
    stem = f"features.{stage}.{block}.block"
    layer = _layers(stem, state)[place]
    if part.startswith("fc"):
        layer = "se.conv_reduce" if part == "fc1" else "se.conv_expand"
    elif part == "1":
        # Norms are counted without the squeeze between them.
        layer = f"bn{place + 1 - (f'{stem}.{place - 1}.fc1.weight' in state)}"
    return f"blocks.{stage - 1}.{block}.{layer}.{kind}"


def _layers(stem: str, state: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Name the layers of a block by how many there are, and by whether the first sees a neighbourhood."""
    n = 1 + max(i for i in range(4) if any(f"{stem}.{i}.{x}.weight" in state for x in ("0", "fc1")))
    first = state[f"{stem}.0.0.weight"]
    if n == 4:
        return ("conv_pw", "conv_dw", "se", "conv_pwl")
    if n == 3:
        return ("conv_dw", "se", "conv_pw")
    return ("conv_exp", "conv_pwl") if n == 2 and first.shape[-1] > 1 else ("conv",) * n


def padding_fault(model: nn.Module, state: Mapping[str, torch.Tensor]) -> str | None:
    """Say that a network pads as TensorFlow does, where torchvision's weights are another one's."""
    norm = getattr(model, "bn1", None)
    if EFFICIENTNET not in state or not isinstance(norm, nn.BatchNorm2d) or norm.eps == TIMM_EPSILON:
        return None
    return "torchvision pads all sides alike, as timm's efficientnet_b0 and others without tf_ do"
