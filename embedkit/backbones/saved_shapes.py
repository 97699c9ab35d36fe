"""What tensors a saved network must have, told by its description before memory is taken for any of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from embedkit.backbones.head import HeadSpec
from embedkit.backbones.load import set_image_size
from embedkit.backbones.model_folder import LOCAL_DIR, read_model_folder
from embedkit.backbones.naming import HUB, check_name
from embedkit.backbones.network import build_head
from embedkit.backbones.options import PIXELS
from embedkit.backbones.shipped import SHIPPED
from embedkit.errors import UsageError

Shapes = Mapping[str, tuple[int, ...]]
# A network in which a picture has more pixels a side takes memory and hours for one image.
MOST_SIDE = 4096


def check_shapes(backbone: str, head: HeadSpec, n_outputs: int, image_size: int, given: Shapes) -> None:
    """Hold the tensors of a file against the network that is to have them; nothing of it is allocated.

    A description is a few bytes that may ask for any number of gigabytes. Its weights are there, so a network
    of other shapes need not be built to know that it isn't theirs.

    Parameters
    ----------
    backbone, head, n_outputs, image_size
        The network.
    given
        Shape of each tensor of the file.

    Raises
    ------
    UsageError
        An unknown backbone, one that only the hub describes, or other shapes.
    """
    check_buildable(backbone)
    wanted = {f"backbone.{name}": shape for name, shape in _backbone(backbone, image_size).items()}
    d = _features(given)
    with torch.device("meta"):
        wanted |= {f"head.{name}": shape for name, shape in _shapes(build_head(d, n_outputs, head)).items()}
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            raise UsageError(
                f"{name} has {_said(given.get(name))} in the file, and {_said(wanted.get(name))} in "
                f"{backbone} with a head for {n_outputs} outputs"
            )


def check_buildable(backbone: str) -> None:
    """Refuse a network that can't be built again without asking the hub what it is.

    Raises
    ------
    UsageError
        With what to give instead.
    """
    if backbone.startswith(PIXELS):
        raise UsageError(f"{backbone[:200]} has no weights that could be trained. Give a network.")
    if backbone.startswith(HUB):
        raise UsageError(
            f"{backbone[:200]}: what it is only the hub knows, and a trained network is built again without "
            "asking. Download its folder, and give local-dir:FOLDER."
        )
    check_name(backbone)


def _backbone(name: str, image_size: int) -> dict[str, tuple[int, ...]]:
    from embedkit.backbones.networks.registry import timm

    with torch.device("meta"):
        if name.startswith(LOCAL_DIR):
            model = read_model_folder(Path(name.removeprefix(LOCAL_DIR))).build(n_values=None)
        else:
            own = SHIPPED[name].architecture if name in SHIPPED else name
            model = timm.create_model(own, pretrained=False, num_classes=0)
        set_image_size(model, image_size, name)
    return _shapes(model)


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _features(given: Shapes) -> int:
    """Return the inputs of the first linear layer of a head."""
    found = {int(one[1]): name for name in given if (one := re.fullmatch(r"head\.(\d{1,9})\.weight", name))}
    linear = [given[found[number]] for number in sorted(found) if len(given[found[number]]) == 2]
    return linear[0][1] if linear else 0


def _said(shape: tuple[int, ...] | None) -> str:
    return "no place" if shape is None else f"shape {' x '.join(map(str, shape)) or '1'}"
