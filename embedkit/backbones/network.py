"""A backbone with a head: images to one raw output for each class or answer."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from embedkit.backbones.head import ACTIVATIONS, HeadSpec
from embedkit.backbones.load import Backbone
from embedkit.errors import UsageError

_ACTIVATIONS = dict(zip(ACTIVATIONS, (nn.ReLU, nn.GELU, nn.SiLU), strict=True))

__all__ = ["HeadSpec", "Network", "build_head", "build_network", "feature_width"]


class Network(nn.Module):
    """Images (b, c, s, s), normalised as the backbone wants them, to raw outputs (b, o).

    The keys of its state are ``backbone.*`` and ``head.*``: a weights file of it is one that
    `load_backbone` takes, which leaves the head.

    Parameters
    ----------
    backbone
        Without a classifier: gives (b, d).
    head
        Gives (b, o) from (b, d).
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the head reads: (b, d)."""
        pooled: torch.Tensor = self.backbone(x)
        return pooled.flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return raw outputs (b, o)."""
        outputs: torch.Tensor = self.head(self.features(x))
        return outputs


def build_head(d: int, n_outputs: int, spec: HeadSpec) -> nn.Sequential:
    """Build the layers from d features to outputs; torch's global generator draws their weights.

    Raises
    ------
    UsageError
        No feature or no output.
    """
    if min(d, n_outputs) < 1:
        raise UsageError(f"a head of {d} features and {n_outputs} outputs: both must be 1 or more.")
    layers: list[nn.Module] = []
    before = d
    for width in spec.widths:
        layers += [nn.Linear(before, width), _ACTIVATIONS[spec.activation]()]
        layers += [nn.BatchNorm1d(width)] if spec.batch_norm else []
        layers += [nn.Dropout(spec.dropout)] if spec.dropout else []
        before = width
    if spec.dropout and not spec.widths:
        layers.append(nn.Dropout(spec.dropout))
    head = nn.Sequential(*layers, nn.Linear(before, n_outputs))
    for layer in head:
        if spec.init_std is not None and isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=spec.init_std)
            nn.init.zeros_(layer.bias)
    return head


def feature_width(backbone: Backbone) -> int:
    """Return the number d of features that a backbone gives a head, asked of the model itself."""
    size, channels = backbone.preprocessing.image_size, backbone.preprocessing.channels
    training = backbone.model.training
    backbone.model.eval()
    with torch.inference_mode():
        found: torch.Tensor = backbone.model(torch.zeros(1, channels, size, size))
    backbone.model.train(training)
    return found.flatten(1).shape[1]


def build_network(backbone: Backbone, n_outputs: int, spec: HeadSpec, *, seed: int) -> Network:
    """Put a new head on a copy of a backbone; the seed alone fixes the head's weights."""
    d = feature_width(backbone)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build_head(d, n_outputs, spec)
    return Network(deepcopy(backbone.model), head)
